"""Error-compensating weight rounding: integers that are chosen together, from what the layers really see."""

from edgec.repair.rounding.choose import Method
from edgec.repair.rounding.compensate import (
    LayerGain,
    QuantizedPath,
    RoundingOutcome,
    compensate_rounding,
)

__all__ = ["LayerGain", "Method", "QuantizedPath", "RoundingOutcome", "compensate_rounding"]
