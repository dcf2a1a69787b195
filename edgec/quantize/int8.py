"""Full int8: the float graph and its ranges → an integer graph to TFLite's int8 specification."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from edgec.diagnostics import Diagnostic
from edgec.ir import DType, Model, Value
from edgec.quantize.feasible import quantization_problems
from edgec.quantize.quantizer import Settings, quantize_graph
from edgec.quantize.roles import Choices
from edgec.quantize.weights import ChosenWeights


def quantize_int8(
    model: Model,
    ranges: Mapping[str, tuple[float, float]],
    *,
    input_type: DType = DType.INT8,
    output_type: DType = DType.INT8,
    per_axis: bool = True,
    per_tensor_kinds: Collection[str] = (),
    allow_float_islands: bool = False,
    float_nodes: Collection[str] = (),
    int16_nodes: Collection[str] = (),
    float_outputs: Collection[str] = (),
    weights: DType = DType.INT8,
    int8_weight_nodes: Collection[str] = (),
    chosen_weights: Mapping[Value, ChosenWeights] = MappingProxyType({}),
) -> Model:
    """Return an int8 model; the float model stays as it is.

    Args:
        model: float32, after the float pipeline.
        ranges: (min, max) by value name, for at least `observed_values(model.graph, choices)`.
        input_type: int8, uint8 or float32 for float inputs; integer inputs keep their type.
        output_type: the same for outputs.
        per_axis: a weight scale for each output channel where kernels have it.
        per_tensor_kinds: op kinds whose weights get one scale all the same (kernels of older runtimes).
        allow_float_islands: leave nodes without int8 kernel in float, between dequantize and quantize.
        float_nodes: nodes that stay float because a recipe says so, by name (`names.is_named`).
        int16_nodes: nodes with int16 activations, by name; requantized from and to int8 around them.
        float_outputs: outputs that are float32 whatever `output_type` says, by name.
        weights: int4 packs two in a byte where it pays and kernels take it: conv, depthwise, fully_connected.
        int8_weight_nodes: nodes that keep int8 weights all the same, by name.
        chosen_weights: integers to take for weight tensors of `model.graph` instead of rounding to nearest.

    Raises:
        CompileError: E0421 for every node without a kernel, E0422 for constants that have no range,
            E0423 for tensors without usable range, E0424 for control flow, E0425 for unknown names.
    """
    choices = int8_choices(float_nodes, int16_nodes, weights, int8_weight_nodes)
    settings = Settings(
        input_type,
        output_type,
        per_axis,
        per_tensor_kinds,
        allow_float_islands,
        float_outputs,
        chosen_weights,
    )
    return quantize_graph(model, ranges, choices, settings)


def int8_problems(
    model: Model,
    *,
    allow_float_islands: bool = False,
    float_nodes: Collection[str] = (),
    int16_nodes: Collection[str] = (),
) -> list[Diagnostic]:
    """Return all that keeps a float model from becoming int8, as `quantize_int8` would raise it.

    Needs no ranges, so it can be asked before a long calibration.
    """
    choices = int8_choices(float_nodes, int16_nodes)
    return quantization_problems(model, choices, allow_float_islands=allow_float_islands)


def int8_choices(
    float_nodes: Collection[str] = (),
    int16_nodes: Collection[str] = (),
    weights: DType = DType.INT8,
    int8_weight_nodes: Collection[str] = (),
) -> Choices:
    """Return the choices of an int8 model with islands, as calibration may want to know them."""
    names = frozenset(float_nodes), frozenset(int16_nodes), frozenset(int8_weight_nodes)
    return Choices(DType.INT8, weights, *names)
