"""Float nodes between bridges and their int8 twins: which nodes have one, and how it is built.

    y = quantize(op(dequantize(a), dequantize(b), constant))   →   y' = op'(a, b, constant')

A node has a twin if its kernel takes int8, all its real operands have integer forms or grids, and all readers
quantize its result to one grid. A kernel that prescribes the parameters of its result, or that copies those
of its operand while it blends values, computes there; its result is then moved to the reader's grid, if that
is not much finer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from edgec.ir import Array, DType, Node, Quantization, TensorType, Value
from edgec.ops import spec_of
from edgec.ops.spec import Constraint, Weights
from edgec.passes.integer_forms import IntegerForms
from edgec.quantize.check import MAX_BIAS_BITS, MULTIPLIER_WINDOW
from edgec.quantize.parameters import quantize_array
from edgec.quantize.weights import quantize_bias

_COARSEST = 1.9
"""How much coarser than the model's grid a kernel's own may be. Two roundings to steps of s and r * s differ
from one to s by at most r / 2 + 1 / 2 + 1 / 2 steps: by no more than one step below r = 2."""


@dataclass(frozen=True)
class Plan:
    """How a node becomes int8: its constants, and the grid its kernel computes its result on."""

    result: Quantization
    constants: dict[int, Value] = field(default_factory=dict[int, Value])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node stays float; completes "stays float: ..."."""

    reason: str


def real_operands(node: Node) -> list[int]:
    """Return the indices of operands that hold real numbers."""
    return [i for i, v in enumerate(node.operands) if v is not None and v.dtype is DType.FLOAT32]


def picks_values(node: Node) -> bool:
    """Whether a node only passes on values of its operands: quantizing before or after it is the same."""
    quant = spec_of(node).quant
    return quant.constraint is Constraint.SAME_SCALE and not quant.blends and _has_kernel(node)


def _has_kernel(node: Node) -> bool:
    spec = spec_of(node)
    return spec.quant.supported and DType.INT8 in spec.support.litert


def plan_node(node: Node, forms: IntegerForms) -> Plan | Refusal:
    """Return how a node that computes becomes int8, or why it does not."""
    if not _has_kernel(node):
        return Refusal(spec_of(node).quant.reason or "its kernel has no int8 form")
    if node.kind == "div" and not node.operand(1).is_constant:
        return Refusal("its int8 kernel stops at a divisor that rounds to 0")
    real = [result for result in node.results if result.dtype is DType.FLOAT32]
    if len(real) != 1:
        return Refusal("it has several results") if real else Refusal("its result is no real number")
    target = forms.target(real[0])
    if target is None:
        return Refusal("its result is not quantized, or in several ways")
    kernel = _kernel_grid(node, forms, target)
    if isinstance(kernel, Refusal):
        return kernel
    return _with_constants(node, forms, kernel)


def _kernel_grid(node: Node, forms: IntegerForms, target: Quantization) -> Quantization | Refusal:
    """Return the grid that the kernel writes: the target, or one it prescribes that is hardly coarser."""
    quant = spec_of(node).quant
    grid: Quantization | None = target
    if quant.constraint is Constraint.FIXED_OUTPUT_SCALE and quant.fixed_int8 is not None:
        grid = Quantization.per_tensor(*quant.fixed_int8)
    elif quant.constraint is Constraint.SAME_SCALE:
        grid = forms.grid(node.operand(real_operands(node)[0]))
    if grid is None:
        return Refusal("its operand is not quantized")
    if grid != target and grid.scale[0] > target.scale[0] * _COARSEST:
        scales = f"scale {grid.scale[0]:.3g}, coarser than the model's {target.scale[0]:.3g}"
        return Refusal(f"the kernel's result has {scales}")
    return grid


def _with_constants(node: Node, forms: IntegerForms, result: Quantization) -> Plan | Refusal:
    facts = spec_of(node).quant.weights
    weights = None if facts is None or not node.operand(facts.operand).is_constant else facts
    constants: dict[int, Value] = {}
    for index in real_operands(node):
        value = node.operand(index)
        if weights is not None and index in (weights.operand, weights.bias):
            continue
        if value.data is None:
            runtime_weights = facts is not None and facts.per_axis and index in (facts.operand, facts.bias)
            if runtime_weights:
                return Refusal("its weights or bias are computed at run time")
            if forms.grid(value) is None:
                return Refusal(f"its operand '{value.name}' is not quantized")
            continue
        grid = _grid_of_constant(value)
        if grid is None:
            return Refusal(f"its constant '{value.name}' is not quantized")
        constants[index] = _constant(value, quantize_array(value.data, grid), DType.INT8, grid)
    if weights is not None:
        refusal = _add_weights(node, weights, forms, result, constants)
        if refusal is not None:
            return refusal
    return Plan(result, constants)


def _grid_of_constant(value: Value) -> Quantization | None:
    """Return the grid of a constant: its own, or an exact one where all its elements are equal."""
    grid, data = value.type.quantization, value.constant()
    if grid is not None:
        return None if grid.per_axis else grid
    first = float(data.flat[0]) if data.size else 0.0
    if not np.isfinite(first) or np.any(data != first):
        return None
    return Quantization.per_tensor(abs(first) / 127 if first else 1.0)


def _add_weights(
    node: Node, facts: Weights, forms: IntegerForms, result: Quantization, constants: dict[int, Value]
) -> Refusal | None:
    weights, x = node.operand(facts.operand), node.operand(facts.data)
    grid = weights.type.quantization
    source = forms.grid(x) if x.data is None else _grid_of_constant(x)
    if grid is None or source is None:
        return Refusal("its weights are not quantized" if grid is None else "its operand is not quantized")
    if any(grid.zero_point):
        return Refusal("its weights have a zero point, which the kernels take for 0")
    if grid.per_axis and not (facts.per_axis and grid.quantized_dimension == facts.quantized_dimension):
        return Refusal(f"its weights have scales along axis {grid.quantized_dimension}")
    multipliers = source.scale[0] * np.asarray(grid.scale) / result.scale[0]
    low, high = MULTIPLIER_WINDOW
    if multipliers.min() < low or multipliers.max() >= high:
        return Refusal(f"the scales' ratio {multipliers.max():.3g} is beyond what kernels can hold")
    integers = quantize_array(weights.constant(), grid)
    constants[facts.operand] = _constant(weights, integers, DType.INT8, grid)
    bias = None if facts.bias is None else node.optional_operand(facts.bias)
    if bias is None or facts.bias is None:
        return None
    if bias.data is None:
        return Refusal("its bias is computed at run time")
    wide = np.abs(bias.data.astype(np.float64)).max(initial=0.0) / (source.scale[0] * min(grid.scale))
    if wide > 2 ** MAX_BIAS_BITS[DType.INT32]:
        return Refusal("its bias is above 2^30 steps, where accumulators could overflow")
    data, form = quantize_bias(bias.data, source.scale[0], grid)
    constants[facts.bias] = _constant(bias, data, DType.INT32, form)
    return None


def _constant(like: Value, data: Array, dtype: DType, grid: Quantization) -> Value:
    return Value(like.name, replace(like.type, dtype=dtype, quantization=grid), data)


def build_twin(node: Node, forms: IntegerForms, operands: dict[int, Value], grid: Quantization) -> Node:
    """Insert the node with other operands before it; its real results become int8 on a grid."""
    graph = forms.graph
    results = [
        Value(graph.unique_name(old.name), _int8(old, grid) if old.dtype is DType.FLOAT32 else old.type)
        for old in node.results
    ]
    taken = [operands.get(index, value) for index, value in enumerate(node.operands)]
    return graph.insert(Node(node.kind, taken, results, node.attributes, node.source), node)


def _int8(old: Value, grid: Quantization) -> TensorType:
    return replace(old.type, dtype=DType.INT8, quantization=grid)


def constant_on(value: Value, grid: Quantization) -> Value:
    """Return a constant's integers on a grid; what lies outside saturates."""
    return _constant(value, quantize_array(value.constant(), grid), DType.INT8, grid)


def lies_on(value: Value, grid: Quantization) -> bool:
    """Whether a grid holds every element of a constant exactly."""
    q = quantize_array(value.constant(), grid).astype(np.float32)
    real = (q - np.float32(grid.zero_point[0])) * np.float32(grid.scale[0])
    return bool(np.array_equal(real, value.constant()))
