"""Operand data that op cases share."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt


def ramp(*shape: int) -> npt.NDArray[np.float32]:
    """Return evenly spaced numbers from -1 to 1 in a shape: distinct, so that a wrong order shows."""
    return np.linspace(-1, 1, prod(shape), dtype=np.float32).reshape(shape)
