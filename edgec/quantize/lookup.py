"""Element-wise functions without an int8 kernel, as tables: an int8 tensor holds 256 values and no more.

    y = f(x)       x ─ cast int32 ─ + 128 ─▶ gather(table of 256) ─ y
    y = f(a, b)    256 * cast(a) + cast(b) + 32896 ─▶ gather(table of 65536) ─ y

All of it is integer kernels that every library has. The table is what the float kernel makes of the values
that the operands can represent, rounded once: no int8 kernel of f could be nearer. Where f has no value
(the square root of a negative number, which calibration never saw) the entry is its nearest neighbour's.

Which functions: those that the registry marks (`Quant.lookup`), as long as the table is known at compile
time: up to two activations, every other operand a constant of one element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgec.ir import Array, DType, Graph, Node, Quantization, TensorType, Value
from edgec.kernels import KernelError, evaluate
from edgec.ops import Builder, all_ops, op_spec, spec_of
from edgec.ops.elementwise import CastAttributes
from edgec.ops.layout import ELEMENTWISE
from edgec.ops.slicing import GatherAttributes
from edgec.quantize.parameters import quantize_array
from edgec.rewrite import NoMatch, no_match

LEVELS = 256
_OFFSET = 128
_MAX_ACTIVATIONS = 2


def lookup_operands(node: Node) -> tuple[int, ...]:
    """Return the activations that index a node's table; none where it has a kernel or no table form."""
    if _has_kernel(node) or not spec_of(node).quant.lookup:
        return ()
    found: list[int] = []
    for index, value in enumerate(node.operands):
        if value is None or value.dtype is not DType.FLOAT32:
            return ()
        if not value.is_constant:
            found.append(index)
        elif value.type.size != 1:
            return ()
    few = len({node.operand(index) for index in found}) in range(1, _MAX_ACTIVATIONS + 1)
    return tuple(found) if few and node.result.dtype in op_spec("gather").support.litert else ()


def _has_kernel(node: Node) -> bool:
    """Whether an int8 kernel computes the node whatever its operands turn out to be."""
    spec = spec_of(node)
    divisor = spec.quant.refuses_zero
    total = divisor is None or (node.operand(divisor).is_constant and node.operand(divisor).type.size > 1)
    return total and spec.quant.supported and DType.INT8 in spec.support.litert


def look_up(build: Builder, node: Node, operands: Sequence[Value], result: Quantization | None) -> Value:
    """Insert the table form of a float node and return its result.

    Args:
        build: inserts into the int8 graph.
        node: of the float graph; `lookup_operands(node)` is not empty.
        operands: the node's distinct activations in int8, in order of first use.
        result: the result's parameters; None where the node makes integers or flags.
    """
    activations = list(dict.fromkeys(node.operand(index) for index in lookup_operands(node)))
    forms = [_form(value) for value in operands]
    return _gathered(build, node, operands, _table(node, activations, forms, result), result)


@dataclass(frozen=True)
class UseLookupTable:
    """`y = f(x)` in int8 that a kernel library lacks → the table form."""

    library: Literal["litert", "tflm"]
    name: str = "use_lookup_table"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The functions of one operand that LiteRT has an int8 kernel for, and the library not."""
        functions = [
            spec
            for spec in all_ops().values()
            if spec.layout is ELEMENTWISE and spec.operands == ("x",) and spec.quant.supported
        ]
        return tuple(spec.name for spec in functions if DType.INT8 not in getattr(spec.support, self.library))

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Compute the table with the float kernel: the node's own parameters say between which scales."""
        x, result = node.operand(0), node.result.type
        if x.dtype is not DType.INT8 or x.type.quantization is None or result.quantization is None:
            return no_match("is not int8")
        real = Value("x", TensorType(x.shape))
        twin = Node(node.kind, [real], [Value(node.result.name, TensorType(result.shape))], node.attributes)
        data = _table(twin, [real], [x.type.quantization], result.quantization)
        return [_gathered(build, twin, [x], data, result.quantization)]


def _gathered(
    build: Builder, node: Node, operands: Sequence[Value], data: Array, result: Quantization | None
) -> Value:
    type = TensorType(data.shape, DType.of(data), result)
    entries = Value(build.graph.unique_name(f"{node.result.name}/table"), type, data)
    index = build.reshape(_index(build, operands), node.result.shape)
    found = build.op("gather", [entries, index], GatherAttributes(0), node.result.name)
    found.type = TensorType(found.shape, found.dtype, result)
    return found


def _table(
    node: Node, activations: Sequence[Value], forms: Sequence[Quantization], result: Quantization | None
) -> Array:
    """Return what a node makes of every int8 value, or of every pair of them (first operand major)."""
    levels = [_levels(form) for form in forms]
    if len(levels) == _MAX_ACTIVATIONS:
        levels = [np.repeat(levels[0], LEVELS), np.tile(levels[1], LEVELS)]
    real = dict(zip(activations, levels, strict=True))
    try:
        made = _computed(node, real)
    except KernelError:  # division kernels end a run at the first divisor of zero
        made = _computed(node, {value: np.where(data == 0, np.nan, data) for value, data in real.items()})
    return made if result is None else quantize_array(_filled(made), result)


def _computed(node: Node, real: Mapping[Value, Array]) -> Array:
    graph = Graph("table")
    (size,) = next(iter(real.values())).shape
    values = [node.operand(index) for index in range(len(node.operands))]
    arrays = [real[value] if value in real else value.constant().reshape(1) for value in values]
    operands = [graph.constant(np.array(np.broadcast_to(array, size))) for array in arrays]
    outcome = Value("table", TensorType((size,), node.result.dtype))
    (made,) = evaluate([Node(node.kind, operands, [outcome], node.attributes)], [outcome])
    return made


def _filled(made: Array) -> Array:
    """Give entries without a value that of the nearest entry that has one; zeros where none has."""
    known = np.flatnonzero(~np.isnan(made))
    if len(known) in (0, made.size):
        return np.nan_to_num(made, posinf=np.inf, neginf=-np.inf)
    wanted = np.arange(made.size)
    after = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    before = (after - 1).clip(min=0)
    nearer = np.abs(known[after] - wanted) <= np.abs(known[before] - wanted)
    return made[np.where(nearer, known[after], known[before])]


def _levels(form: Quantization) -> Array:
    steps = np.arange(-_OFFSET, LEVELS - _OFFSET, dtype=np.float32) - np.float32(form.zero_point[0])
    return steps * np.float32(form.scale[0])


def _form(value: Value) -> Quantization:
    assert value.type.quantization is not None and value.dtype is DType.INT8
    return value.type.quantization


def _index(build: Builder, operands: Sequence[Value]) -> Value:
    """Return the entry's number: each operand's integers counted from 0, the first one major."""
    wide = [build.op("cast", [value], CastAttributes(DType.INT8, DType.INT32)) for value in operands]
    if len(wide) == 1:
        return build.op("add", [wide[0], build.constant(_OFFSET)])
    major = build.op("mul", [wide[0], build.constant(LEVELS)])
    return build.op("add", [build.op("add", [major, wide[1]]), build.constant(_OFFSET * LEVELS + _OFFSET)])
