"""Verifies quantized IR: what the emitter cannot see and a runtime answers with a refusal or wrong numbers.

A rule is a generator of diagnostics for one node. A quantized model that breaks one is a fault of edgec,
never of the user, so all rules are run at every compile; `SLOW_RATIO` alone is a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

import numpy as np

from edgec.diagnostics import Diagnostic, Severity
from edgec.ir import DType, Graph, Model, Node, Quantization, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint, Weights
from edgec.quantize import problems
from edgec.quantize.names import is_named, where
from edgec.quantize.parameters import MIN_WEIGHT_SCALE, WEIGHT_LIMITS
from edgec.quantize.problems import fault
from edgec.quantize.rebuild import form_of
from edgec.quantize.weights import BIAS_TYPES

MULTIPLIER_WINDOW = (2.0**-32, 256.0)
"""XNNPACK does not load a model with a multiplier outside, whatever the other kernels say."""

MAX_BIAS_BITS = {DType.INT32: 30, DType.INT64: 39}
"""int32 accumulators hold 31 bits; the 64-bit ones are cut to 48 before they are scaled, NPUs keep 40."""

ACTIVATION_TYPES = (DType.INT8, DType.INT16)
_BIAS_SCALE_TOLERANCE = 1e-6  # two roundings to float32
_ZERO_POINTS = {DType.INT8: (-128, 127), DType.UINT8: (0, 255)}  # all other types are symmetric
_BRIDGES = ("quantize", "dequantize")

Rule = Callable[[Node], Iterator[Diagnostic]]


def check_quantized(
    model: Model, *, allow_float_islands: bool = False, float_nodes: Collection[str] = ()
) -> list[Diagnostic]:
    """Return what breaks the int8 and int16 specifications in a quantized model; nothing is changed.

    `float_nodes` are the islands that a recipe asked for: they, same-scale nodes that follow them and the
    bridges around may be float, nothing else.
    """
    found: list[Diagnostic] = []
    for graph in model.graphs:
        islands = _islands(graph, float_nodes)
        for node in graph:
            for rule in _RULES:
                found.extend(rule(node))
            if not allow_float_islands and node not in islands:
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
                    problems.PARAMETERS, where(node), f"'{value.name}' is {value.dtype} without scale"
                )
        elif not _is_sane(quantization, value):
            yield fault(
                problems.PARAMETERS, where(node), f"'{value.name}' has unusable parameters {value.type}"
            )


def _is_activation(node: Node, value: Value) -> bool:
    return spec_of(node).quant.supported and (value in node.results or value.producer is not None)


def _is_sane(quantization: Quantization, value: Value) -> bool:
    low, high = _ZERO_POINTS.get(value.dtype, (0, 0))
    return (
        _scales_fit(quantization, value)
        and len(quantization.zero_point) == len(quantization.scale)
        and all(math.isfinite(scale) and scale >= MIN_WEIGHT_SCALE for scale in quantization.scale)
        and all(low <= point <= high for point in quantization.zero_point)
    )


def _scales_fit(quantization: Quantization, value: Value) -> bool:
    count, axis = len(quantization.scale), quantization.quantized_dimension
    if quantization.block_size:
        whole_blocks = value.type.rank == 2 and value.shape[1] % quantization.block_size == 0
        return whole_blocks and count * quantization.block_size == value.type.size
    return count == 1 or (axis < value.type.rank and count == value.shape[axis])


def _same_scale(node: Node) -> Iterator[Diagnostic]:
    """A same-scale node's quantized operands and results have bitwise equal scale and zero point."""
    if spec_of(node).quant.constraint is not Constraint.SAME_SCALE:
        return
    values = [v for v in (*node.operands, *node.results) if v is not None and v.dtype in ACTIVATION_TYPES]
    for value in values[1:]:
        if form_of(value) != form_of(values[0]):
            what = f"'{value.name}' is {value.type} but '{values[0].name}' is {values[0].type}"
            yield fault(problems.UNEQUAL_SCALES, where(node), what, "The kernel copies integers.")


def _fixed_scale(node: Node) -> Iterator[Diagnostic]:
    """The result of softmax, logistic, ... has exactly the parameters that its kernel assumes."""
    quant = spec_of(node).quant
    fixed = quant.fixed(node.result.dtype) if quant.fixed_int8 is not None else None
    if fixed is None:
        return
    if node.result.type.quantization != Quantization.per_tensor(*fixed):
        what = f"result is {node.result.type}; the kernel assumes scale {fixed[0]} zero_point {fixed[1]}"
        yield fault(problems.FIXED_SCALE, where(node), what)


def _weights_and_bias(node: Node) -> Iterator[Diagnostic]:
    """Weights are symmetric int8 without -128 or int4, bias has scale s_in * s_w, multipliers fit.

    An int16 batch_matmul has no weights: both its operands are activations.
    """
    facts, dtype = spec_of(node).quant.weights, node.results[0].dtype if node.results else None
    if facts is None or dtype not in ACTIVATION_TYPES or (dtype is DType.INT16 and not facts.per_axis):
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
    if weights.dtype not in WEIGHT_LIMITS or quantization is None:
        yield fault(problems.WEIGHTS, where(node), f"weights are {weights.type}, not quantized int8")
        return
    if any(quantization.zero_point):
        yield fault(problems.WEIGHTS, where(node), "weights have a zero point", "Kernels assume 0.")
    yield from _weight_values(node, weights)
    if quantization.per_axis and not (
        facts.per_axis and quantization.quantized_dimension == facts.quantized_dimension
    ):
        expected = f"axis {facts.quantized_dimension}" if facts.per_axis else "one scale"
        yield fault(problems.WEIGHTS, where(node), f"weights are {weights.type}; the kernel takes {expected}")


def _weight_values(node: Node, weights: Value) -> Iterator[Diagnostic]:
    low, high = WEIGHT_LIMITS[weights.dtype]
    least, greatest = int(weights.constant().min(initial=0)), int(weights.constant().max(initial=0))
    if least < low or greatest > high:
        what = f"{weights.dtype} weights hold {least if least < low else greatest}"
        why = f"Some kernels are wrong with {-128 if weights.dtype is DType.INT8 else -8} (`WEIGHT_LIMITS`)."
        yield fault(problems.WEIGHTS, where(node), what, why)


def _weights_beside_floats(node: Node) -> Iterator[Diagnostic]:
    """Integer weights that float activations meet, or that are dequantized, keep the rules of weights."""
    if not any(result.dtype.is_float for result in node.results[:1]):
        return
    for value in node.operands:
        if value is None or value.data is None or value.dtype not in WEIGHT_LIMITS:
            continue
        if value.type.quantization is None or any(value.type.quantization.zero_point):
            yield fault(problems.WEIGHTS, where(node), f"weights are {value.type}", "Kernels assume 0.")
        yield from _weight_values(node, value)


def _bias(node: Node, bias: Value, scale_in: float, weights: Quantization) -> Iterator[Diagnostic]:
    quantization = bias.type.quantization
    wanted = BIAS_TYPES[node.results[0].dtype]
    if bias.dtype is not wanted or quantization is None or bias.data is None:
        yield fault(problems.BIAS, where(node), f"bias is {bias.type}, not a quantized {wanted} constant")
        return
    expected = scale_in * np.asarray(weights.scale)
    actual = np.asarray(quantization.scale)
    if len(actual) != len(expected) or np.any(np.abs(actual - expected) > _BIAS_SCALE_TOLERANCE * expected):
        yield fault(problems.BIAS, where(node), "bias scale is not input scale times weight scale")
    bits = MAX_BIAS_BITS[wanted]
    if np.abs(bias.data.astype(np.int64)).max(initial=0) > 2**bits:
        yield fault(problems.BIAS, where(node), f"bias is above 2^{bits}", "The accumulator could overflow.")


def _multipliers(
    node: Node, scale_in: float, weights: Quantization, scale_out: float
) -> Iterator[Diagnostic]:
    multipliers = scale_in * np.asarray(weights.scale) / scale_out
    low, high = MULTIPLIER_WINDOW
    if multipliers.min() < low or multipliers.max() >= high:
        what = f"multipliers reach from {multipliers.min():.3g} to {multipliers.max():.3g}"
        yield fault(problems.MULTIPLIER, where(node), what, f"Kernels take {low:.3g} up to below {high:g}.")


def _delegated_ratio(node: Node) -> Iterator[Diagnostic]:
    """Scales of add, sub and mul lie in the window that XNNPACK takes."""
    ratio = spec_of(node).quant.ratio
    out = node.result.type.quantization if len(node.results) == 1 else None
    if ratio is None or out is None or node.result.dtype is not DType.INT8:
        return
    scales = [v.type.quantization.scale[0] for v in node.operands if v is not None and v.type.quantization]
    inputs = [math.prod(scales)] if ratio.product else scales
    for scale in inputs:
        if not ratio.low <= scale / out.scale[0] < ratio.high:
            yield Diagnostic(
                problems.SLOW_RATIO,
                where(node),
                f"scale ratio {scale / out.scale[0]:.3g} is outside of [{ratio.low:.3g}, {ratio.high:g})",
                "XNNPACK leaves the node to a slower kernel.",
                "Check the ranges of its tensors in the report.",
                Severity.WARNING,
            )


def _islands(graph: Graph, names: Collection[str]) -> set[Node]:
    """Return the nodes that names allow to be float, what follows them, and the bridges around."""
    found: set[Node] = set()
    for node in graph if names else ():
        sources = [value.producer for value in node.operands if value and not value.is_constant]
        follows = spec_of(node).quant.constraint is Constraint.SAME_SCALE and sources
        if _is_island(node, names) or (follows and all(source in found for source in sources)):
            found.add(node)
    leaving = [node for node in graph if node.kind == "quantize" and node.operand(0).producer in found]
    entering = [node for node in graph if node.kind == "dequantize" and found.issuperset(node.result.users)]
    return found.union(leaving, entering)


def _is_island(node: Node, names: Collection[str]) -> bool:
    """Whether names mean a float node; an output's name stands on the bridge behind its node."""
    if node.kind in _BRIDGES:
        return False
    bridged = [user for result in node.results for user in result.users if user.kind == "quantize"]
    return is_named(node, names) or any(bridge.result.name in names for bridge in bridged)


def _float_inside(node: Node, graph: Graph) -> Iterator[Diagnostic]:
    """No float goes through the model but at its border: quantize an input, dequantize an output."""
    for value in (*node.operands, *node.results):
        if value is None or not value.dtype.is_float:
            continue
        at_border = value in graph.inputs or (value.is_graph_output and not value.uses)
        if not (node.kind in _BRIDGES and at_border):
            yield fault(
                problems.FLOAT_INSIDE, where(node), f"'{value.name}' is {value.dtype} inside the model"
            )


_RULES: tuple[Rule, ...] = (
    _parameters_are_sane,
    _same_scale,
    _fixed_scale,
    _weights_and_bias,
    _weights_beside_floats,
    _delegated_ratio,
)
