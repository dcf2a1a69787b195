"""Slices, in the one form our kinds have: every axis named, sizes known, no axis made or dropped on the way.

strided_slice with new-axis, ellipsis or shrink masks ─▶ strided_slice ─▶ reshape
split_v ─▶ one slice a part
"""

from __future__ import annotations

from dataclasses import dataclass

from edgec.frontends.tflite.context import Context, LoweringError
from edgec.frontends.tflite.registry import lowers
from edgec.ir import Value
from edgec.ops.slicing import StridedSliceAttributes

_REST = -1


@lowers("SLICE")
def slice_(ctx: Context) -> list[Value] | None:
    """A size of -1 takes all that is left."""
    if not _is_known(ctx, 1, 2):
        return None
    x, begin, size = ctx.input(0), ctx.ints(1, "begin"), ctx.ints(2, "size")
    if not len(begin) == len(size) == x.type.rank:
        raise LoweringError(f"begins at {begin} with size {size} in {list(x.shape)}", "The file is damaged.")
    size = [d - b if s == _REST else s for d, b, s in zip(x.shape, begin, size, strict=True)]
    return ctx.move("slice", [x, ctx.build.constant(begin), ctx.build.constant(size)])


def _is_known(ctx: Context, *bounds: int) -> bool:
    return ctx.input(0).type.is_static and all(ctx.input(index).is_constant for index in bounds)


@lowers("SPLIT_V")
def split_v(ctx: Context) -> list[Value]:
    """Parts of given sizes along an axis; one size may be -1."""
    x, sizes = ctx.input(0), ctx.ints(1, "sizes")
    axis = ctx.ints(2, "axis")[0] % max(x.type.rank, 1)
    rest = x.shape[axis] - sum(size for size in sizes if size != _REST)
    sizes = [rest if size == _REST else size for size in sizes]
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise LoweringError(f"splits {x.shape[axis]} entries into {sizes}", "The file is damaged.")
    parts: list[Value] = []
    begin = [0] * x.type.rank
    for size in sizes:
        shape = [*x.shape[:axis], size, *x.shape[axis + 1 :]]
        parts += ctx.move("slice", [x, ctx.build.constant(begin), ctx.build.constant(shape)])
        begin[axis] += size
    return parts


@dataclass
class _Plan:
    """What a strided slice does to each axis of x, and the shape its result is then given."""

    begin: list[int]
    end: list[int]
    strides: list[int]
    shape: list[int]

    def take(self, dim: int, start: int | None, stop: int | None, stride: int) -> None:
        taken = range(*slice(start, stop, stride).indices(dim))
        count = len(taken)
        self.begin.append(taken.start if count else 0)
        last = taken.start + (count - 1) * stride if count else 0
        # one past the last taken; walking down to entry 0 ends before the first, which only a number
        # below -dim says
        after = last + (1 if stride > 0 else -1) if count else 0
        self.end.append(after if after >= 0 else -dim - 1)
        self.strides.append(stride)
        self.shape.append(count)

    def takes_all(self, x: Value) -> bool:
        """Whether the slice is x itself, up to its shape."""
        return (self.begin, self.end) == ([0] * x.type.rank, list(x.shape)) and set(self.strides) <= {1}


@lowers("STRIDED_SLICE")
def strided_slice(ctx: Context) -> list[Value] | None:
    """Write out the masks."""
    if not _is_known(ctx, 1, 2, 3):
        return None
    x = ctx.input(0)
    plan = _planned(ctx, x)
    cut = x
    if not plan.takes_all(x):
        operands = [ctx.build.constant(v) for v in (plan.begin, plan.end, plan.strides)]
        (cut,) = ctx.move("strided_slice", [x, *operands], StridedSliceAttributes())
    return [ctx.reshape(cut, plan.shape)]


def _planned(ctx: Context, x: Value) -> _Plan:
    begin, end, strides = (ctx.ints(index, "bounds") for index in (1, 2, 3))
    masks = {
        name: ctx.option(f"{name}Mask") for name in ("begin", "end", "ellipsis", "newAxis", "shrinkAxis")
    }
    if not len(begin) == len(end) == len(strides):
        raise LoweringError(f"has bounds {begin}, {end}, {strides}", "The file is damaged.")
    if any(
        ctx.options is not None and ctx.options.offset and not masks["end"] >> i & 1 for i in range(len(end))
    ):
        end = [b + e for b, e in zip(begin, end, strict=True)]
    plan = _Plan([], [], [], [])
    named = sum(not (masks["newAxis"] | masks["ellipsis"]) >> i & 1 for i in range(len(begin)))
    axis = 0
    for i, (b, e, s) in enumerate(zip(begin, end, strides, strict=True)):
        if masks["ellipsis"] >> i & 1:
            for dim in x.shape[axis : x.type.rank - named + axis]:
                plan.take(dim, None, None, 1)
            axis += max(x.type.rank - named, 0)
            named = x.type.rank  # a second ellipsis would stand for nothing
            continue
        if masks["newAxis"] >> i & 1:
            plan.shape.append(1)
            continue
        if axis >= x.type.rank or s == 0:
            raise LoweringError(
                f"slices {list(x.shape)} by {begin}, {end}, {strides}", "The file is damaged."
            )
        dim = x.shape[axis]
        axis += 1
        if masks["shrinkAxis"] >> i & 1:
            at = b + dim if b < 0 else b
            if not 0 <= at < dim:
                raise LoweringError(f"takes entry {b} of {dim}", "It does not exist.")
            plan.take(dim, at, at + 1, 1)
            plan.shape.pop()
            continue
        start = None if masks["begin"] >> i & 1 else b
        stop = None if masks["end"] >> i & 1 else e
        plan.take(dim, start, stop, s)
    for dim in x.shape[axis:]:
        plan.take(dim, None, None, 1)
    return plan
