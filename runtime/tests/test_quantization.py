"""Quantization against values worked out by hand, and against the runtime's own kernel."""

from __future__ import annotations

import numpy as np
import pytest

from edgec_runtime import Model, RuntimeInputError, TensorInfo
from edgec_runtime.quantization import dequantize, quantize, to_raw, to_real


def info(dtype: str, scale: float = 0.0, zero_point: int = 0) -> TensorInfo:
    return TensorInfo("x", (1, 4), (1, 4), dtype, scale, zero_point, 0)


def test_ties_round_to_even():
    """x / 0.5: -1.5, -0.5, 0.5, 1.5, 2.5 round to -2, 0, 0, 2, 2; then the zero point of 10 is added."""
    real = np.array([-0.75, -0.25, 0.25, 0.75, 1.25], np.float32)
    assert quantize(real, 0.5, 10, "int8").tolist() == [8, 10, 10, 12, 12]


@pytest.mark.parametrize(
    ("dtype", "zero_point", "expected"),
    [
        ("int8", -1, [-128, -1, 127]),
        ("uint8", 128, [0, 128, 255]),
        ("int16", 0, [-32768, 0, 32767]),
    ],
)
def test_values_beyond_the_range_saturate(dtype: str, zero_point: int, expected: list[int]):
    """±1e9 lies far outside every type, so the ends of its range come out."""
    raw = quantize(np.array([-1e9, 0, 1e9], np.float32), 0.5, zero_point, dtype)
    assert raw.dtype == dtype
    assert raw.tolist() == expected


@pytest.mark.parametrize("huge", [np.inf, 1e300])
def test_infinite_and_oversized_values_saturate_without_a_warning(huge: float):
    """1e300 is infinite in float32; warnings are errors in this test run."""
    assert to_raw(np.array([-huge, huge]), info("int8", 0.1, 3)).tolist() == [-128, 127]


def test_dequantize_by_hand():
    """0.25 × (q + 4): -128 gives -31, -4 gives 0, 127 gives 32.75."""
    real = dequantize(np.array([-128, -4, 127], np.int8), 0.25, -4)
    assert real.dtype == np.float32
    assert real.tolist() == [-31.0, 0.0, 32.75]


def test_int16_difference_does_not_overflow():
    """32767 - (-32768) needs 17 bits: 65535 × 0.5."""
    assert dequantize(np.array([32767], np.int16), 0.5, -32768).tolist() == [32767.5]


def test_same_bytes_as_the_quantize_kernel(new_model, saved):
    """XNNPACK's QUANTIZE is the reference: every value, ties included, gives the same int8."""
    from ai_edge_litert import schema_py_generated as schema

    real = np.concatenate([np.linspace(-9, 9, 2001), np.arange(-140, 140) * 0.0625 + 0.03125]).astype(
        np.float32
    )
    model = new_model()
    x = model.tensor("x", [1, len(real)])
    y = model.tensor("y", [1, len(real)], "int8", (0.0625, 5))
    model.operator("QUANTIZE", [x], [y], schema.QuantizeOptionsT())
    kernel = Model(model.build([x], [y])).run_raw({"x": real[None]})["y"]
    np.testing.assert_array_equal(quantize(real, 0.0625, 5, "int8"), kernel[0])


@pytest.mark.parametrize("tensor", [info("int8", 0.5), info("uint8", 0.5), info("int16", 0.5), info("int32")])
def test_nan_is_refused_with_its_place(tensor: TensorInfo):
    """NaN has no integer: casting it gives whatever the CPU gives."""
    with pytest.raises(
        RuntimeInputError, match=r"input 'x'.*got 1 NaN among 4 values, the first at \[0, 2\]"
    ):
        to_raw(np.array([[0, 1, np.nan, 3]]), tensor)


def test_float_inputs_keep_nan_and_take_any_float_type():
    """A float model may have a meaning for NaN; it is not ours to refuse."""
    raw = to_raw(np.array([1.5, np.nan], np.float64), info("float32"))
    assert raw.dtype == np.float32
    assert raw[0] == 1.5
    assert np.isnan(raw[1])


def test_indices_are_never_rounded():
    """2.5 as an index would silently pick another row."""
    assert to_raw(np.array([0.0, 7.0]), info("int32")).tolist() == [0, 7]
    with pytest.raises(
        RuntimeInputError, match=r"input 'x': expected whole numbers .* got values from 0.0 to 2.5"
    ):
        to_raw(np.array([0.0, 2.5]), info("int32"))


@pytest.mark.parametrize("value", [2.0**63, -(2.0**63) - 2048])
def test_integers_out_of_range_are_refused(value: float):
    """2**63 is one more than int64 holds, although it equals float(2**63 - 1)."""
    with pytest.raises(RuntimeInputError, match="9223372036854775807"):
        to_raw(np.array([value]), info("int64"))


def test_text_is_refused():
    with pytest.raises(
        RuntimeInputError, match=r"input 'x': expected numbers for float32, got values of type <U3"
    ):
        to_raw(np.array(["one"]), info("float32"))


def test_rank_0_stays_an_array():
    """NumPy turns arithmetic on rank 0 into scalars, which interpreters do not take."""
    assert isinstance(to_raw(np.array(1.0), info("int8", 0.5)), np.ndarray)
    assert isinstance(to_real(np.array(4, np.int8), info("int8", 0.5)), np.ndarray)


def test_integers_without_quantization_come_back_unchanged():
    """Class numbers beyond 2**24 would be changed by float32."""
    raw = np.array([2**24 + 1], np.int64)
    assert to_real(raw, info("int64")).tolist() == [2**24 + 1]
