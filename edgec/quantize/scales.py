"""Which activations share a scale, and which scale: one solution for the whole graph.

    same-scale node, one activation     x ── max_pool ── y          x and y are one group
    join, several activations           a, b ── concat ── y         a, b and y are one group, unless
                                                                    sharing would cost somebody precision:
                                                                    then `a → quantize → concat`
    fixed output scale                  x ── softmax ── y           y's group has the kernel's parameters

A value that int8 and int16 nodes read has a place in both: places share scales, values only through them.
A group's range is the union of the ranges that some reader needs as a whole (`needs_whole_range`): what only
passes through same-scale nodes may saturate outside of what comes out of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import DType, Graph, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint
from edgec.quantize import problems
from edgec.quantize.known_ranges import Range, known_ranges
from edgec.quantize.parameters import STORED_LIMITS, Form, from_range, represented, symmetric_from_limit
from edgec.quantize.roles import (
    Role,
    Roles,
    Treatment,
    is_fixed,
    is_real,
    joins,
    needs_whole_range,
    quantized_values,
)

Ranges = Mapping[str, Range]
Place = tuple[Value, DType]

MAX_WIDENING = {DType.INT8: 2.0, DType.INT16: 16.0}
"""Sharing a scale may widen a range this much. In int8 one bit, 6 dB: beyond it, a requantize costs less.
In int16 four bits: the twelve that stay are still finer than int8 weights."""

MAX_WIDENING_TO_SYMMETRIC = 1.5
"""The same for a zero point of 0 where a delegate asks for it: a slower kernel is better than 6 dB."""

MIN_SCALE_OF_FIXED = {DType.INT8: 2.0**-24, DType.INT16: 1e-9}
"""The least scale of what a kernel with a fixed output scale reads: its multiplier is no ratio of two scales.
The reference kernels of SOFTMAX and LOG_SOFTMAX end the process below 2^-26 / beta; ranges this small move no
result by a step."""

_ZERO: Range = (0.0, 0.0)


@dataclass(slots=True)
class _Group:
    """Places that share a scale, at least `least`. `narrowest` is the least width among ranges to cover.

    `coarse`: a kernel cuts ratios of its scales to 16 bits, see `_coarse`.
    """

    dtype: DType = DType.INT8
    needed: Range | None = None
    narrowest: float = float("inf")
    fixed: Quantization | None = None
    symmetric: bool = False
    least: float = 0.0
    coarse: bool = False

    def absorb(self, other: _Group) -> None:
        """Take over what another group needs."""
        if other.needed is not None:
            self.cover(other.needed)
        self.narrowest = min(self.narrowest, other.narrowest)
        self.fixed = self.fixed or other.fixed
        self.symmetric = self.symmetric or other.symmetric
        self.least = max(self.least, other.least)
        self.coarse = self.coarse or other.coarse

    def cover(self, needed: Range) -> None:
        """Widen to a range that a reader needs."""
        self.needed = needed if self.needed is None else _union(self.needed, needed)
        self.narrowest = min(self.narrowest, _width(needed))


class Scales:
    """The parameters of every quantized activation. `of(value)` are those it is made with."""

    def __init__(self, groups: dict[Place, _Group]) -> None:
        self._groups = groups
        self._parameters = {id(group): _parameters(group) for group in groups.values()}

    def has(self, value: Value, dtype: DType) -> bool:
        """Whether an activation is made or read in an element type."""
        return (value, dtype) in self._groups

    def of(self, value: Value, dtype: DType = DType.INT8) -> Quantization:
        """Return the parameters of an activation in an element type."""
        return self._parameters[id(self._groups[value, dtype])]

    def form(self, value: Value, dtype: DType) -> Form:
        """Return an activation's form in an element type."""
        return Form(dtype, self.of(value, dtype))

    def is_fixed(self, value: Value, dtype: DType = DType.INT8) -> bool:
        """Whether a kernel prescribes the parameters."""
        return self._groups[value, dtype].fixed is not None

    def share(self, first: Value, second: Value, dtype: DType = DType.INT8) -> bool:
        """Whether two activations have one scale."""
        return self._groups[first, dtype] is self._groups[second, dtype]

    def raise_scale(self, value: Value, scale: float, dtype: DType = DType.INT8) -> None:
        """Give the value's group a larger scale; the zero point stays."""
        old = self.of(value, dtype)
        raised = Quantization.per_tensor(scale, old.zero_point[0])
        self._parameters[id(self._groups[value, dtype])] = raised


def solve_scales(graph: Graph, roles: Roles, ranges: Ranges, border: DType = DType.INT8) -> Scales:
    """Return the scales of a float graph; CompileError (E0423) naming every tensor without a usable range.

    `border` is the element type of the graph's inputs and outputs.
    """
    return _Solver(graph, roles, ranges, border).solve()


class _Solver:
    def __init__(self, graph: Graph, roles: Roles, ranges: Ranges, border: DType) -> None:
        self._graph, self._roles = graph, roles
        self._values = quantized_values(graph, roles)
        self._ranges = known_ranges(graph, ranges)
        places = [(value, dtype) for value in self._values for dtype in self._element_types(value, border)]
        self._parent: dict[Place, Place] = {place: place for place in places}
        self._groups: dict[Place, _Group] = {}
        self._beside_constants: set[Node] = set()

    def solve(self) -> Scales:
        self._refuse_missing_ranges()
        for place in self._parent:
            self._groups[place] = self._alone(place)
        linked = [node for node in self._graph if self._roles[node].treatment is Treatment.LINKED]
        for node in linked:
            self._link(node)
        for node in linked:
            if joins(node, self._roles[node]) or node in self._beside_constants:
                self._join(node)
        return Scales({place: self._group(place) for place in self._parent})

    def _element_types(self, value: Value, border: DType) -> list[DType]:
        """Return the types a value is made and read in."""
        at_border = value.is_graph_output or value in self._graph.inputs
        neighbours = [value.producer, *value.users]
        inside = [self._roles[node].dtype for node in neighbours if node and self._roles[node].quantized]
        return list(dict.fromkeys([border, *inside] if at_border else inside))

    def _refuse_missing_ranges(self) -> None:
        wanted = [value for value in self._values if self._needs_range(value)]
        found = [problem for value in wanted if (problem := _range_problem(value, self._ranges))]
        if found:
            raise CompileError(found)

    def _needs_range(self, value: Value) -> bool:
        whole = needs_whole_range(value, self._graph, self._roles)
        joined = any(joins(user, self._roles[user]) for user in value.users)
        return (whole or joined) and not is_fixed(value, self._roles)

    def _alone(self, place: Place) -> _Group:
        """Return the group of one place before anything is shared."""
        value, dtype = place
        if is_fixed(value, self._roles):
            return _fixed_group(value, dtype)
        symmetric = any(_is_factor(node, index) for node, index in value.uses)
        around = (value.producer, *value.users)
        coarse = any(node is not None and node.kind == "hard_swish" for node in around)
        group = _Group(dtype, symmetric=symmetric, least=self._least_scale(place), coarse=coarse)
        if needs_whole_range(value, self._graph, self._roles):
            group.cover(self._ranges[value.name])
        return group

    def _least_scale(self, place: Place) -> float:
        """Return the least scale that the kernels which read a place compute with."""
        value, dtype = place
        readers = [user for user in value.users if self._roles[user].quantized]
        fixed = any(spec_of(user).quant.constraint is Constraint.FIXED_OUTPUT_SCALE for user in readers)
        return MIN_SCALE_OF_FIXED[dtype] if fixed else 0.0

    def _link(self, node: Node) -> None:
        """Put the results of a same-scale node, and its activation if it is the only one, into one group."""
        dtype = self._roles[node].dtype
        results = [(result, dtype) for result in node.results if is_real(result)]
        for result in results[1:]:
            self._unite(results[0], result)
        operands = [node.operand(index) for index in self._roles[node].data]
        activations = [(value, dtype) for value in operands if not value.is_constant]
        if not activations:  # a table that only data picks from: any of its values may come out
            for table in operands:
                self._group(results[0]).cover((float(table.constant().min()), float(table.constant().max())))
        elif len(activations) < len(operands) and self._group(activations[0]).fixed is not None:
            self._beside_constants.add(node)  # constants may saturate in the scale that a kernel prescribes
        elif not joins(node, self._roles[node]):
            self._unite(results[0], activations[0])

    def _join(self, node: Node) -> None:
        dtype = self._roles[node].dtype
        result = next((result, dtype) for result in node.results if is_real(result))
        operands = [(value, dtype) for value in dict.fromkeys(_activations(node, self._roles[node]))]
        self._adopt_fixed(result, operands)
        for operand in operands:
            group, joint = self._group(operand), self._group(result)
            if group is joint:
                continue
            if self._may_share(group, joint, operands):
                self._unite(result, operand)
            elif group.fixed is None:
                group.cover(self._ranges[operand[0].name])

    def _adopt_fixed(self, result: Place, operands: list[Place]) -> None:
        """Let a join take over its operands' fixed parameters where these suit the rest: no requantize."""
        group = self._group(result)
        fixed = {p for place in operands if (p := self._group(place).fixed) is not None}
        if len(fixed) != 1 or group.fixed is not None:
            return
        (parameters,) = fixed
        limits = represented(parameters, group.dtype)
        others = [self._ranges[place[0].name] for place in operands if self._group(place).fixed is None]
        needed = [*others, *([group.needed] if group.needed is not None else [])]
        fits = all(_union(limits, _shrunk(item, group.dtype)) == limits for item in needed)
        if fits and MAX_WIDENING[group.dtype] * min(group.narrowest, _width(limits)) >= _width(limits):
            group.fixed = parameters

    def _may_share(self, group: _Group, joint: _Group, operands: list[Place]) -> bool:
        """Whether an operand's group and the result's may become one."""
        if group.fixed != joint.fixed and (group.fixed or joint.fixed):
            return joint.fixed is not None and group.fixed is None and group.needed is None
        if group.fixed is not None or group.needed is None:
            return True
        wide = joint.needed if joint.needed is not None else self._widest(operands)
        width = _width(_union(group.needed, wide))
        return width <= MAX_WIDENING[group.dtype] * min(group.narrowest, joint.narrowest)

    def _widest(self, operands: list[Place]) -> Range:
        """Return what a join's result spans at most; for results that only feed other same-scale nodes."""
        found = _ZERO
        for value, dtype in operands:
            fixed = self._group((value, dtype)).fixed
            known = represented(fixed, dtype) if fixed is not None else self._ranges[value.name]
            found = _union(found, known)
        return found

    def _root(self, place: Place) -> Place:
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def _group(self, place: Place) -> _Group:
        return self._groups[self._root(place)]

    def _unite(self, first: Place, second: Place) -> None:
        kept, merged = self._root(first), self._root(second)
        if kept != merged:
            self._groups[kept].absorb(self._groups.pop(merged))
            self._parent[merged] = kept


def _activations(node: Node, role: Role) -> list[Value]:
    return [node.operand(index) for index in role.data if not node.operand(index).is_constant]


def _fixed_group(value: Value, dtype: DType) -> _Group:
    """Return the group of a value whose kernel prescribes its parameters, in the type it is read in."""
    assert value.producer is not None
    quant = spec_of(value.producer).quant
    fixed = quant.fixed(dtype)
    if fixed is not None:
        return _Group(dtype, fixed=Quantization.per_tensor(*fixed))
    assert quant.fixed_int8 is not None, f"{value.producer.kind} has no fixed int8 parameters"
    group = _Group(dtype)
    group.cover(represented(Quantization.per_tensor(*quant.fixed_int8)))
    return group


def _is_factor(node: Node, index: int) -> bool:
    """Whether a run-time value stands where weights would: the delegate wants its zero point to be 0."""
    facts = spec_of(node).quant.weights
    return facts is not None and not facts.per_axis and index == facts.operand


def _parameters(group: _Group) -> Quantization:
    if group.fixed is not None:
        return group.fixed
    found = _coarse(_from_needed(group)) if group.coarse else _from_needed(group)
    return found if found.scale[0] >= group.least else Quantization.per_tensor(group.least, *found.zero_point)


def _coarse(exact: Quantization) -> Quantization:
    """Return the next scale of 8 significant bits: at most 0.8 % larger, zero stays where it is.

    HARD_SWISH cuts ratios of scales to 16 bits. LiteRT computes them in float32, TFLM in double. Ratios of
    8-bit numbers are 2^-24 or more away from where that cut rounds, and float32 is 2^-25 off at most.
    """
    mantissa, exponent = math.frexp(exact.scale[0])
    scale = math.ldexp(math.ceil(mantissa * 256), exponent - 8)
    return Quantization.per_tensor(scale, *exact.zero_point)


def _from_needed(group: _Group) -> Quantization:
    low, high = group.needed or _ZERO
    limit = max(-low, high)
    if (
        group.dtype is DType.INT8
        and group.symmetric
        and 2 * limit <= MAX_WIDENING_TO_SYMMETRIC * _width((low, high))
    ):
        return symmetric_from_limit(limit)
    return from_range(low, high, group.dtype)


def _range_problem(value: Value, ranges: Ranges) -> Diagnostic | None:
    found = ranges.get(value.name)
    if found is None:
        what, why = "has no calibrated range", "Calibration did not watch it."
    elif not all(map(_is_finite, found)):
        what, why = f"has the range [{found[0]:g}, {found[1]:g}]", "No scale covers NaN or infinity."
    else:
        return None
    step = "Check the calibration data and the float model's values for it."
    return Diagnostic(problems.NO_RANGE, f"tensor '{value.name}'", what, why, step)


def _is_finite(number: float) -> bool:
    return number - number == 0.0


def _union(first: Range, second: Range) -> Range:
    return min(first[0], second[0]), max(first[1], second[1])


def _width(found: Range) -> float:
    """Return the width of a range once zero is in it."""
    return max(found[1], 0.0) - min(found[0], 0.0)


def _shrunk(found: Range, dtype: DType) -> Range:
    """Return a range less half a step on each side: what rounding absorbs."""
    least, greatest = STORED_LIMITS[dtype]
    half = _width(found) / (2 * (greatest - least))
    return found[0] + half, found[1] - half
