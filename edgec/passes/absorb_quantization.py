"""Makes int8 nodes of a quantized source model's float nodes, on the model's own scales and zero points.

    a ─ dequantize ─ conv_2d ─ quantize ─ b        →        a ─ conv_2d (int8) ─ b

    spread    integers that are only moved have the parameters of those that a bridge makes or reads
    hoist     quantize moves in front of nodes that only pick values (reshape, max_pool_2d, concatenation)
    absorb    in execution order: bridges that meet become requantizations, a node between bridges becomes
              int8, dequantize moves behind nodes that only pick values
    settle    what is left of the bridges gets the form that kernels take

Weights and activations of uint8 become int8 with 128 subtracted from integers and zero point. A node that
cannot be int8 stays float between bridges, and is reported. In a graph without int8 arithmetic, quantize is
written out as float arithmetic: then nothing but ONNX's own rounding is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgec.diagnostics import Diagnostic, Severity
from edgec.ir import DType, Graph, Model, Node, Quantization, Value
from edgec.ops import Builder, affine
from edgec.ops.quantization import GridAttributes
from edgec.passes.contract import PassResult
from edgec.passes.integer_forms import IntegerForms, grid_of, quantize, spread_grids
from edgec.passes.integer_nodes import (
    Refusal,
    build_twin,
    constant_on,
    lies_on,
    picks_values,
    plan_node,
    real_operands,
)
from edgec.quantize.problems import FLOAT_ISLAND
from edgec.rewrite import eliminate_unused

BRIDGES = ("quantize", "dequantize")
Report = Callable[[Diagnostic], None]


@dataclass(frozen=True)
class AbsorbQuantization:
    """Turns the islands between Dequantize- and QuantizeLinear of a quantized source model into int8 nodes.

    Runs on the float IR after fusing; `report` takes one diagnostic for each node that stays float.
    """

    report: Report = lambda diagnostic: None
    name: str = "absorb_quantization"

    def run(self, model: Model) -> PassResult:
        """Rewrite every graph that holds bridges of the source model."""
        modified = False
        for graph in model.graphs:
            if is_quantized_source(graph):
                _Absorption(graph, self.report).run()
                modified = True
            modified = _forget_grids(graph) or modified
        return PassResult(model, modified)


def is_quantized_source(graph: Graph) -> bool:
    """Whether a graph holds bridges with parameters from the source model."""
    return any(node.kind in BRIDGES and isinstance(node.attributes, GridAttributes) for node in graph)


def is_integer_only(graph: Graph) -> bool:
    """Whether a graph computes on integer grids alone: float32 stands at its border, beside a bridge."""
    inside = [node for node in graph if node.kind not in BRIDGES]
    real = [
        v for node in inside for v in (*node.operands, *node.results) if v is not None and v.dtype.is_float
    ]
    return not real and any(map(_reads_grid, graph))


class _Absorption:
    def __init__(self, graph: Graph, report: Report) -> None:
        self.graph, self.report = graph, report
        self.forms = IntegerForms(graph)

    def run(self) -> None:
        spread_grids(self.graph)
        for node in reversed(list(self.graph)):
            if node.graph is self.graph and node.kind not in BRIDGES and picks_values(node):
                self._hoist(node)
        islands: list[tuple[Node, str]] = []
        for node in list(self.graph):
            refusal = self._absorb(node) if node.graph is self.graph else None
            if refusal is not None:
                islands.append((node, refusal.reason))
        eliminate_unused(self.graph, list(self.graph))
        for node, reason in islands:
            if node.graph is self.graph:
                self.report(_island(node, reason))
        exact = not any(map(_reads_grid, self.graph))
        for node in list(self.graph):
            self._settle(node, exact)
        eliminate_unused(self.graph, list(self.graph))

    def _hoist(self, node: Node) -> None:
        """quantize(pick(x, constant)) → pick(quantize(x), constant')"""
        real = [result for result in node.results if result.dtype is DType.FLOAT32]
        targets = {self.forms.target(result) for result in real}
        grid = targets.pop() if len(targets) == 1 else None
        if grid is None:
            return
        self._replace(node, {index: self._on(node, index, grid) for index in real_operands(node)}, grid)

    def _on(self, node: Node, index: int, grid: Quantization) -> Value:
        value = node.operand(index)
        if value.data is not None:
            return constant_on(value, grid)
        return quantize(Builder(self.graph, node, value.name), value, grid)

    def _absorb(self, node: Node) -> Refusal | None:
        if node.kind == "quantize":
            self._requantize(node)
            return None
        if node.kind == "dequantize":
            self._read_int8(node)
            return None
        if not real_operands(node):
            return None
        if picks_values(node) and self._sink(node):
            return None
        if all(result.dtype is not DType.FLOAT32 for result in node.results):
            return None
        plan = plan_node(node, self.forms)
        if isinstance(plan, Refusal):
            return plan
        taken = {
            index: self.forms.take(node.operand(index))
            for index in real_operands(node)
            if index not in plan.constants
        }
        self._replace(node, {**taken, **plan.constants}, plan.result)
        return None

    def _requantize(self, node: Node) -> None:
        """quantize(dequantize(a)) → a, or a moved to the other grid"""
        grid = grid_of(node)
        if grid is not None and self.forms.grid(node.operand(0)) is not None:
            made = self.forms.take(node.operand(0))
            self.forms.replace(node, self.forms.moved(made, grid, node))

    def _read_int8(self, node: Node) -> None:
        """dequantize(quantize to uint8) reads int8 instead, unless somebody wants the uint8 integers."""
        held, grid = node.operand(0), self.forms.grid(node.result)
        made_here = held.producer is not None and held.producer.kind == "quantize"
        only_bridges = not held.is_graph_output and all(user.kind == "dequantize" for user in held.users)
        if grid is not None and held.dtype is DType.UINT8 and made_here and only_bridges:
            build = Builder(self.graph, node, node.source)
            real = build.op("dequantize", [self.forms.take(node.result)], GridAttributes(DType.INT8, grid))
            self.graph.replace_node(node, [real])

    def _sink(self, node: Node) -> bool:
        """pick(dequantize(a), constant) → dequantize(pick(a, constant'))"""
        operands = {index: node.operand(index) for index in real_operands(node)}
        grids = {self.forms.grid(value) for value in operands.values() if value.data is None}
        grid = grids.pop() if len(grids) == 1 else None
        if grid is None or not all(v.data is None or lies_on(v, grid) for v in operands.values()):
            return False
        taken = {
            index: constant_on(value, grid) if value.data is not None else self.forms.take(value)
            for index, value in operands.items()
        }
        twin = build_twin(node, self.forms, taken, grid)
        build = Builder(self.graph, node, node.source)
        attributes = GridAttributes(DType.INT8, grid)
        self.graph.replace_node(
            node,
            [
                build.op("dequantize", [made], attributes) if old.dtype is DType.FLOAT32 else made
                for old, made in zip(node.results, twin.results, strict=True)
            ],
        )
        return True

    def _replace(self, node: Node, operands: dict[int, Value], grid: Quantization) -> None:
        """Put the int8 twin in a node's place, moved to the grid of the node's readers."""
        twin = build_twin(node, self.forms, operands, grid)
        for old, made in zip(node.results, twin.results, strict=True):
            if old.dtype is not DType.FLOAT32:
                self.graph.replace_uses(old, made)
                continue
            target = self.forms.target(old)
            if target is not None:
                self.forms.give(old, self.forms.moved(made, target, node))
        self.graph.remove(node)

    def _settle(self, node: Node, exact: bool) -> None:
        """Give a leftover bridge the form that kernels take; `exact` writes quantize out as arithmetic."""
        attributes = node.attributes
        if node.kind not in BRIDGES or not isinstance(attributes, GridAttributes):
            return
        x, build = node.operand(0), Builder(self.graph, node, node.source)
        scale = build.constant(attributes.quantization.scale[0])
        point = attributes.quantization.zero_point[0]
        if node.kind == "quantize":
            if exact and x.dtype is DType.FLOAT32:
                zero_point = build.constant(float(point)) if point else None
                made = affine.quantized(build, x, scale, zero_point, attributes.dtype)
                self.graph.replace_node(node, [made])
            return
        if x.type.quantization is None:
            x.type = replace(x.type, quantization=attributes.quantization)
        elif x.type.quantization != attributes.quantization:
            zero_point = build.constant(np.asarray(point, x.dtype.numpy))
            self.graph.replace_node(node, [affine.dequantized(build, x, scale, zero_point)])


def _reads_grid(node: Node) -> bool:
    """Whether a node computes with, or moves, integers that stand for real values."""
    typed = any(v is not None and v.type.quantization and not v.dtype.is_float for v in node.operands)
    return typed and node.kind not in ("dequantize", "cast")


def _forget_grids(graph: Graph) -> bool:
    """Float constants that kept their grid for this pass become plain ones."""
    marked = [v for v in graph.constants() if v.dtype.is_float and v.type.quantization is not None]
    for value in marked:
        value.type = replace(value.type, quantization=None)
    return bool(marked)


def _island(node: Node, reason: str) -> Diagnostic:
    return Diagnostic(
        FLOAT_ISLAND,
        f"node '{node.source or node.results[0].name}' ({node.kind})",
        f"stays float in a quantized model: {reason}",
        "It runs between dequantize and quantize.",
        "Quantize its inputs and its output in the source model.",
        Severity.WARNING,
    )
