"""Which activations share a scale, and which scale: one solution for the whole graph.

    same-scale node, one activation     x ── max_pool ── y          x and y are one group
    join, several activations           a, b ── concat ── y         a, b and y are one group, unless
                                                                    sharing would cost somebody precision:
                                                                    then `a → quantize → concat`
    fixed output scale                  x ── softmax ── y           y's group has the kernel's parameters

A group's range is the union of the ranges that some reader needs as a whole (`needs_whole_range`): what only
passes through same-scale nodes may saturate outside of what comes out of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import Graph, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.quantize import problems
from edgec.quantize.parameters import from_range, represented, symmetric_from_limit
from edgec.quantize.roles import Role, Roles, Treatment, is_fixed, is_real, joins, needs_whole_range
from edgec.quantize.roles import quantized_values as _quantized_values

Range = tuple[float, float]
Ranges = Mapping[str, Range]

MAX_WIDENING = 2.0
"""Sharing a scale may widen a range this much: one bit, 6 dB. Beyond it, a requantize costs less."""

MAX_WIDENING_TO_SYMMETRIC = 1.5
"""The same for a zero point of 0 where a delegate asks for it: a slower kernel is better than 6 dB."""

_ZERO: Range = (0.0, 0.0)


@dataclass(slots=True)
class _Group:
    """Values that share a scale. `narrowest` is the least width among the ranges to cover."""

    needed: Range | None = None
    narrowest: float = float("inf")
    fixed: Quantization | None = None
    symmetric: bool = False

    def absorb(self, other: _Group) -> None:
        """Take over what another group needs."""
        if other.needed is not None:
            self.cover(other.needed)
        self.narrowest = min(self.narrowest, other.narrowest)
        self.fixed = self.fixed or other.fixed
        self.symmetric = self.symmetric or other.symmetric

    def cover(self, needed: Range) -> None:
        """Widen to a range that a reader needs."""
        self.needed = needed if self.needed is None else _union(self.needed, needed)
        self.narrowest = min(self.narrowest, _width(needed))


class Scales:
    """The parameters of every quantized activation. `of(value)` are those it is made with."""

    def __init__(self, groups: dict[Value, _Group]) -> None:
        self._groups = groups
        self._parameters = {id(group): _parameters(group) for group in groups.values()}

    def __contains__(self, value: Value) -> bool:
        return value in self._groups

    def of(self, value: Value) -> Quantization:
        """Return the parameters of an activation."""
        return self._parameters[id(self._groups[value])]

    def is_fixed(self, value: Value) -> bool:
        """Whether a kernel prescribes the parameters."""
        return self._groups[value].fixed is not None

    def share(self, first: Value, second: Value) -> bool:
        """Whether two activations have one scale."""
        return self._groups[first] is self._groups[second]

    def raise_scale(self, value: Value, scale: float) -> None:
        """Give the value's group a larger scale; the zero point stays."""
        old = self.of(value)
        self._parameters[id(self._groups[value])] = Quantization.per_tensor(scale, old.zero_point[0])


def solve_scales(graph: Graph, roles: Roles, ranges: Ranges) -> Scales:
    """Return the scales of a float graph; CompileError (E0423) naming every tensor without a usable range."""
    return _Solver(graph, roles, ranges).solve()


class _Solver:
    def __init__(self, graph: Graph, roles: Roles, ranges: Ranges) -> None:
        self._graph, self._roles, self._ranges = graph, roles, ranges
        self._values = _quantized_values(graph, roles)
        self._parent: dict[Value, Value] = {value: value for value in self._values}
        self._groups: dict[Value, _Group] = {}
        self._beside_constants: set[Node] = set()

    def solve(self) -> Scales:
        self._refuse_missing_ranges()
        for value in self._values:
            self._groups[value] = self._alone(value)
        linked = [node for node in self._graph if self._roles[node].treatment is Treatment.LINKED]
        for node in linked:
            self._link(node)
        for node in linked:
            if joins(node, self._roles[node]) or node in self._beside_constants:
                self._join(node)
        return Scales({value: self._group(value) for value in self._values})

    def _refuse_missing_ranges(self) -> None:
        wanted = [value for value in self._values if self._needs_range(value)]
        found = [problem for value in wanted if (problem := _range_problem(value, self._ranges))]
        if found:
            raise CompileError(found)

    def _needs_range(self, value: Value) -> bool:
        whole = needs_whole_range(value, self._graph, self._roles)
        joined = any(joins(user, self._roles[user]) for user in value.users)
        return (whole or joined) and not is_fixed(value, self._roles)

    def _alone(self, value: Value) -> _Group:
        """Return the group of one value before anything is shared."""
        if is_fixed(value, self._roles):
            return _Group(fixed=_fixed_parameters(value))
        group = _Group(symmetric=any(_is_factor(node, index) for node, index in value.uses))
        if needs_whole_range(value, self._graph, self._roles):
            group.cover(self._ranges[value.name])
        return group

    def _link(self, node: Node) -> None:
        """Put the results of a same-scale node, and its activation if it is the only one, into one group."""
        results = [result for result in node.results if is_real(result)]
        for result in results[1:]:
            self._unite(results[0], result)
        operands = [node.operand(index) for index in self._roles[node].data]
        activations = [value for value in operands if not value.is_constant]
        if not activations:  # a table that only data picks from: any of its values may come out
            for table in operands:
                self._group(results[0]).cover((float(table.constant().min()), float(table.constant().max())))
        elif len(activations) < len(operands) and self._group(activations[0]).fixed is not None:
            self._beside_constants.add(node)  # constants may saturate in the scale that a kernel prescribes
        elif not joins(node, self._roles[node]):
            self._unite(results[0], activations[0])

    def _join(self, node: Node) -> None:
        result = next(result for result in node.results if is_real(result))
        operands = list(dict.fromkeys(_activations(node, self._roles[node])))
        self._adopt_fixed(result, operands)
        for operand in operands:
            group, joint = self._group(operand), self._group(result)
            if group is joint:
                continue
            if self._may_share(group, joint, operands):
                self._unite(result, operand)
            elif group.fixed is None:
                group.cover(self._ranges[operand.name])

    def _adopt_fixed(self, result: Value, operands: list[Value]) -> None:
        """Let a join take over its operands' fixed parameters where these suit the rest: no requantize."""
        group = self._group(result)
        fixed = {p for value in operands if (p := self._group(value).fixed) is not None}
        if len(fixed) != 1 or group.fixed is not None:
            return
        (parameters,) = fixed
        limits = represented(parameters)
        others = [self._ranges[v.name] for v in operands if self._group(v).fixed is None]
        needed = [*others, *([group.needed] if group.needed is not None else [])]
        fits = all(_union(limits, item) == limits for item in map(_shrunk, needed))
        if fits and MAX_WIDENING * min(group.narrowest, _width(limits)) >= _width(limits):
            group.fixed = parameters

    def _may_share(self, group: _Group, joint: _Group, operands: list[Value]) -> bool:
        """Whether an operand's group and the result's may become one."""
        if group.fixed != joint.fixed and (group.fixed or joint.fixed):
            return joint.fixed is not None and group.fixed is None and group.needed is None
        if group.fixed is not None or group.needed is None:
            return True
        wide = joint.needed if joint.needed is not None else self._widest(operands)
        width = _width(_union(group.needed, wide))
        return width <= MAX_WIDENING * min(group.narrowest, joint.narrowest)

    def _widest(self, operands: list[Value]) -> Range:
        """Return what a join's result spans at most; for results that only feed other same-scale nodes."""
        found = _ZERO
        for value in operands:
            fixed = self._group(value).fixed
            found = _union(found, represented(fixed) if fixed is not None else self._ranges[value.name])
        return found

    def _root(self, value: Value) -> Value:
        while self._parent[value] is not value:
            self._parent[value] = self._parent[self._parent[value]]
            value = self._parent[value]
        return value

    def _group(self, value: Value) -> _Group:
        return self._groups[self._root(value)]

    def _unite(self, first: Value, second: Value) -> None:
        kept, merged = self._root(first), self._root(second)
        if kept is not merged:
            self._groups[kept].absorb(self._groups.pop(merged))
            self._parent[merged] = kept


def _activations(node: Node, role: Role) -> list[Value]:
    return [node.operand(index) for index in role.data if not node.operand(index).is_constant]


def _fixed_parameters(value: Value) -> Quantization:
    assert value.producer is not None
    fixed = spec_of(value.producer).quant.fixed_int8
    assert fixed is not None, f"{value.producer.kind} has no fixed int8 parameters"
    return Quantization.per_tensor(*fixed)


def _is_factor(node: Node, index: int) -> bool:
    """Whether a run-time value stands where weights would: the delegate wants its zero point to be 0."""
    facts = spec_of(node).quant.weights
    return facts is not None and not facts.per_axis and index == facts.operand


def _parameters(group: _Group) -> Quantization:
    if group.fixed is not None:
        return group.fixed
    low, high = group.needed or _ZERO
    limit = max(-low, high)
    if group.symmetric and 2 * limit <= MAX_WIDENING_TO_SYMMETRIC * _width((low, high)):
        return symmetric_from_limit(limit)
    return from_range(low, high)


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


def _shrunk(found: Range) -> Range:
    """Return a range less half an int8 step on each side: what rounding absorbs."""
    half = _width(found) / 510
    return found[0] + half, found[1] - half
