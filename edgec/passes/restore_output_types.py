"""Gives outputs the source's own float width back: float16 and float64 compute in float32 inside.

    … y (float32)   →   … y (float32) ─ cast ─ y (float16)

bfloat16 has no cast kernel, so such outputs stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgec.ir import DType, Model, Port, Value
from edgec.ops import Builder
from edgec.ops.elementwise import CastAttributes
from edgec.passes.contract import PassResult

_NARROWED = (DType.FLOAT16, DType.FLOAT64)


@dataclass(frozen=True)
class RestoreOutputTypes:
    """Casts float32 outputs to `types[output name]` where that is float16 or float64.

    Runs before `SeparateOutputs`, which gives the new tensors their names.
    """

    types: Mapping[str, DType] = field(default_factory=dict[str, DType])
    name: str = "restore_output_types"

    def run(self, model: Model) -> PassResult:
        """Edit the main graph's outputs and the model's ports."""
        pairs = list(zip(model.outputs, model.graph.outputs, strict=True))
        outputs = [self._restored(model, port, value) for port, value in pairs]
        model.graph.set_outputs(outputs)
        model.outputs = [
            replace(port, dtype=value.dtype) for (port, _), value in zip(pairs, outputs, strict=True)
        ]
        return PassResult(
            model, any(value is not old for value, (_, old) in zip(outputs, pairs, strict=True))
        )

    def _restored(self, model: Model, port: Port, value: Value) -> Value:
        wanted = self.types.get(port.name)
        if wanted is None or wanted not in _NARROWED or value.dtype is not DType.FLOAT32:
            return value
        build = Builder(model.graph, source=port.name)
        return build.op("cast", [value], CastAttributes(value.dtype, wanted))
