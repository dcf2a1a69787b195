"""Sequences and empty optionals: TFLite has neither, so they exist while a model is imported only."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.ir import DYNAMIC, TensorType, Value


class SequenceValue(Value):
    """A sequence whose tensors are known one by one. No node may read it as a tensor."""

    __slots__ = ("elements",)

    def __init__(self, name: str, elements: Sequence[Value]) -> None:
        super().__init__(name, TensorType((DYNAMIC,)))
        self.elements = tuple(elements)


class EmptyOptional(Value):
    """An optional without an element. No node may read it as a tensor."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, TensorType((DYNAMIC,)))
