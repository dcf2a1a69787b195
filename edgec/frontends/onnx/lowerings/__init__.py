"""One module for each family of ONNX operators; every module here is loaded."""
