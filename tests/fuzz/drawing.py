"""What generators of nodes draw from: numbers, shapes, axes, operands of the graph so far."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.growing import Growing, Value

Draw = Callable[[st.SearchStrategy], object]
Generator = Callable[[Draw, Growing], object]

DIMS = st.sampled_from([1, 2, 3, 4, 5, 7, 8])


def is_float(value: Value) -> bool:
    return value.array.dtype == np.float32


def is_map(value: Value) -> bool:
    """Whether a value can be read as [N, C, spatial...]."""
    return is_float(value) and 3 <= value.rank <= 5


def number(draw: Draw, low: int, high: int) -> int:
    return int(draw(st.integers(low, high)))  # type: ignore[arg-type]


def choose(draw: Draw, *options: object) -> object:
    return draw(st.sampled_from(options))


def coin(draw: Draw) -> bool:
    return bool(draw(st.booleans()))


def pick(draw: Draw, g: Growing, wanted: Callable[[Value], bool] = is_float) -> Value | None:
    """Return a fitting value of the graph, the newest most likely; None where there is none."""
    found = g.where(wanted)
    return found[number(draw, 0, min(len(found), 4) - 1)] if found else None


def shape_of(draw: Draw, rank: int) -> tuple[int, ...]:
    dims = [int(draw(DIMS)) for _ in range(rank)]  # type: ignore[call-overload]
    while np.prod(dims) > 2000:
        dims[int(np.argmax(dims))] //= 2
    return tuple(dims)


def axis_of(draw: Draw, value: Value, *, negative: bool = True) -> int:
    return number(draw, -value.rank if negative else 0, value.rank - 1)


def some_axes(draw: Draw, value: Value, *, negative: bool) -> list[int]:
    chosen = [axis for axis in range(value.rank) if coin(draw)] or [value.rank - 1]
    return [axis - value.rank if negative and coin(draw) else axis for axis in chosen]


def partner(draw: Draw, g: Growing, x: Value, *, low: float = -2, high: float = 2) -> Value:
    """Return an operand that broadcasts with `x`: a constant, a new input, or a value of equal shape."""
    kind = choose(draw, "constant", "value", "input")
    if kind == "value":
        same = g.where(lambda v: v.array.dtype == x.array.dtype and v.shape == x.shape)
        return same[number(draw, 0, len(same) - 1)]
    shape = [dim if coin(draw) else 1 for dim in x.shape]
    shape = shape[number(draw, 0, len(shape)) :]
    data = g.numbers(shape, low, high) if is_float(x) else g.integers(shape, 1, 5).astype(x.array.dtype)
    return g.constant(data) if kind == "constant" else g.input(data)


def anything(value: Value) -> bool:
    return value.rank > 0
