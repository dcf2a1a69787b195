"""The float graph and its ranges → an integer graph, whatever the element type of its activations.

roles    what becomes of each node, and in which type         (`roles`)
scales   one scale for each group of activations              (`scales`)
weights  per-axis scales within every kernel's limits         (`weights`)
rebuild  nodes copied one by one, operands read in the form   (`rebuild`)
         they need, so bridges appear exactly where forms differ
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgec.diagnostics import CompileError
from edgec.ir import DType, Model, Node, Quantization, Value
from edgec.ops import Builder, spec_of
from edgec.ops.recurrent import lstm_operands
from edgec.quantize.counts import is_count, quantize_count
from edgec.quantize.feasible import quantization_problems
from edgec.quantize.idle_bounds import drop_idle_bounds
from edgec.quantize.lookup import look_up, lookup_operands
from edgec.quantize.lstm import add_lstm
from edgec.quantize.names import node_name
from edgec.quantize.negligible import settle_negligible
from edgec.quantize.parameters import Form, as_uint8, from_range, weight_quantization
from edgec.quantize.rebuild import Rebuilt
from edgec.quantize.roles import Role, Roles, Treatment, assign_roles, is_real
from edgec.quantize.scales import Scales, solve_scales
from edgec.quantize.scheme import IntegerScheme
from edgec.quantize.shared_weights import SharedScales
from edgec.quantize.weights import BIAS_TYPES, WeightScales, quantize_bias, raise_output_scales


def quantize_integer(model: Model, ranges: Mapping[str, tuple[float, float]], scheme: IntegerScheme) -> Model:
    """Return an integer model; the float model stays as it is.

    Args:
        model: float32, after the float pipeline.
        ranges: (min, max) by value name, for at least `observed_values(model.graph, scheme.choices)`.
        scheme: every choice.

    Raises:
        CompileError: E0421 for every node without a kernel, E0422 for constants that have no range,
            E0423 for tensors without usable range, E0424 for control flow, E0425 for unknown names.
    """
    choices = scheme.choices
    found = quantization_problems(model, choices, allow_float_islands=scheme.allow_float_islands)
    if found:
        raise CompileError(found)
    graph = model.graph
    roles = assign_roles(graph, choices)
    scales = solve_scales(graph, roles, ranges, choices.activations)
    weighted = {node.kind for node in graph if roles[node].weights is not None}
    one_scale = frozenset(scheme.per_tensor_kinds if scheme.per_axis else weighted)
    weights = WeightScales(one_scale, scheme.chosen_weights)
    raise_output_scales(graph, roles, scales, weights)
    made = _Quantizer(model, roles, scales, weights, scheme).run()
    settle_negligible(made.graph)
    drop_idle_bounds(made.graph)
    return made


class _Quantizer:
    def __init__(
        self, model: Model, roles: Roles, scales: Scales, weights: WeightScales, scheme: IntegerScheme
    ) -> None:
        self._model, self._roles, self._scales, self._weights = model, roles, scales, weights
        self._scheme, self._border = scheme, scheme.activations
        self._shared_scales = SharedScales(weights, roles, self._form)
        self._new = Rebuilt(model.graph.name)

    def run(self) -> Model:
        for value in self._model.graph.inputs:
            self._input(value, self._scheme.input_type or self._border)
        for node in self._model.graph:
            self._node(node)
        outputs = [self._output(value, self._output_type(value)) for value in self._model.graph.outputs]
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
        form = self._form(value, self._border)
        outer = _at_border(form, dtype)
        type = replace(value.type, dtype=outer.dtype, quantization=outer.quantization)
        made = self._new.input(value, type)
        if outer != form:
            self._new.define(value, self._new.bridge(made, form))

    def _output_type(self, value: Value) -> DType:
        if value.name in self._scheme.float_outputs:
            return DType.FLOAT32
        return self._scheme.output_type or self._border

    def _output(self, value: Value, dtype: DType) -> Value:
        if not is_real(value):
            return self._new.untouched(value)
        form = None if dtype is DType.FLOAT32 else self._form(value, self._border)
        made = self._new.read(value, form)
        if form is not None and _at_border(form, dtype) != form:
            made = self._new.bridge(made, _at_border(form, dtype))
        self._keep_name(value, made)
        return made

    def _keep_name(self, old: Value, new: Value) -> None:
        """Let the output carry the name the user knows, not the tensor before its bridge."""
        inner = self._new.untouched(old)
        if inner is not new and inner not in self._new.graph.inputs and inner.name == old.name:
            inner.name, new.name = new.name, inner.name

    def _form(self, value: Value, dtype: DType) -> Form:
        """Return the form a real value has in an element type."""
        if self._scales.has(value, dtype):
            return self._scales.form(value, dtype)
        data = value.constant()
        limits = float(data.min(initial=0.0)), float(data.max(initial=0.0))
        return Form(dtype, from_range(*limits, dtype))

    def _node(self, node: Node) -> None:
        role = self._roles[node]
        if role.treatment is Treatment.FLOAT:
            operands = [value and self._operand(value) for value in node.operands]
            self._new.copy(node, operands, [None] * len(node.results))
            return
        forms = [
            self._scales.form(result, role.dtype) if role.quantized and is_real(result) else None
            for result in node.results
        ]
        wanted = self._wanted(node, role, forms)
        if role.dtype is DType.INT8 and self._has_own_form(node, wanted, forms[:1]):
            return
        operands = [
            value
            and (self._new.read(value, wanted[index]) if index in wanted else self._new.untouched(value))
            for index, value in enumerate(node.operands)
            if index not in (role.weights, role.bias)
        ]
        if role.weights is not None:
            for index, value in self._weights_and_bias(node, role, wanted[role.data[0]]):
                operands.insert(index, value)
        self._new.copy(node, operands, forms)

    def _has_own_form(self, node: Node, wanted: dict[int, Form], forms: list[Form | None]) -> bool:
        """Make a node whose int8 form is not the node with other types; False for all others."""
        form = forms[0] if forms else None
        build = Builder(self._new.graph, source=node_name(node))
        operands = list(dict.fromkeys(self._new.read(node.operand(i), wanted[i]) for i in wanted))
        if form is not None and is_count(node):
            made = quantize_count(build, node, self._new.untouched(node.operand(0)), form)
        elif lookup_operands(node):
            made = look_up(build, node, operands, form and form.quantization)
        elif form is not None and lstm_operands(node):
            made = add_lstm(self._new, node, operands[0], wanted[0], form)
        else:
            return False
        self._new.define(node.result, made)
        return True

    def _operand(self, value: Value) -> Value:
        return self._new.read(value, None) if is_real(value) else self._new.untouched(value)

    def _wanted(self, node: Node, role: Role, forms: list[Form | None]) -> dict[int, Form]:
        """Return the form each data operand is read in: a same-scale node wants its result's."""
        if role.treatment is Treatment.LINKED:
            return dict.fromkeys(role.data, next(form for form in forms if form is not None))
        return {index: self._operand_form(node, role, index, forms[0]) for index in role.data}

    def _operand_form(self, node: Node, role: Role, index: int, result: Form | None) -> Form:
        form = self._form(node.operand(index), role.dtype)
        narrow = node.operand(index).is_constant and role.dtype is DType.INT8
        return self._within_ratio(node, index, form, result) if narrow else form

    def _within_ratio(self, node: Node, index: int, form: Form, result: Form | None) -> Form:
        """Widen a constant's scale to what the delegated kernel takes: far below a step of the result."""
        ratio = spec_of(node).quant.ratio
        if ratio is None or result is None:
            return form
        least = ratio.low * result.scale
        if ratio.product:
            least /= self._form(node.operand(1 - index), form.dtype).scale
        if form.scale >= least:
            return form
        (zero_point,) = form.quantization.zero_point
        return Form(form.dtype, Quantization.per_tensor(least * (1 + 2**-20), zero_point))

    def _weights_and_bias(self, node: Node, role: Role, form_in: Form) -> list[tuple[int, Value]]:
        """Return the quantized constants with their operand indices, lower index first."""
        assert role.weights is not None
        scales = self._shared_scales.of(node)
        form = Form(role.weight_type, weight_quantization(scales, self._weights.axis(node)))
        found = [(role.weights, self._weight(node.operand(role.weights), form))]
        if role.bias is not None:
            found.append((role.bias, self._bias(node.operand(role.bias), form_in, form)))
        return sorted(found, key=lambda pair: pair[0])

    def _weight(self, value: Value, form: Form) -> Value:
        return self._new.constant(value, form, lambda: self._weights.integers(value, form))

    def _bias(self, value: Value, form_in: Form, weights: Form) -> Value:
        data, made = quantize_bias(value.constant(), form_in.scale, weights.quantization, form_in.dtype)
        return self._new.constant(value, Form(BIAS_TYPES[form_in.dtype], made), lambda: data)


def _at_border(form: Form, dtype: DType) -> Form:
    """Return the form of the same real values in the type that a user wants to see."""
    return Form(DType.UINT8, as_uint8(form.quantization)) if dtype is DType.UINT8 else form
