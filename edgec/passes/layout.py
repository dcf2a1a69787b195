"""Removes transposes by algebra: every value may be stored under a permutation of its canonical axes.

    canonical:  x ─ transpose ─ conv ─ transpose ─ add ─ transpose ─ conv ─ transpose ─ y
    stored:     x ─ transpose ─ conv ───────────── add ───────────── conv ─ transpose ─ y

The graph is rebuilt once in execution order. For each value we keep `stored = transpose(canonical, p)`. A
transpose node only changes `p`, so it costs nothing. A node that works under a permutation (the registry's
`layout` facts say how) takes the cheapest permutation its operands offer and passes it on; a node that needs
canonical axes gets a real transpose in front, shared by all who need the same. Constants are permuted at
once.

With `channels_last_io`, a 4-D input or output may itself be stored NHWC where that leaves less to transpose;
the model's ports record it. Nothing is ever guessed from a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from edgec.ir import DYNAMIC, Graph, ImageLayout, Model, Node, Value
from edgec.ops import Builder, Permutation, spec_of
from edgec.ops.infer import int_list
from edgec.ops.layout import (
    CHANNELS_LAST,
    RESHAPE,
    compose,
    identity,
    inverse,
    moves_data,
    permuted,
    propagate_through_reshape,
)
from edgec.ops.spec import Rewired
from edgec.passes.contract import PassResult

NHWC: Permutation = (0, 2, 3, 1)
FORCED_BY = "transpose needed by"
"""Start of the `source` of a leftover transpose: what follows names the node that needs it."""


@dataclass(frozen=True)
class PropagateLayout:
    """Rebuilds each graph with as few transposes as its layout-bound nodes allow."""

    channels_last_io: bool = True
    name: str = "propagate_layout"

    def run(self, model: Model) -> PassResult:
        """Try each 4-D input in both layouts and keep what transposes least; inner graphs keep their own."""
        inner = [_with_fixed_ports(graph) for graph in model.subgraphs]
        changed = any(new is not old for new, old in zip(inner, model.subgraphs, strict=True))
        model.subgraphs = inner
        return PassResult(model, self._run_main(model) or changed)

    def _run_main(self, model: Model) -> bool:
        model.inputs = [
            replace(port, source_layout=layout)
            for port, layout in zip(model.inputs, _input_layouts(model.graph), strict=True)
        ]
        if not any(node.kind == "transpose" for node in model.graph):
            return False
        ports = model.inputs
        chosen: list[Permutation | None] = [port.permutation for port in ports]
        best = self._rebuild(model, chosen)
        if self.channels_last_io:
            for index, port in enumerate(ports):
                if len(port.shape) != 4 or port.permutation is not None:
                    continue
                tried = [*chosen[:index], NHWC, *chosen[index + 1 :]]
                rebuilt = self._rebuild(model, tried)
                if rebuilt.cost < best.cost:
                    best, chosen = rebuilt, tried
        model.graph = best.graph
        model.inputs = [replace(port, permutation=p) for port, p in zip(ports, chosen, strict=True)]
        model.outputs = [
            replace(port, permutation=p if p is not None else port.permutation)
            for port, p in zip(model.outputs, best.output_permutations, strict=True)
        ]
        return True

    def _rebuild(self, model: Model, inputs: Sequence[Permutation | None]) -> _Rebuilt:
        fresh = [p if p != port.permutation else None for p, port in zip(inputs, model.inputs, strict=True)]
        free_outputs = [self.channels_last_io and port.permutation is None for port in model.outputs]
        return _Rebuild(model.graph).run(fresh, free_outputs)


@dataclass(frozen=True)
class _Rebuilt:
    graph: Graph
    cost: int
    output_permutations: list[Permutation | None]


@dataclass
class _Root:
    """A rebuilt tensor and its transposes made so far, by the permutation from `value`."""

    value: Value
    forms: dict[Permutation, Value] = field(default_factory=dict[Permutation, Value])


@dataclass(frozen=True)
class _Stored:
    """How a canonical value is stored: `root.value = transpose(canonical, permutation)`."""

    root: _Root
    permutation: Permutation

    def step_to(self, permutation: Permutation) -> Permutation:
        """Return the transpose from the stored tensor to `transpose(canonical, permutation)`."""
        return compose(inverse(self.permutation), permutation)


@dataclass
class _Rebuild:
    old: Graph
    cost: int = 0

    def __post_init__(self) -> None:
        self.new = Graph(self.old.name)
        self.stored: dict[Value, _Stored] = {}
        self.demand = _demands(self.old)

    def run(self, inputs: Sequence[Permutation | None], free_outputs: Sequence[bool]) -> _Rebuilt:
        for value, permutation in zip(self.old.inputs, inputs, strict=True):
            p = permutation or identity(value.type.rank)
            type = value.type.with_shape(permuted(value.shape, p))
            self._keep(value, self.new.add_input(value.name, type), p)
        for node in self.old:
            if not self._absorb_transpose(node):
                self._copy(node)
        outputs: list[Value] = []
        permutations: list[Permutation | None] = []
        for value, free in zip(self.old.outputs, free_outputs, strict=True):
            held = self._held(value)
            keep = free and held.permutation == NHWC and moves_data(value.shape, NHWC)
            permutations.append(NHWC if keep else None)
            p = NHWC if keep else identity(value.type.rank)
            outputs.append(self._deliver(value, p, f"graph output '{value.name}'"))
        self.new.set_outputs(outputs)
        for old, new in zip(self.old.outputs, outputs, strict=True):
            if new.producer is not None and new.name != old.name and not _is_taken(self.new, old.name):
                new.name = self.new.unique_name(old.name)
        return _Rebuilt(self.new, self.cost, permutations)

    def _absorb_transpose(self, node: Node) -> bool:
        """`y = transpose(x, q)` with x stored under p: the same tensor is y stored under q⁻¹·p."""
        if node.kind != "transpose" or node.operand(1).data is None:
            return False
        q = tuple(int_list(node.operand(1).constant()))
        held = self._held(node.operand(0))
        self.stored[node.result] = _Stored(held.root, compose(inverse(q), held.permutation))
        return True

    def _copy(self, node: Node) -> None:
        rewired = self._cheapest(node)
        operands: list[Value | None] = []
        build = Builder(self.new, source=node.source)
        for index, value in enumerate(node.operands):
            if value is None:
                operands.append(None)
            elif rewired is not None and index in rewired.constants:
                operands.append(build.constant(rewired.constants[index], name=value.name))
            elif rewired is not None and index in rewired.delivered:
                operands.append(self._deliver(value, rewired.delivered[index], _who(node)))
            else:
                operands.append(self._deliver(value, identity(value.type.rank), _who(node)))
        results: list[Value] = []
        for index, old in enumerate(node.results):
            p = rewired.results[index] if rewired is not None else identity(old.type.rank)
            type = old.type.with_shape(permuted(old.shape, p))
            new = Value(self.new.unique_name(old.name), type)
            results.append(new)
            self._keep(old, new, p)
        attributes = rewired.attributes if rewired is not None else node.attributes
        self.new.insert(Node(node.kind, operands, results, attributes, node.source))

    def _cheapest(self, node: Node) -> Rewired | None:
        """Return the node under the permutation that moves least; None for canonical axes."""
        layout = spec_of(node).layout
        data = [v for v in node.operands if v is not None and not v.is_constant]
        candidates = dict.fromkeys(self._held(value).permutation for value in data)
        best: Rewired | None = None
        best_cost = (sum(self._price(value, identity(value.type.rank)) for value in data), 0)
        for permutation in candidates:
            if permutation == identity(len(permutation)):
                continue
            rewired = layout.rewire(node, permutation)
            if rewired is None:
                continue
            operands = [(node.operand(i), p) for i, p in rewired.delivered.items()]
            cost = sum(self._price(value, p) for value, p in operands if not value.is_constant)
            wanted = self.demand.get(node.results[0]) == rewired.results[0]
            if (cost, -int(wanted)) < best_cost or (cost == best_cost[0] and best is None and wanted):
                best, best_cost = rewired, (cost, -int(wanted))
        return best

    def _price(self, value: Value, permutation: Permutation) -> int:
        """Return how many elements must move to have `value` under `permutation`."""
        held = self._held(value)
        if value.type.rank != len(permutation):
            permutation = _aligned(permutation, value.type.rank)
        step = held.step_to(permutation)
        if step in held.root.forms:
            return 0
        return _elements(value) if moves_data(held.root.value.shape, step) else 0

    def _deliver(self, value: Value, permutation: Permutation, who: str) -> Value:
        """Return `value` stored under `permutation`, with a transpose or reshape in front if needed."""
        held = self._held(value)
        if value.type.rank < len(permutation):
            return self._deliver_broadcast(value, permutation, who)
        return self._form(held.root, held.step_to(permutation), who)

    def _form(self, root: _Root, step: Permutation, who: str) -> Value:
        """Return a root's tensor transposed by `step`; made once."""
        if step == identity(len(step)):
            return root.value
        if step not in root.forms:
            root.forms[step] = self._transposed(root.value, step, who)
        return root.forms[step]

    def _transposed(self, x: Value, step: Permutation, who: str) -> Value:
        if x.data is not None:
            return self.new.constant(np.ascontiguousarray(x.data.transpose(step)), x.name)
        shape = permuted(x.shape, step)
        build = Builder(self.new, source=f"{FORCED_BY} {who}")
        name = f"{x.name}/{'_'.join(map(str, step))}"
        if x.type.is_static and not moves_data(x.shape, step):
            return build.reshape(x, shape, name)
        self.cost += _elements(x)
        return build.transpose(x, step, name)

    def _deliver_broadcast(self, value: Value, permutation: Permutation, who: str) -> Value:
        """An operand of lower rank broadcasts from the right: give it leading ones before it is permuted."""
        canonical = self._deliver(value, identity(value.type.rank), who)
        if value.shape == () or permutation == identity(len(permutation)):
            return canonical
        shape = (1,) * (len(permutation) - value.type.rank) + value.shape
        if canonical.data is not None:
            widened = self.new.constant(canonical.data.reshape(shape), value.name)
        else:
            widened = Builder(self.new, source=who).reshape(canonical, shape)
        return self._form(_Root(widened), permutation, who)

    def _held(self, value: Value) -> _Stored:
        if value not in self.stored:  # a constant seen for the first time
            self._keep(value, Value(value.name, value.type, value.data), identity(value.type.rank))
        return self.stored[value]

    def _keep(self, old: Value, new: Value, permutation: Permutation) -> None:
        self.stored[old] = _Stored(_Root(new), permutation)


def _elements(value: Value) -> int:
    """Return the number of elements; unknown dimensions count once."""
    return prod(1 if dim == DYNAMIC else dim for dim in value.shape)


def _with_fixed_ports(graph: Graph) -> Graph:
    """Return an inner graph rebuilt; its inputs and outputs are other nodes' operands, so they stay."""
    if not any(node.kind == "transpose" for node in graph):
        return graph
    return _Rebuild(graph).run([None] * len(graph.inputs), [False] * len(graph.outputs)).graph


def _who(node: Node) -> str:
    return f"{node.kind} '{node.results[0].name}'"


def _is_taken(graph: Graph, name: str) -> bool:
    return any(value.name == name for value in graph.inputs)


def _aligned(permutation: Permutation, rank: int) -> Permutation:
    """Return what a permutation of more axes does to the last `rank` axes."""
    offset = len(permutation) - rank
    return tuple(axis - offset for axis in permutation if axis >= offset)


def _rewired_for_result(node: Node, wanted: Permutation) -> Rewired | None:
    """Return the node whose result comes out under `wanted`, where its operand's permutation is clear."""
    layout = spec_of(node).layout
    if layout is RESHAPE:
        source, target = node.operand(0).shape, node.result.shape
        needed = propagate_through_reshape(target, source, wanted) if len(wanted) == len(target) else None
        return layout.rewire(node, needed) if needed is not None else None
    ranks = {value.type.rank for value in node.operands if value is not None and not value.is_constant}
    return layout.rewire(node, wanted) if max(ranks, default=0) == len(wanted) else None


def _input_layouts(graph: Graph) -> list[ImageLayout | None]:
    """Return `nchw` or `nhwc` for each input that reaches an image operator, else None."""
    images: dict[Permutation, ImageLayout] = {NHWC: "nchw", identity(4): "nhwc"}
    demands = _demands(graph, images_only=True)
    return [images.get(demands.get(value, ())) for value in graph.inputs]


def _demands(graph: Graph, *, images_only: bool = False) -> dict[Value, Permutation]:
    """Return for each value the permutation its first reader would like, seen through permutable nodes.

    With `images_only`, layout-bound readers that take no image (a reshape, say) have no wish.
    """
    demands: dict[Value, Permutation] = {}
    for node in reversed(graph):
        if node.kind == "transpose" and node.operand(1).data is not None:
            q = tuple(int_list(node.operand(1).constant()))
            wish = demands.get(node.result, None if images_only else identity(len(q)))
            if wish is not None:
                demands[node.operand(0)] = compose(q, wish)
            continue
        layout = spec_of(node).layout
        wanted = demands.get(node.results[0]) if node.results and layout is not CHANNELS_LAST else None
        rewired = _rewired_for_result(node, wanted) if wanted is not None else None
        for index, value in enumerate(node.operands):
            if value is None or value.is_constant:
                continue
            p = rewired.delivered.get(index) if rewired is not None else None
            if p is not None and len(p) == value.type.rank:
                demands[value] = p
            elif not images_only or layout is CHANNELS_LAST:
                demands[value] = identity(value.type.rank)
    return demands
