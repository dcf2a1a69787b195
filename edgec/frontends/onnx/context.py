"""What a lowering sees of its ONNX node: operands as IR values, typed attributes, a builder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgec.ir import Array, DType, Value
from edgec.ops import Builder

if TYPE_CHECKING:
    import onnx


class LoweringError(Exception):
    """A lowering cannot express its node; becomes one diagnostic among all the others."""

    def __init__(self, what: str, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.next_step = what, why, next_step


@dataclass
class LoweringContext:
    """One ONNX node under lowering. `inputs` are IR values in the source's (channels-first) axes."""

    node: onnx.NodeProto
    opset: int
    inputs: list[Value | None]
    build: Builder
    _attributes: dict[str, onnx.AttributeProto] = field(init=False)

    def __post_init__(self) -> None:
        self._attributes = {attribute.name: attribute for attribute in self.node.attribute}

    @property
    def op_type(self) -> str:
        """The ONNX operator's name."""
        return self.node.op_type

    @property
    def output_count(self) -> int:
        """How many results the node names; trailing empty names do not count."""
        return max((i + 1 for i, name in enumerate(self.node.output) if name), default=0)

    def wants_output(self, index: int) -> bool:
        """Whether the node names its result `index`."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def input(self, index: int) -> Value:
        """Return a required operand; LoweringError where it is absent."""
        value = self.optional_input(index)
        if value is None:
            raise LoweringError(
                f"input {index} is missing", "The operator needs it.", "Export the model again."
            )
        return value

    def optional_input(self, index: int) -> Value | None:
        """Return an operand, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> Array:
        """Return the data of an operand that must be known at compile time; LoweringError where it is not."""
        value = self.input(index)
        if value.data is None:
            raise LoweringError(
                f"input {index} ('{value.name}') is computed at run time",
                "Kernels need it when the model is compiled.",
                "Make it an initializer or a constant, for instance by exporting with fixed shapes.",
            )
        return value.data

    def optional_constant(self, index: int) -> Array | None:
        """Return the data of an operand, None where it is absent; LoweringError where it is not constant."""
        return None if self.optional_input(index) is None else self.constant(index)

    def constant_ints(self, index: int) -> list[int]:
        """Return a constant operand as a list of Python ints."""
        return [int(item) for item in self.constant(index).reshape(-1)]

    def has(self, name: str) -> bool:
        """Whether the node sets an attribute."""
        return name in self._attributes

    def int(self, name: str, default: int = 0) -> int:
        """Return an integer attribute."""
        return int(self._attributes[name].i) if name in self._attributes else default

    def float(self, name: str, default: float = 0.0) -> float:
        """Return a float attribute (float32 precision)."""
        return float(self._attributes[name].f) if name in self._attributes else default

    def string(self, name: str, default: str = "") -> str:
        """Return a string attribute."""
        return self._attributes[name].s.decode() if name in self._attributes else default

    def ints(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Return a list of integers; `default` where it is not set."""
        if name in self._attributes:
            return [int(item) for item in self._attributes[name].ints]
        return None if default is None else list(default)

    def floats(self, name: str) -> list[float] | None:
        """Return a list of floats, None where it is not set."""
        return list(self._attributes[name].floats) if name in self._attributes else None

    def tensor(self, name: str) -> Array:
        """Return a tensor attribute; LoweringError where it is not set."""
        from onnx import numpy_helper

        if name not in self._attributes:
            raise LoweringError(f"attribute '{name}' is missing")
        return numpy_helper.to_array(self._attributes[name].t)

    def to_channels_last(self, x: Value) -> Value:
        """Return `[N, C, spatial...]` as `[N, spatial..., C]`; the layout pass removes what is not needed."""
        return self.build.transpose(x, [0, *range(2, x.type.rank), 1])

    def to_channels_first(self, x: Value) -> Value:
        """Return `[N, spatial..., C]` as `[N, C, spatial...]`."""
        rank = x.type.rank
        return self.build.transpose(x, [0, rank - 1, *range(1, rank - 1)])

    def cast(self, x: Value, dtype: DType) -> Value:
        """Return `x` as another element type; a constant is converted at once, a no-op returns `x`."""
        from edgec.ops.elementwise import CastAttributes

        if x.dtype is dtype:
            return x
        if x.data is not None and not (x.dtype.is_float and not dtype.is_float):
            return self.build.constant(np.asarray(x.data).astype(dtype.numpy), name=x.name)
        return self.build.op("cast", [x], CastAttributes(x.dtype, dtype))
