"""Generators of convolutions, pools, matrix products, reductions and normalizations."""

from __future__ import annotations

import numpy as np

from edgec.ir import Array
from tests.fuzz.drawing import Draw, axis_of, choose, coin, is_float, is_map, number, pick, some_axes
from tests.fuzz.growing import Growing


def window(draw: Draw, spatial: int, *, largest_pad: int = 2) -> dict[str, object]:
    """Draw kernel, strides, pads or auto_pad, and dilations."""
    attributes: dict[str, object] = {"kernel_shape": [number(draw, 1, 3) for _ in range(spatial)]}
    if coin(draw):
        attributes["strides"] = [number(draw, 1, 3) for _ in range(spatial)]
    auto = choose(draw, "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    if auto != "NOTSET":
        attributes["auto_pad"] = auto
    elif coin(draw):
        attributes["pads"] = [number(draw, 0, largest_pad) for _ in range(2 * spatial)]
    return attributes


def conv(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, is_map)
    if x is None:
        return
    attributes = window(draw, x.rank - 2)
    if coin(draw):
        attributes["dilations"] = [number(draw, 1, 2) for _ in range(x.rank - 2)]
    channels = x.shape[1]
    groups = [n for n in range(1, channels + 1) if channels % n == 0]
    group = groups[number(draw, 0, len(groups) - 1)]
    outputs = group * number(draw, 1, 3)
    kernel = attributes["kernel_shape"]
    weights = g.constant(g.numbers([outputs, channels // group, *kernel], -1, 1))  # type: ignore[misc]
    operands = [x, weights, g.constant(g.numbers([outputs]))] if coin(draw) else [x, weights]
    g.add("Conv", operands, group=group, **attributes)


def conv_transpose(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_map(v) and v.rank < 5)
    if x is None:
        return
    spatial = x.rank - 2
    attributes = window(draw, spatial, largest_pad=1)
    strides = attributes.get("strides", [1] * spatial)
    if coin(draw):
        attributes["output_padding"] = [number(draw, 0, s - 1) for s in strides]  # type: ignore[attr-defined]
    if coin(draw):
        attributes["dilations"] = [number(draw, 1, 2) for _ in range(spatial)]
    channels = x.shape[1]
    group = channels if coin(draw) else 1
    outputs = number(draw, 1, 3)
    weights = g.constant(g.numbers([channels, outputs, *attributes["kernel_shape"]], -1, 1))  # type: ignore[misc]
    bias = [g.constant(g.numbers([outputs * group]))] if coin(draw) else []
    g.add("ConvTranspose", [x, weights, *bias], group=group, **attributes)


def pool(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, is_map)
    if x is None:
        return
    op_type = str(choose(draw, "MaxPool", "AveragePool", "LpPool"))
    attributes = window(draw, x.rank - 2, largest_pad=1)
    if op_type != "LpPool" and g.opset >= 10 and coin(draw):
        attributes["ceil_mode"] = 1
    if op_type == "AveragePool" and coin(draw):
        attributes["count_include_pad"] = 1
    same = str(attributes.get("auto_pad")).startswith("SAME")  # there onnxruntime pads as if not dilated
    if coin(draw) and not same and g.opset >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op_type]:
        attributes["dilations"] = [number(draw, 1, 2) for _ in range(x.rank - 2)]
    g.add(op_type, [x], exact=op_type == "MaxPool", **attributes)


def global_pool(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, is_map)
    if x is not None:
        op_type = str(choose(draw, "GlobalAveragePool", "GlobalMaxPool"))
        g.add(op_type, [x], exact=op_type == "GlobalMaxPool")


def matmul(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank > 0)
    if x is None:
        return
    left = coin(draw) and x.rank >= 2
    inner = x.shape[-2] if left else x.shape[-1]
    batch = [dim if coin(draw) else 1 for dim in x.shape[:-2]][number(draw, 0, max(x.rank - 2, 0)) :]
    outer = number(draw, 1, 5)
    if coin(draw) and not batch:
        shape = [inner]
    else:
        shape = [*batch, outer, inner] if left else [*batch, inner, outer]
    data = g.numbers(shape, -1, 1)
    other = g.constant(data) if coin(draw) else g.input(data)
    g.add("MatMul", [other, x] if left else [x, other])


def gemm(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank == 2)
    if x is None:
        return
    trans_a, trans_b = coin(draw), coin(draw)
    inner, rows = (x.shape[0], x.shape[1]) if trans_a else (x.shape[1], x.shape[0])
    columns = number(draw, 1, 5)
    weights = g.numbers([columns, inner] if trans_b else [inner, columns], -1, 1)
    bias = g.numbers(choose(draw, [columns], [1, columns], [rows, 1], [rows, columns], [1]))  # type: ignore[arg-type]
    operands = [x, g.constant(weights) if coin(draw) else g.input(weights)]
    if g.opset < 11 or coin(draw):
        operands.append(g.constant(bias) if coin(draw) else g.input(bias))
    alpha, beta = choose(draw, (None, None), (0.5, 2.0))  # type: ignore[misc]
    g.add("Gemm", operands, transA=int(trans_a), transB=int(trans_b), alpha=alpha, beta=beta)


def reduce(draw: Draw, g: Growing) -> None:
    op_type = str(
        choose(
            draw,
            *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
            *("ReduceSumSquare", "ReduceLogSumExp"),
        )
    )
    x = pick(draw, g, lambda v: is_float(v) and v.rank > 0)
    if x is None:
        return
    axes = some_axes(draw, x, negative=g.opset >= 11) if coin(draw) else None
    keep = choose(draw, None, 0, 1)
    exact = op_type in ("ReduceMax", "ReduceMin")
    as_operand = g.opset >= (13 if op_type == "ReduceSum" else 18)
    if as_operand:
        noop = choose(draw, None, 1)
        operands = [x] if axes is None else [x, g.ints(*axes)]
        g.add(op_type, operands, exact=exact, keepdims=keep, noop_with_empty_axes=noop)
    else:
        g.add(op_type, [x], exact=exact, keepdims=keep, axes=axes)


def arg_reduce(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.exact and v.rank > 0)
    if x is None:
        return
    last = choose(draw, None, 1) if g.opset >= 12 else None
    axis = axis_of(draw, x, negative=g.opset >= 11)
    keep = choose(draw, None, 0)
    g.add(
        str(choose(draw, "ArgMax", "ArgMin")),
        [x],
        exact=True,
        axis=axis,
        keepdims=keep,
        select_last_index=last,
    )


def top_k(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.exact and v.rank > 0)
    if x is None or len(np.unique(x.array)) < x.array.size:  # equal values have no defined order
        return
    axis = axis_of(draw, x, negative=g.opset >= 11)
    k = number(draw, 1, x.shape[axis])
    if g.opset < 10:
        g.add("TopK", [x], results=2, exact=True, axis=axis, k=k)
    else:
        largest = choose(draw, None, 0) if g.opset >= 11 else None
        g.add("TopK", [x, g.ints(k)], results=2, exact=True, axis=axis, largest=largest)


def softmax(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank > 0)
    if x is not None:
        axis = choose(draw, None, axis_of(draw, x, negative=g.opset >= 11))
        g.add(str(choose(draw, "Softmax", "LogSoftmax")), [x], axis=axis)


def batch_norm(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank >= 2)
    if x is None:
        return
    size = x.shape[1:2]
    statistics: list[Array] = [
        g.numbers(size, 0.5, 1.5),
        g.numbers(size),
        g.numbers(size),
        g.numbers(size, 0.5, 2),
    ]
    g.add("BatchNormalization", [x, *map(g.constant, statistics)], epsilon=choose(draw, None, 1e-3))


def instance_norm(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, is_map)
    if x is not None:
        scale, bias = g.numbers(x.shape[1:2], 0.5, 1.5), g.numbers(x.shape[1:2])
        g.add("InstanceNormalization", [x, g.constant(scale), g.constant(bias)], epsilon=0.01)


def layer_norm(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank > 0)
    if x is not None:
        axis = axis_of(draw, x)
        scale, bias = g.numbers(x.shape[axis:], 0.5, 1.5), g.numbers(x.shape[axis:])
        operands = [x, g.constant(scale)] + ([g.constant(bias)] if coin(draw) else [])
        g.add("LayerNormalization", operands, axis=axis, epsilon=0.01)


def group_norm(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, is_map)
    if x is not None:
        groups = 2 if x.shape[1] % 2 == 0 else 1
        size = [groups] if g.opset < 21 else x.shape[1:2]
        scale, bias = g.constant(g.numbers(size, 0.5, 1.5)), g.constant(g.numbers(size))
        g.add("GroupNormalization", [x, scale, bias], num_groups=groups, epsilon=0.01)


def other_norm(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.rank == 4)
    if x is not None:
        if coin(draw):
            g.add("LRN", [x], size=int(choose(draw, 1, 3, 5)))  # type: ignore[call-overload]
        else:
            g.add("LpNormalization", [x], axis=axis_of(draw, x), p=number(draw, 1, 2))


def dropout(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    if x is not None:
        g.add("Dropout", [x], exact=True, results=2 if g.opset >= 10 and coin(draw) else 1)
