"""edgec compiles ONNX and Keras models to verified TFLite for edge devices."""

__version__ = "0.1.0"
