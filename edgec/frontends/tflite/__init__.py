"""TFLite flatbuffers made by others → IR."""

from edgec.frontends.tflite.importer import import_tflite
from edgec.frontends.tflite.load import TfliteFile, load_tflite
from edgec.frontends.tflite.quantized import is_quantized

__all__ = ["TfliteFile", "import_tflite", "is_quantized", "load_tflite"]
