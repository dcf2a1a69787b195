"""How a quantized model stores a layer's weights: what nearest gives, and what there is to choose from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.ir import DType
from edgec.quantize import ChosenWeights
from edgec.quantize.parameters import WEIGHT_LIMITS, Floats
from edgec.repair.rounding.layers import Layer


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Integers [g, m, k], scales [g, m], their element type, and whether one scale holds for all."""

    q: Floats
    scales: Floats
    dtype: DType
    one_scale: bool

    @property
    def limit(self) -> int:
        """The largest integer; the least is its negative."""
        return WEIGHT_LIMITS[self.dtype][1]

    @property
    def coarse(self) -> bool:
        """Whether weights have few levels: 4 bits, or one scale for channels of all sizes."""
        return self.one_scale or self.dtype is DType.INT4

    @property
    def real(self) -> Floats:
        """The weights that the integers stand for."""
        return self.q * self.scales[..., None]


def stored_weights(layer: Layer, quantized: Layer) -> Stored | None:
    """Return the integers that a quantized model has for a float layer; None where they stay float.

    Weight-only forms read them through a `dequantize` node.
    """
    weights = quantized.weights
    if weights.producer is not None and weights.producer.kind == "dequantize":
        weights = weights.producer.operand(0)
    form = weights.type.quantization
    if weights.data is None or form is None or weights.dtype not in WEIGHT_LIMITS:
        return None
    scales = np.broadcast_to(np.asarray(form.scale, np.float64), (layer.outputs,))
    q = layer.matrix(weights.data.reshape(layer.weights.shape))
    return Stored(q, layer.per_output(scales), weights.dtype, not form.per_axis)


def as_chosen(layer: Layer, stored: Stored) -> ChosenWeights:
    """Return the integers as `quantize_int8` and its like take them."""
    scales = stored.scales.reshape(-1)
    if stored.one_scale:
        scales = scales.max(keepdims=True)
    return ChosenWeights(layer.tensor(stored.q.astype(np.int8)), scales, stored.dtype)
