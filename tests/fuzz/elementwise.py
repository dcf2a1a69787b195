"""Generators of elementwise nodes.

Operators that step (Floor, comparisons, …) read exact values only, where a last-bit difference cannot turn
into a whole step.
"""

from __future__ import annotations

import numpy as np

from tests.fuzz.drawing import Draw, choose, coin, is_float, number, partner, pick
from tests.fuzz.growing import Growing


def unary(draw: Draw, g: Growing) -> None:
    op_type = choose(
        draw,
        *("Relu", "Abs", "Neg", "Sigmoid", "Tanh", "Identity", "Sin", "Cos", "Erf", "Exp", "Softsign"),
        *("Softplus", "Atan", "Sinh", "Asinh"),
    )
    x = pick(draw, g)
    if x is not None:
        g.add(str(op_type), [x], exact=op_type in ("Relu", "Abs", "Neg", "Identity"))


def parametric(draw: Draw, g: Growing) -> None:
    op_type = str(
        choose(draw, "LeakyRelu", "Elu", "Selu", "HardSigmoid", "Celu", "ThresholdedRelu", "Shrink")
    )
    x = pick(draw, g, lambda v: is_float(v) and (v.exact or op_type not in ("ThresholdedRelu", "Shrink")))
    if x is None:
        return
    attributes: dict[str, float] = {}
    if coin(draw) and op_type != "Shrink":
        attributes["alpha"] = float(choose(draw, 0.1, 0.25, 0.5, 1.5))  # type: ignore[arg-type]
    if op_type == "HardSigmoid" and coin(draw):
        attributes["beta"] = float(choose(draw, 0.4, 0.5))  # type: ignore[arg-type]
    if op_type == "Shrink":
        attributes = {"bias": 0.25, "lambd": float(choose(draw, 0.5, 0.75))}  # type: ignore[arg-type]
    g.add(op_type, [x], **attributes)


def modern_activation(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    op_type = str(choose(draw, "HardSwish", "Mish", "Gelu", "Swish"))
    if x is not None:
        approximate = choose(draw, None, "tanh") if op_type == "Gelu" else None
        g.add(op_type, [x], approximate=approximate)


def prelu(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    if x is None:
        return
    slope = g.numbers(
        (x.shape[1], *[1] * (x.rank - 2)) if x.rank > 2 and coin(draw) else x.shape[-1:], 0.1, 0.5
    )
    g.add("PRelu", [x, g.constant(slope)])


def clip(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    if x is None:
        return
    low, high = choose(draw, (0.0, 6.0), (-1.0, 1.0), (0.0, 1.0), (-0.5, None), (None, 0.75), (0.5, 1.5))  # type: ignore[misc]
    if g.opset < 11:
        g.add("Clip", [x], exact=True, min=low, max=high)
        return
    bounds = [None if b is None else g.constant(np.float32(b)) for b in (low, high)]
    while bounds and bounds[-1] is None:
        bounds.pop()
    g.add("Clip", [x, *bounds], exact=True)


def positive(draw: Draw, g: Growing) -> None:
    """Add an operator that is tame on positive numbers alone: Log, Sqrt, Reciprocal, Pow, on |x| + 0.5."""
    x = pick(draw, g)
    if x is None:
        return
    sizes = g.add("Abs", [x], exact=True)
    shifted = g.add("Add", [sizes[0], g.constant(np.float32(0.5))]) if sizes else []
    if not shifted:
        return
    op_type = str(choose(draw, "Sqrt", "Log", "Reciprocal", "Pow"))
    exponent = [g.constant(np.float32(choose(draw, 0.5, 2.0, 3.0, -1.0, 1.5)))] if op_type == "Pow" else []
    g.add(op_type, [shifted[0], *exponent])


def binary(draw: Draw, g: Growing) -> None:
    op_type = str(choose(draw, "Add", "Mul", "Sub", "Max", "Min", "Div"))
    x = pick(draw, g, lambda v: is_float(v) or (v.array.dtype in (np.int64, np.int32) and op_type != "Div"))
    if x is None:
        return
    if op_type == "Div":
        y = g.numbers([dim if coin(draw) else 1 for dim in x.shape], 0.5, 2)
        other = g.constant(y) if coin(draw) else g.input(y)
        g.add("Div", [x, other])
        return
    if not is_float(x) and op_type in ("Max", "Min") and g.opset < 12:
        return
    other = partner(draw, g, x)
    operands = [x, other] if coin(draw) else [other, x]
    g.add(op_type, operands, exact=op_type in ("Max", "Min") or not is_float(x))


def variadic(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    if x is not None:
        op_type = str(choose(draw, "Sum", "Mean", "Max", "Min"))
        others = [partner(draw, g, x) for _ in range(number(draw, 0, 2))]
        g.add(op_type, [x, *others], exact=op_type in ("Max", "Min"))


def stepping(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: is_float(v) and v.exact)
    if x is None:
        return
    op_type = str(choose(draw, "Floor", "Ceil", "Sign", "Round"))
    g.add(op_type, [x], exact=True)


def compare_and_select(draw: Draw, g: Growing) -> None:
    """Add a comparison and a Where, perhaps with logic between them."""
    x = pick(draw, g, lambda v: v.exact and v.array.dtype in (np.float32, np.int64))
    if x is None:
        return
    other = partner(draw, g, x)
    if not other.exact:
        return
    op_type = str(choose(draw, "Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual"))
    condition = g.add(op_type, [x, other], exact=True)
    if condition and coin(draw):
        condition = g.add("Not", condition, exact=True)
    if condition and coin(draw):
        condition = g.add(str(choose(draw, "And", "Or", "Xor")), [condition[0], condition[0]], exact=True)
    if condition and coin(draw):
        g.add("Where", [condition[0], x, partner(draw, g, x)], exact=True)


def cast(draw: Draw, g: Growing) -> None:
    x = pick(draw, g, lambda v: v.exact)
    if x is not None:
        to = choose(draw, np.float32, np.int32, np.int64, np.bool_)
        from onnx import helper

        g.add("Cast", [x], exact=True, to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))  # type: ignore[arg-type]
