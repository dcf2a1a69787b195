"""PyTorch programs → ONNX in memory → IR: the only folder that imports `torch`."""

from edgec.frontends.torch.importer import import_torch
from edgec.frontends.torch.load import TorchFile, load_torch
from edgec.frontends.torch.program import Program, open_program

__all__ = ["Program", "TorchFile", "import_torch", "load_torch", "open_program"]
