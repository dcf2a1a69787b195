"""Sequences and optionals, resolved while the model is imported: which tensors they hold is known then.

SequenceConstruct a, b, c → SequenceErase 1 → SequenceAt 1    is    c
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.movement import concatenated, sliced
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sequence import EmptyOptional, SequenceValue
from edgec.ir import Array, Value


@lowers("SequenceConstruct", "SequenceEmpty", dynamic=True)
def sequence_construct(ctx: LoweringContext) -> Value:
    """The operands, or nothing."""
    return _sequence(ctx, [ctx.input(index) for index in range(len(ctx.inputs))])


@lowers("SequenceInsert", dynamic=True)
def sequence_insert(ctx: LoweringContext) -> Value:
    """The sequence with one more tensor in front of a place, or at its end."""
    elements = list(_elements(ctx, 0))
    at = len(elements) if ctx.optional_input(2) is None else _place(ctx, 2, len(elements), inserting=True)
    elements.insert(at, ctx.input(1))
    return _sequence(ctx, elements)


@lowers("SequenceErase", dynamic=True)
def sequence_erase(ctx: LoweringContext) -> Value:
    """The sequence without the tensor at a place, or without the last one."""
    elements = list(_elements(ctx, 0))
    del elements[-1 if ctx.optional_input(1) is None and elements else _place(ctx, 1, len(elements))]
    return _sequence(ctx, elements)


@lowers("SequenceAt", dynamic=True)
def sequence_at(ctx: LoweringContext) -> Value:
    """The tensor at a place."""
    elements = _elements(ctx, 0)
    return elements[_place(ctx, 1, len(elements))]


@lowers("SequenceLength", dynamic=True)
def sequence_length(ctx: LoweringContext) -> Value:
    """How many tensors there are, as an int64 constant."""
    return ctx.build.constant(np.asarray(len(_elements(ctx, 0)), np.int64))


@lowers("ConcatFromSequence", dynamic=True)
def concat_from_sequence(ctx: LoweringContext) -> Value:
    """The tensors joined along an axis that they have, or along a new one."""
    elements = _elements(ctx, 0)
    if not elements:
        raise LoweringError("joins an empty sequence", "The result has no shape.", "Remove the node.")
    new_axis = bool(ctx.int("new_axis"))
    axis = checked_axis(ctx.int("axis"), elements[0].type.rank + new_axis)
    if new_axis:
        elements = [ctx.build.reshape(x, [*x.shape[:axis], 1, *x.shape[axis:]]) for x in elements]
    return concatenated(ctx.build, elements, axis)


@lowers("SplitToSequence")
def split_to_sequence(ctx: LoweringContext) -> Value:
    """Parts of a tensor along an axis: single entries, runs of one length, or runs of given lengths."""
    x = ctx.input(0)
    axis = checked_axis(ctx.int("axis"), x.type.rank)
    sizes = _part_sizes(ctx, x.shape[axis])
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    parts = [_part(ctx, x, axis, start, size) for start, size in zip(starts, sizes, strict=True)]
    if ctx.optional_input(1) is None and not ctx.int("keepdims", 1):
        shape = [*x.shape[:axis], *x.shape[axis + 1 :]]
        parts = [_reshaped(ctx, part, shape) for part in parts]
    return _sequence(ctx, parts)


def _part_sizes(ctx: LoweringContext, total: int) -> list[int]:
    if ctx.optional_input(1) is None:
        return [1] * total
    split = ctx.constant(1)
    sizes = [int(size) for size in split.reshape(-1)]
    if split.ndim == 0 and sizes[0] > 0:
        sizes = [min(sizes[0], total - start) for start in range(0, total, sizes[0])]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise LoweringError(
            f"splits {total} into {sizes}",
            "The sizes have to add up to the dimension.",
            "Correct the split sizes, or the input shape if it was pinned.",
        )
    return sizes


def _part(ctx: LoweringContext, x: Value, axis: int, start: int, size: int) -> Value:
    """Return a slice. A constant is cut here: nothing else would compute what a sequence holds."""
    if x.data is None:
        return sliced(ctx.build, x, axis, start, size)
    part: Array = x.data.take(range(start, start + size), axis=axis)
    return ctx.build.constant(part)


def _reshaped(ctx: LoweringContext, x: Value, shape: Sequence[int]) -> Value:
    return ctx.build.reshape(x, shape) if x.data is None else ctx.build.constant(x.data.reshape(shape))


@lowers("SequenceMap", dynamic=True)
def sequence_map(ctx: LoweringContext) -> list[Value | None]:
    """The body, written out for each tensor of the first sequence; operands that are tensors go to all."""
    operands = [ctx.input(index) for index in range(len(ctx.inputs))]
    lengths = {len(x.elements) for x in operands if isinstance(x, SequenceValue)}
    count = len(_elements(ctx, 0))
    if lengths != {count}:
        raise LoweringError(
            f"maps over sequences of {sorted(lengths)} tensors",
            "They need to have one length.",
            "Correct the operands.",
        )
    body = ctx.graph("body")
    steps = [
        ctx.inner.inline(body, [x.elements[i] if isinstance(x, SequenceValue) else x for x in operands])
        for i in range(count)
    ]
    return [_sequence(ctx, [step[index] for step in steps]) for index in range(ctx.output_count)]


@lowers("Optional", dynamic=True)
def optional(ctx: LoweringContext) -> Value:
    """The element itself, or nothing."""
    return ctx.optional_input(0) or EmptyOptional(ctx.build.source)


@lowers("OptionalHasElement", dynamic=True)
def optional_has_element(ctx: LoweringContext) -> Value:
    """Whether there is an element, as a constant."""
    x = ctx.optional_input(0)
    return ctx.build.constant(np.asarray(x is not None and not isinstance(x, EmptyOptional)))


@lowers("OptionalGetElement", dynamic=True)
def optional_get_element(ctx: LoweringContext) -> Value:
    """The element."""
    x = ctx.input(0)
    if isinstance(x, EmptyOptional):
        raise LoweringError(
            "reads the element of an empty optional", "There is none.", "Ask OptionalHasElement first."
        )
    return x


def _sequence(ctx: LoweringContext, elements: Sequence[Value]) -> SequenceValue:
    return SequenceValue(ctx.build.source, elements)


def _elements(ctx: LoweringContext, index: int) -> Sequence[Value]:
    x = ctx.input(index)
    if isinstance(x, SequenceValue):
        return x.elements
    raise LoweringError(
        f"reads the sequence '{x.name}' that a Loop, If or Scan made",
        "TFLite has no sequences, so it has to be known at import which tensors one holds.",
        "Collect the tensors along an axis instead (Concat, scan outputs).",
    )


def _place(ctx: LoweringContext, index: int, length: int, *, inserting: bool = False) -> int:
    place = ctx.constant_ints(index)[0]
    if not -length <= place < length + inserting:
        raise LoweringError(
            f"names place {place} of a sequence of {length} tensors",
            "There is no such place.",
            "Correct the position.",
        )
    return place
