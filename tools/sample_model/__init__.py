"""The parts of `tools/make_sample_model.py`: the data split, the network, its ONNX graph."""
