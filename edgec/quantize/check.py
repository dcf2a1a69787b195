"""Verifies quantized IR: what the emitter cannot see and a runtime answers with a refusal or wrong numbers.

A rule is a generator of diagnostics for one node. A quantized model that breaks one is a fault of edgec,
never of the user, so all rules are run at every compile; `SLOW_RATIO` alone is a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from edgec.diagnostics import Diagnostic, Severity
from edgec.ir import DType, Graph, Model, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint, Weights
from edgec.quantize import problems
from edgec.quantize.parameters import MIN_WEIGHT_SCALE, WEIGHT_LIMIT
from edgec.quantize.problems import fault

MULTIPLIER_WINDOW = (2.0**-32, 256.0)
"""XNNPACK does not load a model with a multiplier outside, whatever the other kernels say."""

MAX_STORED_BIAS = 2**30
_BIAS_SCALE_TOLERANCE = 1e-6  # two roundings to float32
_ZERO_POINTS = {DType.INT8: (-128, 127), DType.UINT8: (0, 255), DType.INT32: (0, 0), DType.INT16: (0, 0)}
_BRIDGES = ("quantize", "dequantize")

Rule = Callable[[Node], Iterator[Diagnostic]]


def check_quantized(model: Model, *, allow_float_islands: bool = False) -> list[Diagnostic]:
    """Return what breaks the int8 specification in a quantized model; nothing is changed."""
    found: list[Diagnostic] = []
    for graph in model.graphs:
        for node in graph:
            for rule in _RULES:
                found.extend(rule(node))
            if not allow_float_islands:
                found.extend(_float_inside(node, graph))
    return list(dict.fromkeys(found))


def _parameters_are_sane(node: Node) -> Iterator[Diagnostic]:
    """Scales are finite and no smaller than 1e-30; zero points lie in the element type; int8 has both."""
    for value in (*node.operands, *node.results):
        if value is None:
            continue
        quantization = value.type.quantization
        if quantization is None:
            if value.dtype in (DType.INT8, DType.UINT8) and _is_activation(node, value):
                yield fault(
                    problems.PARAMETERS, _where(node), f"'{value.name}' is {value.dtype} without scale"
                )
        elif not _is_sane(quantization, value):
            yield fault(
                problems.PARAMETERS, _where(node), f"'{value.name}' has unusable parameters {value.type}"
            )


def _is_activation(node: Node, value: Value) -> bool:
    return spec_of(node).quant.supported and (value in node.results or value.producer is not None)


def _is_sane(quantization: Quantization, value: Value) -> bool:
    low, high = _ZERO_POINTS.get(value.dtype, (0, 0))
    axis = quantization.quantized_dimension
    fits = len(quantization.scale) == 1 or (
        axis < value.type.rank and len(quantization.scale) == value.shape[axis]
    )
    return (
        fits
        and len(quantization.zero_point) == len(quantization.scale)
        and all(math.isfinite(scale) and scale >= MIN_WEIGHT_SCALE for scale in quantization.scale)
        and all(low <= point <= high for point in quantization.zero_point)
    )


def _same_scale(node: Node) -> Iterator[Diagnostic]:
    """A same-scale node's int8 operands and results have bitwise equal scale and zero point."""
    if spec_of(node).quant.constraint is not Constraint.SAME_SCALE:
        return
    values = [v for v in (*node.operands, *node.results) if v is not None and v.dtype is DType.INT8]
    for value in values[1:]:
        if value.type.quantization != values[0].type.quantization:
            what = f"'{value.name}' is {value.type} but '{values[0].name}' is {values[0].type}"
            yield fault(problems.UNEQUAL_SCALES, _where(node), what, "The kernel copies integers.")


def _fixed_scale(node: Node) -> Iterator[Diagnostic]:
    """The result of softmax, logistic, ... has exactly the parameters that its kernel assumes."""
    fixed = spec_of(node).quant.fixed_int8
    if fixed is None or node.result.dtype is not DType.INT8:
        return
    if node.result.type.quantization != Quantization.per_tensor(*fixed):
        what = f"result is {node.result.type}; the kernel assumes scale {fixed[0]} zero_point {fixed[1]}"
        yield fault(problems.FIXED_SCALE, _where(node), what)


def _weights_and_bias(node: Node) -> Iterator[Diagnostic]:
    """Weights are symmetric int8 without -128, bias is int32 of scale s_in * s_w, multipliers fit."""
    facts = spec_of(node).quant.weights
    if facts is None or node.result.dtype is not DType.INT8:
        return
    weights, x = node.operand(facts.operand), node.operand(facts.data)
    if weights.is_constant:
        yield from _weights(node, facts, weights)
    found = (x.type.quantization, weights.type.quantization, node.result.type.quantization)
    if found[0] is None or found[1] is None or found[2] is None:
        return  # reported by `_parameters_are_sane`
    yield from _multipliers(node, found[0].scale[0], found[1], found[2].scale[0])
    bias = None if facts.bias is None else node.optional_operand(facts.bias)
    if bias is not None:
        yield from _bias(node, bias, found[0].scale[0], found[1])


def _weights(node: Node, facts: Weights, weights: Value) -> Iterator[Diagnostic]:
    quantization = weights.type.quantization
    if weights.dtype is not DType.INT8 or quantization is None:
        yield fault(problems.WEIGHTS, _where(node), f"weights are {weights.type}, not quantized int8")
        return
    if any(quantization.zero_point):
        yield fault(problems.WEIGHTS, _where(node), "weights have a zero point", "Kernels assume 0.")
    if int(weights.constant().min(initial=0)) < -WEIGHT_LIMIT:
        yield fault(problems.WEIGHTS, _where(node), "weights hold -128", "Some kernels cannot negate it.")
    if quantization.per_axis and not (
        facts.per_axis and quantization.quantized_dimension == facts.quantized_dimension
    ):
        expected = f"axis {facts.quantized_dimension}" if facts.per_axis else "one scale"
        yield fault(
            problems.WEIGHTS, _where(node), f"weights are {weights.type}; the kernel takes {expected}"
        )


def _bias(node: Node, bias: Value, scale_in: float, weights: Quantization) -> Iterator[Diagnostic]:
    quantization = bias.type.quantization
    if bias.dtype is not DType.INT32 or quantization is None or bias.data is None:
        yield fault(problems.BIAS, _where(node), f"bias is {bias.type}, not a quantized int32 constant")
        return
    expected = scale_in * np.asarray(weights.scale)
    actual = np.asarray(quantization.scale)
    if len(actual) != len(expected) or np.any(np.abs(actual - expected) > _BIAS_SCALE_TOLERANCE * expected):
        yield fault(problems.BIAS, _where(node), "bias scale is not input scale times weight scale")
    if np.abs(bias.data.astype(np.int64)).max(initial=0) > MAX_STORED_BIAS:
        yield fault(problems.BIAS, _where(node), "bias is above 2^30", "The accumulator could overflow.")


def _multipliers(
    node: Node, scale_in: float, weights: Quantization, scale_out: float
) -> Iterator[Diagnostic]:
    multipliers = scale_in * np.asarray(weights.scale) / scale_out
    low, high = MULTIPLIER_WINDOW
    if multipliers.min() < low or multipliers.max() >= high:
        what = f"multipliers reach from {multipliers.min():.3g} to {multipliers.max():.3g}"
        yield fault(problems.MULTIPLIER, _where(node), what, f"Kernels take {low:.3g} up to below {high:g}.")


def _delegated_ratio(node: Node) -> Iterator[Diagnostic]:
    """Scales of add, sub and mul lie in the window that XNNPACK takes."""
    ratio = spec_of(node).quant.ratio
    out = node.result.type.quantization if len(node.results) == 1 else None
    if ratio is None or out is None:
        return
    scales = [v.type.quantization.scale[0] for v in node.operands if v is not None and v.type.quantization]
    inputs = [math.prod(scales)] if ratio.product else scales
    for scale in inputs:
        if not ratio.low <= scale / out.scale[0] < ratio.high:
            yield Diagnostic(
                problems.SLOW_RATIO,
                _where(node),
                f"scale ratio {scale / out.scale[0]:.3g} is outside of [{ratio.low:.3g}, {ratio.high:g})",
                "XNNPACK leaves the node to a slower kernel.",
                "Check the ranges of its tensors in the report.",
                Severity.WARNING,
            )


def _float_inside(node: Node, graph: Graph) -> Iterator[Diagnostic]:
    """No float goes through the model but at its border: quantize an input, dequantize an output."""
    for value in (*node.operands, *node.results):
        if value is None or not value.dtype.is_float:
            continue
        at_border = value in graph.inputs or (value.is_graph_output and not value.uses)
        if not (node.kind in _BRIDGES and at_border):
            yield fault(
                problems.FLOAT_INSIDE, _where(node), f"'{value.name}' is {value.dtype} inside the model"
            )


def _where(node: Node) -> str:
    return f"node '{node.source or node.results[0].name}' ({node.kind})"


_RULES: tuple[Rule, ...] = (
    _parameters_are_sane,
    _same_scale,
    _fixed_scale,
    _weights_and_bias,
    _delegated_ratio,
)
