"""An integer scheme: every choice about the integer form of a float model in one object.

`activations` int8 is TFLite's full int8, int16 is "16x8": symmetric activations, int8 weights, int64 bias.
What differs between them beyond that, the registry and the kernels decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from edgec.ir import DType, Value
from edgec.quantize.roles import Choices
from edgec.quantize.weights import ChosenWeights

INTERFACE_TYPES = {
    DType.INT8: (DType.INT8, DType.UINT8, DType.FLOAT32),
    DType.INT16: (DType.INT16, DType.FLOAT32),
}
"""What a model's real inputs and outputs may be, by the type of its activations."""


@dataclass(frozen=True, slots=True)
class IntegerScheme:
    """How a float model becomes integers. Nodes are meant by name (`names.is_named`).

    Attributes:
        activations: int8 or int16.
        weights: int8; int4 packs two in a byte where it pays and kernels take it.
        input_type: of real inputs, one of `INTERFACE_TYPES`; None is the activations' own.
        output_type: the same for outputs.
        per_axis: a weight scale for each output channel where kernels have it.
        per_tensor_kinds: op kinds whose weights get one scale all the same (kernels of older runtimes).
        allow_float_islands: leave nodes without an integer kernel in float, between dequantize and quantize.
        float_nodes: nodes that stay float because a recipe says so.
        int16_nodes: nodes with int16 activations in an int8 model, requantized from and to int8 around them.
        int8_weight_nodes: nodes that keep int8 weights whatever `weights` says.
        float_outputs: outputs that are float32 whatever `output_type` says, by name.
        chosen_weights: integers to take for weight tensors instead of rounding to nearest.

    Raises:
        ValueError: an input or output type that is not in `INTERFACE_TYPES`.
    """

    activations: DType = DType.INT8
    weights: DType = DType.INT8
    input_type: DType | None = None
    output_type: DType | None = None
    per_axis: bool = True
    per_tensor_kinds: Collection[str] = ()
    allow_float_islands: bool = False
    float_nodes: Collection[str] = ()
    int16_nodes: Collection[str] = ()
    int8_weight_nodes: Collection[str] = ()
    float_outputs: Collection[str] = ()
    chosen_weights: Mapping[Value, ChosenWeights] = field(default_factory=dict[Value, ChosenWeights])

    def __post_init__(self) -> None:
        for dtype in (self.input_type, self.output_type):
            if dtype is not None and dtype not in INTERFACE_TYPES[self.activations]:
                raise ValueError(f"{dtype} inputs or outputs around {self.activations} activations")

    @property
    def choices(self) -> Choices:
        """The element type of each node: what roles and calibration want to know."""
        names = map(frozenset, (self.float_nodes, self.int16_nodes, self.int8_weight_nodes))
        return Choices(self.activations, self.weights, *names)
