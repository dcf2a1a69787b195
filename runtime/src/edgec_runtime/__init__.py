"""edgec-runtime: run, check and benchmark TFLite models on the device.

from edgec_runtime import Model

model = Model("model.tflite", threads=4)
outputs = model({"image": image})  # real values in, real values out, by name
"""

from __future__ import annotations

from edgec_runtime.errors import BackendError, EdgecRuntimeError, ModelFileError, RuntimeInputError
from edgec_runtime.model import Model
from edgec_runtime.tensors import TensorInfo
from edgec_runtime.version import __version__

__all__ = [
    "BackendError",
    "EdgecRuntimeError",
    "Model",
    "ModelFileError",
    "RuntimeInputError",
    "TensorInfo",
    "__version__",
]
