"""LiteRT on the host: the runtime the user deploys is also what folds, calibrates and verifies."""

from edgec.kernels.evaluate import evaluate, fold_nodes
from edgec.kernels.litert import KernelError, KernelSet, Partitions, Runner

__all__ = ["KernelError", "KernelSet", "Partitions", "Runner", "evaluate", "fold_nodes"]
