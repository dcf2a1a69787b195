"""Slices: one spelling with explicit sizes, none where everything is kept, one in place of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Node, Value
from edgec.ops import Builder
from edgec.ops.infer import expect, int_list
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.slicing import GatherAttributes, StridedSliceAttributes, strided_ranges
from edgec.passes.canonicalize.matching import NONE, activation_of, forward, made_by
from edgec.rewrite import NoMatch, no_match


def build_slice(build: Builder, x: Value, begin: Sequence[int], size: Sequence[int]) -> Value:
    """Cut a box out of x; the whole of x is x itself."""
    if tuple(size) == x.shape:
        return x
    return build.op("slice", [x, build.constant(list(begin)), build.constant(list(size))])


@dataclass(frozen=True, slots=True)
class EliminateFullSlice:
    """slice(x[2,3], begin [0,0], size [2,3]) → x"""

    name: str = "eliminate_full_slice"
    kinds: tuple[str, ...] = ("slice",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Forward the operand."""
        x = node.operand(0)
        if not x.type.is_static or node.result.shape != x.shape:
            return no_match(f"{list(node.result.shape)} of {list(x.shape)} is kept")
        return forward(node, x)


@dataclass(frozen=True, slots=True)
class MergeSlices:
    """slice(slice(x, b, _), c, size) → slice(x, b + c, size)"""

    name: str = "merge_slices"
    kinds: tuple[str, ...] = ("slice",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cut from x directly; the first slice stays for its other readers."""
        inner = made_by(node.operand(0), "slice")
        if inner is None:
            return no_match("the operand is not made by a slice")
        first, second = inner.operand(1).data, node.operand(1).data
        if first is None or second is None or not node.result.type.is_static:
            return no_match("an offset or a size is not known")
        begin = [a + b for a, b in zip(int_list(first), int_list(second), strict=True)]
        return [build_slice(build, inner.operand(0), begin, node.result.shape)]


@dataclass(frozen=True, slots=True)
class SliceOfConcatenation:
    """slice(concatenation(x, y), what lies in y) → slice(y)"""

    name: str = "slice_of_concatenation"
    kinds: tuple[str, ...] = ("slice",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cut from the one operand that holds the box; the concatenation stays for its other readers."""
        joined = made_by(node.operand(0), "concatenation")
        data = node.operand(1).data
        if joined is None or activation_of(joined) is not NONE or data is None:
            return no_match("the operand is not made by a concatenation, or the offset is not known")
        axis = expect(joined.attributes, ConcatenationAttributes).axis % node.result.type.rank
        begin, size = int_list(data), node.result.shape
        for part in (value for value in joined.operands if value is not None):
            length = part.shape[axis]
            if not part.type.is_static or begin[axis] < 0:
                break
            if begin[axis] + size[axis] <= length:
                return forward(node, part) if size == part.shape else [build_slice(build, part, begin, size)]
            begin[axis] -= length
        return no_match("the box lies in no single operand, or a shape is not known")


@dataclass(frozen=True, slots=True)
class MergeStridedSlices:
    """strided_slice(strided_slice(x, rows ::2), columns ::2) → strided_slice(x, rows ::2, columns ::2)"""

    name: str = "merge_strided_slices"
    kinds: tuple[str, ...] = ("strided_slice",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Take every n-th of what takes every m-th: every nm-th. The first stays for its other readers."""
        inner = made_by(node.operand(0), "strided_slice")
        first, second = (None if inner is None else _ascending(inner)), _ascending(node)
        if inner is None or first is None or second is None:
            return no_match("not two strided_slices with known, ascending indices that keep all axes")
        ranges = [a[b.start : b.stop : b.step] for a, b in zip(first, second, strict=True)]
        vectors = ([r.start for r in ranges], [r[-1] + 1 for r in ranges], [r.step for r in ranges])
        return [build.op("strided_slice", [inner.operand(0), *map(build.constant, vectors)])]


def _ascending(node: Node) -> list[range] | None:
    """Return what a strided_slice takes of each axis, where it is known, ascending and keeps all axes."""
    options = expect(node.attributes, StridedSliceAttributes)
    x = node.operand(0)
    if options.ellipsis_mask or options.new_axis_mask or options.shrink_axis_mask or options.offset:
        return None
    if not x.type.is_static or any(node.operand(index).data is None for index in (1, 2, 3)):
        return None
    ranges = strided_ranges(node.operands, options)
    known = len(ranges) == x.type.rank and all(r.step > 0 and len(r) > 0 for r in ranges)
    return ranges if known else None


@dataclass(frozen=True, slots=True)
class StridedSliceToSlice:
    """strided_slice(x, ..., strides 1) → slice(x), with a reshape where axes are dropped

    slice is delegated whatever it cuts; strided_slice has masks that are not.
    """

    name: str = "strided_slice_to_slice"
    kinds: tuple[str, ...] = ("strided_slice",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Spell out begin and size."""
        x = node.operand(0)
        if not x.type.is_static or any(node.operand(index).data is None for index in (1, 2, 3)):
            return no_match("the shape or the slice is not known")
        options = expect(node.attributes, StridedSliceAttributes)
        if options.ellipsis_mask or options.new_axis_mask or options.offset:
            return no_match("a mask adds axes, or the end is an offset")
        ranges = strided_ranges(node.operands, options)
        if len(ranges) != x.type.rank or any(r.step != 1 and len(r) > 1 for r in ranges):
            return no_match("a stride is not 1")
        if any(len(r) == 0 for r in ranges):
            return no_match("the result is empty")
        size = [len(r) for r in ranges]
        if tuple(size) == x.shape == node.result.shape:
            return forward(node, x)
        part = build_slice(build, x, [r[0] for r in ranges], size)
        return [build.reshape(part, node.result.shape)]


@dataclass(frozen=True, slots=True)
class GatherToSlice:
    """gather(x, [2, 3, 4]) → slice(x, begin 2, size 3);  gather(x, 2) → the slice without its axis

    gather is never delegated.
    """

    name: str = "gather_to_slice"
    kinds: tuple[str, ...] = ("gather",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cut the range out."""
        x, indices = node.operand(0), node.operand(1).data
        options = expect(node.attributes, GatherAttributes)
        if indices is None or not indices.size or options.batch_dims or not x.type.is_static:
            return no_match("the indices are not constant, batched or none, or the shape is not known")
        numbers = np.asarray(int_list(indices))
        if not np.array_equal(numbers, numbers[0] + np.arange(numbers.size)):
            return no_match("the indices are not one ascending range")
        axis = options.axis % x.type.rank
        begin, size = [0] * x.type.rank, list(x.shape)
        begin[axis], size[axis] = int(numbers[0]), int(numbers.size)
        if tuple(size) == x.shape == node.result.shape:
            return forward(node, x)
        return [build.reshape(build_slice(build, x, begin, size), node.result.shape)]
