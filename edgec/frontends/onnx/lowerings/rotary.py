"""RotaryEmbedding: pairs of a token's entries, turned by the angle of its position.

real = cos * a - sin * b      (a, b) = the halves of the first `rotary_embedding_dim` entries,
imag = sin * a + cos * b      or its even and odd entries (interleaved)
"""

from __future__ import annotations

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.lowerings.indexing import from_the_front
from edgec.frontends.onnx.lowerings.movement import concatenated, sliced
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops import Builder
from edgec.ops.slicing import GatherAttributes


@lowers("RotaryEmbedding", since=23)
def rotary_embedding(ctx: LoweringContext) -> Value:
    """Turn `[batch, heads, sequence, size]`, or `[batch, sequence, heads * size]` with num_heads."""
    x, build = ctx.input(0), ctx.build
    shape = x.shape
    packed = x.type.rank == 3
    if packed:
        heads = ctx.int("num_heads")
        if heads < 1 or shape[2] % heads:
            raise _misfit(x, f"num_heads {heads}", "It divides the last axis of a 3-D input.")
        x = build.reshape(x, [*shape[:2], heads, shape[2] // heads])
    size = x.shape[-1]
    turned = ctx.int("rotary_embedding_dim") or size
    if x.type.rank != 4 or turned % 2 or turned > size:
        raise _misfit(x, f"rotary_embedding_dim {turned}", "It is even and at most the size of a head.")
    axes = (x.shape[0], x.shape[1]) if packed else (x.shape[0], x.shape[2])
    cos, sin = (_angles(ctx, index, (*axes, turned // 2), packed) for index in (1, 2))
    rotated = _turned(build, sliced(build, x, 3, 0, turned), cos, sin, bool(ctx.int("interleaved")))
    rest = [sliced(build, x, 3, turned, size - turned)] if turned < size else []
    return build.reshape(concatenated(build, [rotated, *rest], 3), shape)


def _misfit(x: Value, what: str, why: str) -> LoweringError:
    return LoweringError(f"has {what} for an input {list(x.shape)}", why, "Export the model again.")


def _angles(ctx: LoweringContext, index: int, shape: tuple[int, int, int], packed: bool) -> Value:
    """Return cos or sin as `[batch, sequence, 1, half]` (3-D input) or `[batch, 1, sequence, half]`."""
    cache, positions = ctx.input(index), ctx.optional_input(3)
    if positions is not None:
        positions = from_the_front(ctx, positions, cache.shape[0])
        cache = ctx.build.op("gather", [cache, positions], GatherAttributes(axis=0))
    batch, length, half = shape
    if cache.type.rank != 3 or cache.shape[1:] != (length, half) or cache.shape[0] not in (1, batch):
        raise LoweringError(
            f"has angles {list(cache.shape)}",
            f"{length} positions with {half} angles each are turned.",
            "Give position_ids with a 2-D cache, or a cache with one row for each token.",
        )
    place = 2 if packed else 1
    return ctx.build.reshape(cache, [*cache.shape[:place], 1, *cache.shape[place:]])


def _turned(build: Builder, x: Value, cos: Value, sin: Value, interleaved: bool) -> Value:
    half = x.shape[3] // 2
    if interleaved:  # pairs on an axis of their own: [..., half, 2]
        pairs = build.reshape(x, [*x.shape[:3], half, 2])
        a, b = (build.reshape(sliced(build, pairs, 4, i, 1), [*x.shape[:3], half]) for i in (0, 1))
    else:
        a, b = sliced(build, x, 3, 0, half), sliced(build, x, 3, half, half)
    real = build.op("sub", [build.op("mul", [cos, a]), build.op("mul", [sin, b])])
    imag = build.op("add", [build.op("mul", [sin, a]), build.op("mul", [cos, b])])
    if not interleaved:
        return concatenated(build, [real, imag], 3)
    apart = [build.reshape(part, [*part.shape, 1]) for part in (real, imag)]
    return build.reshape(concatenated(build, apart, 4), x.shape)
