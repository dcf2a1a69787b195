"""int4 numbers, two a byte."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir.packing import pack_int4, unpack_int4


def test_the_first_number_is_in_the_low_half() -> None:
    """1 and -1 are 0x1 and 0xF: 0xF1; -8 and 7 are 0x8 and 0x7: 0x78; an odd last one stands alone."""
    data = np.array([[1, -1, -8], [7, 3, 0]], np.int8)
    assert pack_int4(data).tolist() == [0xF1, 0x78, 0x03]
    assert pack_int4(np.array([-1], np.int8)).tolist() == [0x0F]


@pytest.mark.parametrize("shape", [(16,), (3, 5), (1, 3, 3, 7), (0, 4), ()])
def test_unpacking_gives_back_what_was_packed(shape: tuple[int, ...]) -> None:
    """Every value, any number of elements, also of a transposed view."""
    data = np.resize(np.arange(-8, 8, dtype=np.int8), shape)
    np.testing.assert_array_equal(unpack_int4(pack_int4(data), shape), data)
    np.testing.assert_array_equal(unpack_int4(pack_int4(data.T), shape[::-1]), data.T)


def test_bytes_that_do_not_fit_the_shape_are_refused() -> None:
    """Five numbers need three bytes."""
    with pytest.raises(ValueError, match="2 bytes for 5 int4 numbers"):
        unpack_int4(np.zeros(2, np.uint8), (5,))
