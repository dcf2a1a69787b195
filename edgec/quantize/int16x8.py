"""int16 activations with int8 weights: the int8 quantizer with finer activations.

    activations   symmetric int16, zero point 0
    weights       int8 per axis, as in int8 models: their rounding is what limits accuracy now
    bias          int64 (older kernels read an int32 bias as int64)

Every kernel is a builtin one, none is in XNNPACK: expect 20 times the time of int8 on a CPU. Microcontroller
libraries have int16 kernels for most operators of audio models, which is what this form is for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from edgec.diagnostics import Diagnostic
from edgec.ir import DType, Model, Value
from edgec.quantize.feasible import quantization_problems
from edgec.quantize.quantizer import Settings, quantize_graph
from edgec.quantize.roles import Choices
from edgec.quantize.weights import ChosenWeights


def quantize_int16x8(
    model: Model,
    ranges: Mapping[str, tuple[float, float]],
    *,
    input_type: DType = DType.INT16,
    output_type: DType = DType.INT16,
    per_axis: bool = True,
    per_tensor_kinds: Collection[str] = (),
    allow_float_islands: bool = False,
    float_nodes: Collection[str] = (),
    weights: DType = DType.INT8,
    int8_weight_nodes: Collection[str] = (),
    chosen_weights: Mapping[Value, ChosenWeights] = MappingProxyType({}),
) -> Model:
    """Return a model with int16 activations and int8 weights; arguments and errors as `quantize_int8`.

    Args:
        model: float32, after the float pipeline.
        ranges: (min, max) by value name, for at least `observed_values(model.graph, int16x8_choices())`.
        input_type: int16 or float32 for float inputs; integer inputs keep their type.
        output_type: the same for outputs.
        per_axis: a weight scale for each output channel where kernels have it.
        per_tensor_kinds: op kinds whose weights get one scale all the same.
        allow_float_islands: leave nodes without int16 kernel in float, between dequantize and quantize.
        float_nodes: nodes that stay float because a recipe says so, by name (`names.is_named`).
        weights: int4 packs two in a byte where it pays and kernels take it: conv, fully_connected.
        int8_weight_nodes: nodes that keep int8 weights all the same, by name.
        chosen_weights: integers to take for weight tensors of `model.graph` instead of rounding to nearest.
    """
    settings = Settings(
        input_type,
        output_type,
        per_axis,
        per_tensor_kinds,
        allow_float_islands,
        chosen_weights=dict(chosen_weights),
    )
    choices = int16x8_choices(float_nodes, weights, int8_weight_nodes)
    return quantize_graph(model, ranges, choices, settings)


def int16x8_problems(
    model: Model, *, allow_float_islands: bool = False, float_nodes: Collection[str] = ()
) -> list[Diagnostic]:
    """Return all that keeps a float model from this form, as `quantize_int16x8` would raise it."""
    choices = int16x8_choices(float_nodes)
    return quantization_problems(model, choices, allow_float_islands=allow_float_islands)


def int16x8_choices(
    float_nodes: Collection[str] = (), weights: DType = DType.INT8, int8_weight_nodes: Collection[str] = ()
) -> Choices:
    """Return the choices of a model with int16 activations, as calibration may want to know them."""
    return Choices(DType.INT16, weights, frozenset(float_nodes), frozenset(), frozenset(int8_weight_nodes))
