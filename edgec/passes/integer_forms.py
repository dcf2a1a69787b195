"""The int8 side of real values: which grid a value stands on, and the integer tensor that holds it.

    q ── dequantize ──▶ real            `grid(real)`: q's parameters, `take(real)`: q itself
    real ── quantize ──▶ q              `target(real)`: what every reader quantizes it to
    made ── to ──▶ other grid           `moved(made, ...)`: int8 → int8

uint8 is int8 with 128 added to integers and zero point: `take` hands out int8 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgec.ir import DType, Graph, Node, Quantization, Value
from edgec.ops import Builder, spec_of
from edgec.ops.grids import shifted
from edgec.ops.quantization import GridAttributes
from edgec.ops.spec import Constraint

_SHIFTS = {DType.INT8: 0, DType.UINT8: 128}


def grid_of(node: Node) -> Quantization | None:
    """Return the per-tensor parameters, as int8, that a bridge of the source model has; None for others."""
    attributes = node.attributes
    if not isinstance(attributes, GridAttributes) or attributes.dtype not in _SHIFTS:
        return None
    grid = attributes.quantization
    return None if grid.per_axis else shifted(grid, -_SHIFTS[attributes.dtype])


def quantize(build: Builder, x: Value, grid: Quantization, dtype: DType = DType.INT8) -> Value:
    """Add a quantize node (from float, or from another grid) with a name of its own."""
    return build.op("quantize", [x], GridAttributes(dtype, grid))


def spread_grids(graph: Graph) -> None:
    """Give plain 8-bit integers the parameters that a bridge reads them with, also across nodes that move.

    Kernels refuse a tensor without parameters beside one that has them.
    """
    for node in graph:
        if node.kind == "dequantize" and isinstance(node.attributes, GridAttributes):
            _take_on(node.operand(0), node.attributes.quantization)
    movers = [node for node in graph if spec_of(node).quant.constraint is Constraint.SAME_SCALE]
    for node in reversed(movers):
        for value in _integers(node.operands):
            _take_on(value, _known(node.results))
    for node in movers:
        for value in _integers(node.results):
            _take_on(value, _known(node.operands))


def _take_on(value: Value, grid: Quantization | None) -> None:
    if value.type.quantization is None:
        value.type = replace(value.type, quantization=grid)


def _known(values: Sequence[Value | None]) -> Quantization | None:
    return next((v.type.quantization for v in _integers(values) if v.type.quantization), None)


def _integers(values: Sequence[Value | None]) -> list[Value]:
    return [value for value in values if value is not None and value.dtype in _SHIFTS]


class IntegerForms:
    """Finds and makes the int8 forms of a graph's real values; every form is made once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._shifted: dict[Value, Value] = {}

    def grid(self, real: Value) -> Quantization | None:
        """Return the int8 parameters of a real value that a dequantize makes; None for other values."""
        bridge = real.producer
        if bridge is None or bridge.kind != "dequantize":
            return None
        grid, held = grid_of(bridge), bridge.operand(0)
        if grid is None or held.dtype not in _SHIFTS:
            return None
        # A tensor of plain integers takes the parameters; another reader's own parameters stay with it.
        known = held.type.quantization
        return grid if known is None or known == shifted(grid, _SHIFTS[held.dtype]) else None

    def take(self, real: Value) -> Value:
        """Return the int8 tensor of a value that has a `grid`."""
        bridge, grid = real.producer, self.grid(real)
        assert bridge is not None and grid is not None
        held = bridge.operand(0)
        held.type = replace(held.type, quantization=shifted(grid, _SHIFTS[held.dtype]))
        return held if held.dtype is DType.INT8 else self._as_int8(held, grid, bridge)

    def _as_int8(self, held: Value, grid: Quantization, bridge: Node) -> Value:
        """Return a uint8 tensor as int8: straight from what was quantized, else shifted at run time."""
        if held not in self._shifted:
            maker = held.producer
            source = maker.operand(0) if maker is not None and maker.kind == "quantize" else held
            if source.dtype is DType.INT8 and source.type.quantization == grid:
                self._shifted[held] = source
            else:
                before = bridge if source is held else maker
                self._shifted[held] = quantize(Builder(self.graph, before, held.name), source, grid)
        return self._shifted[held]

    def target(self, real: Value) -> Quantization | None:
        """Return the int8 parameters that all readers quantize a real value to; None if some do not."""
        if real.is_graph_output or not real.uses:
            return None
        grids = {grid_of(user) if user.kind == "quantize" else None for user in real.users}
        return grids.pop() if len(grids) == 1 else None

    def give(self, real: Value, made: Value) -> None:
        """Let the readers that quantize `real` read `made`, an int8 tensor on their own grid."""
        for user in real.users:
            self.replace(user, made)

    def replace(self, bridge: Node, made: Value) -> None:
        """Replace a quantize node by an int8 tensor on its grid, shifted back where it makes uint8."""
        attributes = bridge.attributes
        assert isinstance(attributes, GridAttributes)
        if attributes.dtype is not DType.INT8:
            build = Builder(self.graph, bridge, bridge.source)
            made = quantize(build, made, attributes.quantization, attributes.dtype)
        self.graph.replace_node(bridge, [made])

    def moved(self, made: Value, grid: Quantization, before: Node) -> Value:
        """Return an int8 tensor on another grid."""
        if made.type.quantization == grid:
            return made
        return quantize(Builder(self.graph, before, made.name), made, grid)
