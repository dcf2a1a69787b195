"""Generators of nodes that move or pick data, and of Resize."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.drawing import (
    Draw,
    anything,
    axis_of,
    choose,
    coin,
    is_float,
    is_map,
    number,
    pick,
    some_axes,
)
from tests.fuzz.growing import Growing, Value


def transpose(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is not None:
        order = draw(st.permutations(range(x.rank)))
        g.add("Transpose", [x], exact=True, perm=order if coin(draw) else None)


def reshape(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is None:
        return
    shape = list(x.shape)
    for _ in range(number(draw, 1, 3)):
        if coin(draw) and len(shape) > 1:  # merge two neighbours
            at = number(draw, 0, len(shape) - 2)
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
        elif len(shape) < 5:  # split one
            at = number(draw, 0, len(shape) - 1)
            factor = next((f for f in (2, 3, 5) if shape[at] % f == 0 and coin(draw)), 1)
            shape[at : at + 1] = [factor, shape[at] // factor]
    if coin(draw):
        shape[number(draw, 0, len(shape) - 1)] = -1
    g.add("Reshape", [x, g.ints(*shape)], exact=True)


def computed_reshape(draw: Draw, g: Growing) -> None:
    """Add Shape → Gather → Concat → Reshape, as exporters write `x.view(x.size(0), -1)`."""
    x = pick(draw, g, anything)
    if x is None:
        return
    shape = g.add("Shape", [x], exact=True)
    kept = g.add("Gather", [shape[0], g.ints(0)], exact=True, axis=0) if shape else []
    target = g.add("Concat", [kept[0], g.ints(-1)], exact=True, axis=0) if kept else []
    if target:
        g.add("Reshape", [x, target[0]], exact=True)


def flatten(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    if x is not None:
        g.add("Flatten", [x], exact=True, axis=number(draw, 0 if g.opset < 11 else -x.rank, x.rank))


def squeeze_unsqueeze(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is None:
        return
    op_type = str(choose(draw, "Squeeze", "Unsqueeze"))
    ones = [axis for axis, dim in enumerate(x.shape) if dim == 1]
    axes = ones if op_type == "Squeeze" else [number(draw, 0, x.rank)]
    if not axes or (op_type == "Unsqueeze" and x.rank >= 5):
        return
    if g.opset < 13:
        g.add(op_type, [x], exact=True, axes=axes)
    else:
        g.add(op_type, [x, g.ints(*axes)], exact=True)


def concat(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is None:
        return
    axis = axis_of(draw, x, negative=g.opset >= 11)
    parts = [x]
    for _ in range(number(draw, 1, 2)):
        fits = g.where(
            lambda v: v.array.dtype == x.array.dtype and v.rank == x.rank and _same_but(v, x, axis)
        )
        shape = list(x.shape)
        shape[axis] = number(draw, 1, 3)
        data = g.numbers(shape).astype(x.array.dtype)
        kind = choose(draw, "value", "constant", "input")
        parts.append(
            fits[number(draw, 0, len(fits) - 1)]
            if kind == "value"
            else (g.constant(data) if kind == "constant" else g.input(data))
        )
    g.add("Concat", draw(st.permutations(parts)), exact=True, axis=axis)  # type: ignore[arg-type]


def _same_but(a: Value, b: Value, axis: int) -> bool:
    return all(m == n for i, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if i != axis % a.rank)


def split(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is None:
        return
    axis = axis_of(draw, x, negative=g.opset >= 11)
    size = x.shape[axis]
    if size < 2:
        return
    cut = number(draw, 1, size - 1)
    sizes = [cut, size - cut]
    if g.opset < 13:
        g.add("Split", [x], results=2, exact=True, axis=axis, split=sizes)
    elif size % 2 == 0 and coin(draw):
        extra = {"num_outputs": 2} if g.opset >= 18 else {}
        g.add("Split", [x], results=2, exact=True, axis=axis, **extra)
    else:
        g.add("Split", [x, g.ints(*sizes)], results=2, exact=True, axis=axis)


def slice_(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is None:
        return
    axes = some_axes(draw, x, negative=g.opset >= 11)
    starts = [number(draw, -x.shape[a] - 1, x.shape[a]) for a in axes]
    ends = [int(choose(draw, 2**63 - 1, -1, 2, x.shape[a], -(2**31))) for a in axes]  # type: ignore[call-overload]
    if g.opset < 10:
        g.add("Slice", [x], exact=True, axes=axes, starts=starts, ends=ends)
        return
    steps = [int(choose(draw, 1, 2, -1, 3, -2)) for _ in axes]  # type: ignore[call-overload]
    if coin(draw):  # onnxruntime takes the largest end for "to index 0" under a negative step; ONNX does not
        ends = [-end if step < 0 else end for end, step in zip(ends, steps, strict=True)]
    elif any(step < 0 and end == 2**63 - 1 for end, step in zip(ends, steps, strict=True)):
        return
    operands = [x, g.ints(*starts), g.ints(*ends), g.ints(*axes)]
    g.add("Slice", [*operands, g.ints(*steps)] if coin(draw) else operands, exact=True)


def pad(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank > 0)
    if x is None:
        return
    mode = str(choose(draw, "constant", "reflect", "edge", *(["wrap"] if g.opset >= 19 else [])))
    low = -1 if coin(draw) else 0
    pads = [number(draw, low, 2) if coin(draw) else 0 for _ in range(2 * x.rank)]
    if mode == "reflect":
        pads = [min(p, x.shape[i % x.rank] - 1) for i, p in enumerate(pads)]
    value = float(choose(draw, 0.0, 1.5))  # type: ignore[arg-type]
    if g.opset < 11:
        g.add("Pad", [x], exact=True, mode=mode, pads=pads, value=value)
        return
    operands = [x, g.ints(*pads)]
    g.add(
        "Pad", [*operands, g.constant(np.float32(value))] if coin(draw) else operands, exact=True, mode=mode
    )


def expand_tile(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is None:
        return
    if coin(draw):
        g.add("Tile", [x, g.ints(*[number(draw, 1, 3) for _ in x.shape])], exact=True)
        return
    shape = [number(draw, 1, 3) if dim == 1 else (dim if coin(draw) else 1) for dim in x.shape]
    g.add("Expand", [x, g.ints(*([2] if x.rank < 5 and coin(draw) else []), *shape)], exact=True)


def gather(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, anything)
    if x is None:
        return
    axis = axis_of(draw, x, negative=g.opset >= 11)
    size = x.shape[axis]
    at_run_time = coin(draw)
    low = -size if g.opset >= 11 and (not at_run_time or coin(draw)) else 0
    if g.opset >= 11 and coin(draw):
        indices = g.integers([dim if i != axis % x.rank else 2 for i, dim in enumerate(x.shape)], low, size)
        op_type = "GatherElements"
    else:
        indices = g.integers([number(draw, 1, 3) for _ in range(number(draw, 0, 2))], low, size)
        op_type = "Gather"
    indices = indices.astype(np.int32) if coin(draw) else indices
    g.add(op_type, [x, g.input(indices) if at_run_time else g.constant(indices)], exact=True, axis=axis)


def space_depth(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank == 4)
    if x is None:
        return
    if coin(draw):
        g.add("SpaceToDepth", [x], exact=True, blocksize=2)
    else:
        mode = choose(draw, "DCR", "CRD") if g.opset >= 11 else None
        g.add("DepthToSpace", [x], exact=True, blocksize=2, mode=mode)


def resize(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: (is_map(v) and v.exact) or (is_float(v) and v.rank == 4))
    if x is None:
        return
    factors = [1.0, 1.0, *(float(choose(draw, 2.0, 0.5, 3.0, 1.5, 0.6, 1.0)) for _ in x.shape[2:])]  # type: ignore[arg-type]
    scales = np.array(factors, np.float32)
    mode = str(choose(draw, "nearest", "linear", *(["cubic"] if g.opset >= 11 and x.rank == 4 else [])))
    if g.opset < 9:
        g.add("Upsample", [x], exact=mode == "nearest", mode=mode, scales=factors)
        return
    if g.opset < 11:
        op_type = "Upsample" if g.opset == 9 else "Resize"
        g.add(op_type, [x, g.constant(scales)], exact=mode == "nearest", mode=mode)
        return
    attributes: dict[str, object] = {"mode": mode}
    attributes["coordinate_transformation_mode"] = choose(
        draw, "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"
    )
    if mode == "nearest":
        attributes["nearest_mode"] = choose(draw, "round_prefer_floor", "floor", "ceil", "round_prefer_ceil")
    if g.opset >= 18 and mode != "nearest" and coin(draw):
        attributes["antialias"] = 1
    if coin(draw):
        sizes = [*x.shape[:2], *(number(draw, 1, 9) for _ in x.shape[2:])]
        empty = g.constant(np.zeros(0, np.float32)) if g.opset < 13 else None
        g.add("Resize", [x, empty, empty, g.ints(*sizes)], exact=mode == "nearest", **attributes)
    else:
        roi = g.constant(np.zeros(0, np.float32)) if g.opset < 13 else None
        g.add("Resize", [x, roi, g.constant(scales)], exact=mode == "nearest", **attributes)
