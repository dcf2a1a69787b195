"""MatMul and Gemm.

x @ W, W constant [K, N]   → fully_connected(x, W^T)   (XNNPACK packs the constant weights)
anything else              → batch_matmul; 1-D operands get an axis and lose it again
"""

from __future__ import annotations

from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops import Builder
from edgec.ops.grids import moved, on_grid
from edgec.ops.matmul import BatchMatMulAttributes, FullyConnectedAttributes
from edgec.ops.reduce import ReducerAttributes

_MOST_PRODUCTS = 1 << 22
"""Integer products are held all at once before they are summed; this caps them at 16 MiB of int32."""


@lowers("MatMul", dynamic=True)
def matmul(ctx: LoweringContext) -> Value:
    """Matrix product of the last two axes, the others broadcast (NumPy's matmul)."""
    x, y = ctx.input(0), ctx.input(1)
    if not x.type.rank or not y.type.rank:
        raise LoweringError("multiplies a scalar", "A matrix product needs rank 1 or more.", "Use Mul.")
    row, column = x.type.rank == 1, y.type.rank == 1
    x = ctx.build.reshape(x, [1, *x.shape]) if row else x
    y = reshaped(ctx.build, y, [*y.shape, 1]) if column else y
    product = multiply(ctx.build, x, y)
    shape = list(product.shape)
    if column:
        shape.pop()
    if row:
        shape.pop(-1 if column else -2)
    return ctx.build.reshape(product, shape)


@lowers("Gemm", dynamic=True)
def gemm(ctx: LoweringContext) -> Value:
    """alpha * A' @ B' + beta * C, where A' and B' may be transposed."""
    a, b, c = ctx.input(0), ctx.input(1), ctx.optional_input(2)
    alpha, beta = ctx.float("alpha", 1.0), ctx.float("beta", 1.0)
    if a.type.rank != 2 or b.type.rank != 2:
        raise LoweringError(f"operands {list(a.shape)} and {list(b.shape)} are not matrices")
    a = ctx.build.transpose(a, [1, 0]) if ctx.int("transA") else a
    if b.data is None:
        product = _batch_matmul(ctx.build, a, b, adj_y=bool(ctx.int("transB")))
        product = _scaled(ctx.build, product, alpha)
        return product if c is None else ctx.build.op("add", [product, _scaled(ctx.build, c, beta)])
    if ctx.int("transB"):
        weights = moved(ctx.build, b, b.data)
    else:
        weights = moved(ctx.build, b, np.ascontiguousarray(b.data.T), [1, 0])
    if alpha != 1.0:
        scaled = np.multiply(weights.constant(), alpha, dtype=np.float32)
        weights = ctx.build.constant(scaled, name=b.name)
    bias = _bias(c, beta, weights.shape[0])
    y = fully_connected(ctx.build, a, weights, bias)
    return y if c is None or bias is not None else ctx.build.op("add", [y, _scaled(ctx.build, c, beta)])


def _bias(c: Value | None, beta: float, units: int) -> np.ndarray | None:
    """Return beta * C as a bias vector, or None where C is absent, computed, or differs between rows."""
    if c is None or c.data is None or (c.type.rank == 2 and c.shape[0] != 1) or c.type.rank > 2:
        return None
    row = np.multiply(c.data.reshape(-1), beta, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(row, (units,)))


def _scaled(build: Builder, x: Value, factor: float) -> Value:
    return x if factor == 1.0 else build.op("mul", [x, build.constant(factor)])


def multiply(build: Builder, x: Value, y: Value) -> Value:
    """Return the matrix product of two values of rank 2 or more."""
    if not x.dtype.is_float:
        return _integer_product(build, x, y)
    if y.data is not None and x.data is None and prod(y.shape[:-2]) == 1:
        data = np.ascontiguousarray(y.data.reshape(y.shape[-2:]).T)
        weights = moved(build, y, data, [y.type.rank - 1, y.type.rank - 2])
        product = fully_connected(build, x, weights, None)
        rank = max(x.type.rank, y.type.rank)
        return build.reshape(product, [*[1] * (rank - product.type.rank), *product.shape])
    return _batch_matmul(build, x, y)


def fully_connected(build: Builder, x: Value, weights: Value, bias: np.ndarray | None) -> Value:
    """Return x @ weights^T + bias for weights `[units, depth]`; leading axes of x stay."""
    operands = [x, weights]
    if bias is not None:
        operands.append(build.constant(bias, name=f"{build.source}/bias"))
    return build.op("fully_connected", operands, FullyConnectedAttributes(keep_num_dims=x.type.rank > 2))


def _batch_matmul(build: Builder, x: Value, y: Value, *, adj_y: bool = False) -> Value:
    """Multiply at equal rank; the kernel stops at rank 5, so equal or absent batch axes become one."""
    rank = max(x.type.rank, y.type.rank)
    x = reshaped(build, x, [1] * (rank - x.type.rank) + list(x.shape))
    y = reshaped(build, y, [1] * (rank - y.type.rank) + list(y.shape))
    attributes = BatchMatMulAttributes(adj_y=adj_y)
    if rank > 5 and not (x.type.is_static and y.type.is_static):
        raise LoweringError(
            f"multiplies {x.type} by {y.type}", "Beyond rank 5 sizes have to be known.", "Pin the dimensions."
        )
    if rank <= 5:
        return build.op("batch_matmul", [x, y], attributes)
    batches = (x.shape[:-2], y.shape[:-2])
    if batches[0] != batches[1] and 1 not in (prod(batches[0]), prod(batches[1])):
        raise LoweringError(
            f"multiplies {list(x.shape)} by {list(y.shape)}",
            "The kernel broadcasts up to rank 5.",
            "Merge leading axes with Reshape before the product.",
        )
    batch = max(batches, key=prod)
    product = build.op("batch_matmul", [_merged(build, x), _merged(build, y)], attributes)
    return build.reshape(product, [*batch, *product.shape[-2:]])


def _merged(build: Builder, x: Value) -> Value:
    return reshaped(build, x, [prod(x.shape[:-2]), *x.shape[-2:]])


def _integer_product(build: Builder, x: Value, y: Value) -> Value:
    """Sum of products, exact in the integers: no matrix kernel takes them."""
    count = max(prod(x.shape[:-2]), prod(y.shape[:-2])) * x.shape[-2] * x.shape[-1] * y.shape[-1]
    if count > _MOST_PRODUCTS:
        raise LoweringError(
            f"multiplies {x.dtype} matrices with {count} products",
            "TFLite multiplies float and quantized matrices only.",
            "Cast the operands to float32.",
        )
    left = reshaped(build, x, [*x.shape, 1])
    right = reshaped(build, y, [*y.shape[:-2], 1, *y.shape[-2:]])
    products = build.op("mul", [left, right])
    axis = build.constant([products.type.rank - 2])
    return build.op("sum", [products, axis], ReducerAttributes(keep_dims=False))


def reshaped(build: Builder, x: Value, shape: list[int]) -> Value:
    """Return x in another shape; a constant stays one."""
    if x.data is None:
        return build.reshape(x, shape)
    if list(x.shape) == shape:
        return x
    grid = x.type.quantization
    keeps_grid = grid is not None and not grid.per_axis
    return on_grid(build, x.data.reshape(shape), grid if keeps_grid else None, x.name)
