"""Full int8: the float graph and its ranges → an integer graph to TFLite's int8 specification.

roles    what becomes of each node                            (`roles`)
scales   one scale for each group of activations              (`scales`)
weights  per-axis scales within every kernel's limits         (`weights`)
rebuild  nodes copied one by one, operands read in the form   (`rebuild`)
         they need, so bridges appear exactly where forms differ
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import DType, Graph, Model, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.quantize import problems
from edgec.quantize.parameters import (
    as_uint8,
    from_range,
    weight_quantization,
)
from edgec.quantize.rebuild import Rebuilt
from edgec.quantize.roles import Role, Roles, Treatment, assign_roles, is_real
from edgec.quantize.scales import Scales, solve_scales
from edgec.quantize.weights import ChosenWeights, WeightScales, quantize_bias, raise_output_scales

INTERFACE_TYPES = (DType.INT8, DType.UINT8, DType.FLOAT32)


def quantize_int8(
    model: Model,
    ranges: Mapping[str, tuple[float, float]],
    *,
    input_type: DType = DType.INT8,
    output_type: DType = DType.INT8,
    per_axis: bool = True,
    per_tensor_kinds: Collection[str] = (),
    allow_float_islands: bool = False,
    chosen_weights: Mapping[Value, ChosenWeights] = MappingProxyType({}),
) -> Model:
    """Return an int8 model; the float model stays as it is.

    Args:
        model: float32, after the float pipeline.
        ranges: (min, max) by value name, for at least `roles.observed_values(model.graph)`.
        input_type: int8, uint8 or float32 for float inputs; integer inputs keep their type.
        output_type: the same for outputs.
        per_axis: a weight scale for each output channel where kernels have it.
        per_tensor_kinds: op kinds whose weights get one scale all the same (kernels of older runtimes).
        allow_float_islands: leave nodes without int8 kernel in float, between dequantize and quantize.
        chosen_weights: integers to take for weight tensors of `model.graph` instead of rounding to nearest.

    Raises:
        CompileError: E0421 for every node without int8 kernel, E0422 for constants that have no range,
            E0423 for tensors without usable range, E0424 for control flow.
    """
    found = int8_problems(model, allow_float_islands=allow_float_islands)
    if found:
        raise CompileError(found)
    graph = model.graph
    roles = assign_roles(graph)
    scales = solve_scales(graph, roles, ranges)
    weighted = {node.kind for node in graph if roles[node].weights is not None}
    weights = WeightScales(frozenset(per_tensor_kinds if per_axis else weighted), chosen_weights)
    raise_output_scales(graph, roles, scales, weights)
    return _Quantizer(model, roles, scales, weights).run(input_type, output_type)


def int8_problems(model: Model, *, allow_float_islands: bool = False) -> list[Diagnostic]:
    """Return all that keeps a float model from becoming int8, as `quantize_int8` would raise it.

    Needs no ranges, so it can be asked before a long calibration.
    """
    roles = assign_roles(model.graph)
    islands = [] if allow_float_islands else _island_problems(model.graph, roles)
    return [*_subgraph_problems(model), *_constant_problems(model.graph, roles), *islands]


class _Quantizer:
    def __init__(self, model: Model, roles: Roles, scales: Scales, weights: WeightScales) -> None:
        self._model, self._roles, self._scales, self._weights = model, roles, scales, weights
        self._new = Rebuilt(model.graph.name)

    def run(self, input_type: DType, output_type: DType) -> Model:
        for value in self._model.graph.inputs:
            self._input(value, input_type)
        for node in self._model.graph:
            self._node(node)
        outputs = [self._output(value, output_type) for value in self._model.graph.outputs]
        self._new.graph.set_outputs(outputs)
        made = zip(self._model.inputs, self._new.graph.inputs, strict=True)
        inputs = [replace(port, dtype=value.dtype) for port, value in made]
        ports = zip(self._model.outputs, outputs, strict=True)
        outs = [replace(port, dtype=value.dtype) for port, value in ports]
        return replace(self._model, graph=self._new.graph, inputs=inputs, outputs=outs)

    def _input(self, value: Value, dtype: DType) -> None:
        if not is_real(value) or dtype is DType.FLOAT32:
            self._new.input(value, value.type)
            return
        form = self._scales.of(value)
        outer = as_uint8(form) if dtype is DType.UINT8 else form
        made = self._new.input(value, replace(value.type, dtype=dtype, quantization=outer))
        if dtype is DType.UINT8:
            self._new.define(value, self._new.bridge(made, form))

    def _output(self, value: Value, dtype: DType) -> Value:
        if not is_real(value):
            return self._new.untouched(value)
        form = None if dtype is DType.FLOAT32 else self._form(value)
        made = self._new.read(value, form)
        if dtype is DType.UINT8 and form is not None:
            made = self._new.bridge(made, as_uint8(form), DType.UINT8)
        self._keep_name(value, made)
        return made

    def _keep_name(self, old: Value, new: Value) -> None:
        """Let the output carry the name the user knows, not the tensor before its bridge."""
        inner = self._new.untouched(old)
        if inner is not new and inner not in self._new.graph.inputs and inner.name == old.name:
            inner.name, new.name = new.name, inner.name

    def _form(self, value: Value) -> Quantization:
        """Return the parameters a real value has in int8."""
        if value in self._scales:
            return self._scales.of(value)
        data = value.constant()
        return from_range(float(data.min(initial=0.0)), float(data.max(initial=0.0)))

    def _node(self, node: Node) -> None:
        role = self._roles[node]
        if role.treatment is Treatment.FLOAT:
            operands = [value and self._operand(value, None) for value in node.operands]
            self._new.copy(node, operands, [None] * len(node.results))
            return
        forms = [
            self._scales.of(result) if role.quantized and is_real(result) else None for result in node.results
        ]
        wanted = self._wanted(node, role, forms)
        operands = [
            value
            and (self._new.read(value, wanted[index]) if index in wanted else self._new.untouched(value))
            for index, value in enumerate(node.operands)
            if index not in (role.weights, role.bias)
        ]
        if role.weights is not None:
            for index, value in self._weights_and_bias(node, role, wanted[role.data[0]], forms[0]):
                operands.insert(index, value)
        self._new.copy(node, operands, forms)

    def _operand(self, value: Value, form: Quantization | None) -> Value:
        return self._new.read(value, form) if is_real(value) else self._new.untouched(value)

    def _wanted(self, node: Node, role: Role, forms: list[Quantization | None]) -> dict[int, Quantization]:
        """Return the form each data operand is read in: a same-scale node wants its result's."""
        if role.treatment is Treatment.LINKED:
            return dict.fromkeys(role.data, next(form for form in forms if form is not None))
        return {index: self._operand_form(node, index, forms[0]) for index in role.data}

    def _operand_form(self, node: Node, index: int, result: Quantization | None) -> Quantization:
        form = self._form(node.operand(index))
        return self._within_ratio(node, index, form, result) if node.operand(index).is_constant else form

    def _within_ratio(
        self, node: Node, index: int, form: Quantization, result: Quantization | None
    ) -> Quantization:
        """Widen a constant's scale to what the delegated kernel takes: far below a step of the result."""
        ratio = spec_of(node).quant.ratio
        if ratio is None or result is None:
            return form
        least = ratio.low * result.scale[0]
        if ratio.product:
            least /= self._form(node.operand(1 - index)).scale[0]
        if form.scale[0] >= least:
            return form
        return Quantization.per_tensor(least * (1 + 2**-20), form.zero_point[0])

    def _weights_and_bias(
        self, node: Node, role: Role, form_in: Quantization, form_out: Quantization | None
    ) -> list[tuple[int, Value]]:
        """Return the quantized constants with their operand indices, lower index first."""
        assert role.weights is not None and form_out is not None
        scales = self._weights.guarded(node, role, form_in.scale[0], form_out.scale[0])
        form = weight_quantization(scales, self._weights.axis(node))
        found = [(role.weights, self._weight(node.operand(role.weights), form))]
        if role.bias is not None:
            found.append((role.bias, self._bias(node.operand(role.bias), form_in, form)))
        return sorted(found, key=lambda pair: pair[0])

    def _weight(self, value: Value, form: Quantization) -> Value:
        return self._new.constant(value, form, lambda: self._weights.integers(value, form), DType.INT8)

    def _bias(self, value: Value, form_in: Quantization, weights: Quantization) -> Value:
        data, form = quantize_bias(value.constant(), form_in.scale[0], weights)
        return self._new.constant(value, form, lambda: data, DType.INT32)


def _subgraph_problems(model: Model) -> list[Diagnostic]:
    if not model.subgraphs:
        return []
    what = f"has {len(model.subgraphs)} subgraphs (control flow), which int8 does not cover yet"
    return [Diagnostic(problems.SUBGRAPHS, "model", what, next_step="Use --float16 or --dynamic.")]


def _island_problems(graph: Graph, roles: Roles) -> list[Diagnostic]:
    return [
        Diagnostic(
            problems.NO_INT8_KERNEL,
            f"node '{node.source or node.results[0].name}' ({node.kind})",
            "cannot be int8",
            roles[node].reason[:1].upper() + roles[node].reason[1:],
            "Allow float islands, use --float16 or --dynamic, or replace the layer",
        )
        for node in graph
        if roles[node].reason
    ]


def _constant_problems(graph: Graph, roles: Roles) -> list[Diagnostic]:
    """Find constants no scale can hold: NaN anywhere, infinity where the constant's own range counts."""
    found: list[Diagnostic] = []
    for node in graph:
        role = roles[node]
        if not role.quantized:
            continue
        for index, value in enumerate(node.operands):
            if value is None or value.data is None or not is_real(value):
                continue
            saturates = role.treatment is Treatment.LINKED and _reads_activation(node, role)
            usable = ~np.isnan(value.data) if saturates else np.isfinite(value.data)
            if not usable.all():
                found.append(_constant_problem(node, index, int((~usable).sum())))
    return found


def _reads_activation(node: Node, role: Role) -> bool:
    return any(not node.operand(index).is_constant for index in role.data)


def _constant_problem(node: Node, index: int, count: int) -> Diagnostic:
    value = node.operand(index)
    return Diagnostic(
        problems.CONSTANT,
        f"node '{node.source or node.results[0].name}' ({node.kind})",
        f"reads constant '{value.name}', which holds {count} values that are NaN or infinite",
        "No scale covers them.",
        "Repair the constant in the source model.",
    )
