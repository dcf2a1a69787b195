"""The ONNX project's own backend tests, run through `edgec.compile` and judged by their expected outputs."""
