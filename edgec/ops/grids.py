"""Real constants that lie on an integer grid: the float32 type of one carries int8 `quantization`.

A source model that is quantized already stores its weights as integers. They become float32 like all weights
and keep their grid as long as their data is only moved; new numbers are new constants, which have none. The
pass `absorb_quantization` takes the integers back from the grid, or drops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgec.ir import Array, Quantization, Value
from edgec.ops.builder import Builder


def shifted(grid: Quantization, by: int) -> Quantization:
    """Return the parameters of the same real values when `by` is added to every integer."""
    return replace(grid, zero_point=tuple(point + by for point in grid.zero_point))


def on_grid(build: Builder, data: Array, grid: Quantization | None, name: str = "") -> Value:
    """Return a float constant that lies on an int8 grid (None: on no known one)."""
    value = build.constant(data, name=name)
    value.type = replace(value.type, quantization=grid)
    return value


def moved(build: Builder, source: Value, data: Array, axes: Sequence[int] | None = None) -> Value:
    """Return a constant that holds the elements of `source` in another order, on the same grid.

    `axes` says which axis of `source` each axis of `data` was; without it the axes are the same.
    """
    grid = source.type.quantization
    if grid is not None and grid.per_axis and axes is not None:
        grid = replace(grid, quantized_dimension=list(axes).index(grid.quantized_dimension))
    return on_grid(build, data, grid, source.name)
