"""One registry of facts about our own ops: add an op in one place, its family's module."""

from edgec.ops.builder import Builder
from edgec.ops.registry import all_ops, op_spec, spec_of
from edgec.ops.spec import ActivationFunctionType, InferenceError, OpSpec, Padding, Permutation

__all__ = [
    "ActivationFunctionType",
    "Builder",
    "InferenceError",
    "OpSpec",
    "Padding",
    "Permutation",
    "all_ops",
    "op_spec",
    "spec_of",
]
