"""edgec compiles ONNX and Keras models to verified TFLite for edge devices.

import edgec
compiled = edgec.compile("model.onnx", target="rpi4", precision="int8", calibration="photos/")
compiled.save("model.tflite")
"""

from __future__ import annotations

from edgec.compile import Compiled, compile
from edgec.diagnostics import CompileError, Diagnostic
from edgec.options import CompileOptions

__version__ = "0.1.0"
__all__ = ["CompileError", "CompileOptions", "Compiled", "Diagnostic", "__version__", "compile"]
