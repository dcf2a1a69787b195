"""The ONNX front end: the only folder that imports `onnx`."""

from edgec.frontends.onnx.importer import import_onnx
from edgec.frontends.onnx.load import Source, load_onnx

__all__ = ["Source", "import_onnx", "load_onnx"]
