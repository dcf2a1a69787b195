"""Two int4 numbers a byte, as files hold them: the first in the low half, an odd last one alone.

q0 q1 q2  →  q1·16 + q0 mod 16,  q2 mod 16          (row-major order, two's complement)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgec.ir.types import Array, Shape


def pack_int4(data: Array) -> npt.NDArray[np.uint8]:
    """Return the bytes of int4 numbers that are stored one in an int8 each."""
    flat = np.bitwise_and(np.ascontiguousarray(data).reshape(-1).view(np.uint8), np.uint8(0x0F))
    packed = flat[0::2].copy()
    packed[: flat.size // 2] |= np.left_shift(flat[1::2], np.uint8(4))
    return packed


def unpack_int4(packed: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.int8]:
    """Return the numbers, one in an int8 each; ValueError where the bytes do not fit the shape."""
    count = int(np.prod(shape, dtype=np.int64))
    if packed.size != (count + 1) // 2:
        raise ValueError(f"{packed.size} bytes for {count} int4 numbers")
    halves = np.empty(2 * packed.size, np.uint8)
    halves[0::2], halves[1::2] = np.left_shift(packed, np.uint8(4)), packed
    return np.right_shift(halves.view(np.int8), np.int8(4))[:count].reshape(shape)
