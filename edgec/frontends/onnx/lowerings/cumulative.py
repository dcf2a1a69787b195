"""Running products, for which there is no kernel: shifts by 1, 2, 4, … double the length of each product.

x                      a  b   c    d
times x shifted by 1   a  ab  bc   cd
times that by 2        a  ab  abc  abcd
"""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.axes import checked_axis
from edgec.frontends.onnx.context import LoweringContext
from edgec.frontends.onnx.integers import compute_type
from edgec.frontends.onnx.lowerings.movement import concatenated, sliced
from edgec.frontends.onnx.registry import lowers
from edgec.frontends.onnx.sizes import scalar
from edgec.ir import Value
from edgec.ops import Builder


@lowers("CumProd")
def cumulative_product(ctx: LoweringContext) -> Value:
    """The product of all entries up to each one along an axis, itself included or not, from either end.

    An axis that is computed costs the products along every axis, of which one is chosen.
    """
    x, axis = ctx.input(0), ctx.input(1)
    if axis.data is not None:
        return _along(ctx, checked_axis(ctx.constant_ints(1)[0], x.type.rank))
    build = ctx.build
    named = build.op("floor_mod", [scalar(build, axis), build.constant(x.type.rank)])
    result = _along(ctx, 0)
    for other in range(1, x.type.rank):
        is_it = build.op("equal", [named, build.constant(other)])
        result = build.op("select_v2", [is_it, _along(ctx, other), result])
    return result


def _along(ctx: LoweringContext, axis: int) -> Value:
    x = ctx.input(0)
    reverse, size = bool(ctx.int("reverse")), x.shape[axis]
    product = ctx.cast(x, compute_type(x.dtype))
    if ctx.int("exclusive"):
        product = _shifted(ctx.build, product, axis, 1, reverse)
    distance = 1
    while distance < size:
        product = ctx.build.op("mul", [product, _shifted(ctx.build, product, axis, distance, reverse)])
        distance *= 2
    return ctx.cast(product, x.dtype)


def _shifted(build: Builder, x: Value, axis: int, distance: int, reverse: bool) -> Value:
    """Return x moved away from its beginning (its end, for `reverse`) with ones in the gap."""
    left = x.shape[axis] - distance
    gap = [distance if a == axis else dim for a, dim in enumerate(x.shape)]
    ones = build.constant(np.ones(gap, x.dtype.numpy))
    if not left:
        return ones
    kept = sliced(build, x, axis, distance if reverse else 0, left)
    return concatenated(build, [kept, ones] if reverse else [ones, kept], axis)
