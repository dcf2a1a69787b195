"""Shape and dtype rules between one row of an array and an input."""

import numpy as np
import pytest

from edgec.calibrate.fit import FitKind, adapt, cast, explain_dtype, explain_misfit, fit_shape
from edgec.calibrate.samples import InputSpec, channel_axis
from edgec.diagnostics import CompileError


def spec(shape, dtype=np.float32, layout=None):
    return InputSpec("x", shape, np.dtype(dtype), layout)


@pytest.mark.parametrize(
    ("shape", "layout", "row", "kind"),
    [
        ((1, 3, 4, 5), "nchw", (1, 3, 4, 5), FitKind.EXACT),
        ((1, 3, 4, 5), "nchw", (3, 4, 5), FitKind.EXACT),
        ((1, 3, 4, 5), "nchw", (4, 5, 3), FitKind.PERMUTED),
        ((1, 3, 4, 5), "nchw", (1, 4, 5, 3), FitKind.PERMUTED),
        ((1, 4, 5, 3), "nhwc", (3, 4, 5), FitKind.PERMUTED),
        ((1, 3, 1, 5), "nchw", (1, 5, 3), FitKind.PERMUTED),  # height 1: only the channel axis counts
        ((1, 3, 1, 3), "nchw", (1, 3, 3), FitKind.PERMUTED),  # same without units, yet another order
        ((1, 1, 28, 28), "nchw", (28, 28), FitKind.UNIT_AXES),
        ((1, 1, 28, 28), None, (28, 28, 1), FitKind.UNIT_AXES),
        ((1, 1, 16000), None, (16000,), FitKind.UNIT_AXES),
        ((1, 3, 3, 3), "nchw", (3, 3, 3), FitKind.EXACT),  # nothing tells the layouts apart: taken as it is
        ((2, 1, 128), None, (2, 1, 128), FitKind.EXACT),
        ((1,), None, (), FitKind.EXACT),
        ((), None, (), FitKind.EXACT),
    ],
)
def test_rows_that_fit(shape, layout, row, kind):
    """A row fits plainly, by a known layout, or up to axes of length 1."""
    fit = fit_shape(spec(shape, layout=layout), row)
    assert fit is not None and fit.kind is kind


@pytest.mark.parametrize(
    ("shape", "layout", "row"),
    [
        ((1, 3, 4, 5), None, (4, 5, 3)),  # layout unknown: no guess
        ((1, 4, 5, 3), "nchw", (3, 4, 5)),  # fits only against the stated layout
        ((2, 1, 128), None, (1, 128)),  # its first axis is no batch of 1
        ((1, 3, 4, 5), "nchw", (3, 5, 4)),
        ((1, 3, 4, 5), "nchw", (60,)),  # same number of elements is not enough
        ((1, 3, 4, 5), "nchw", ()),
    ],
)
def test_rows_that_do_not_fit(shape, layout, row):
    """Nothing is transposed or reshaped on a guess."""
    assert fit_shape(spec(shape, layout=layout), row) is None


def test_adapt_moves_channels():
    """Channels-last pixels land where a channels-first input expects them."""
    target = spec((1, 3, 2, 5), layout="nchw")
    row = np.arange(30).reshape(2, 5, 3)
    fit = fit_shape(target, row.shape)
    assert fit is not None
    result = adapt(target, fit, row)
    assert result.shape == (1, 3, 2, 5)
    assert all(result[0, c, h, w] == row[h, w, c] for c in range(3) for h in range(2) for w in range(5))


def test_layout_error_names_both_layouts():
    """The message shows both shapes and says which layout is which."""
    message = str(explain_misfit(spec((1, 3, 224, 224)), (100, 224, 224, 3), "x", "a.npz"))
    assert message.startswith(
        "E0305 a.npz: array 'x' is [100,224,224,3]; input 'x' is [1,3,224,224]: "
        "channels-last data for a channels-first input."
    )
    reverse = str(explain_misfit(spec((1, 224, 224, 3)), (100, 3, 224, 224), "x", "a.npz"))
    assert "channels-first data for a channels-last input" in reverse


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((3, 224, 224), "It looks like one sample without the samples axis"),
        ((7, 9), "leaves 1 axes for 4"),
        ((10, 3, 32, 32), "the rest must be the input's shape"),
    ],
)
def test_shape_error_says_why(shape, text):
    """Each kind of misfit has its own reason, and the wanted shape is shown."""
    message = str(explain_misfit(spec((1, 3, 224, 224), layout="nchw"), shape, "x", "a.npz"))
    assert message.startswith("E0304") and text in message and "[samples,3,224,224]" in message


@pytest.mark.parametrize(
    ("array", "wanted", "text"),
    [
        ("O", np.float32, "never read"),
        ("f4", np.int32, "array 'a' is float32; input 'x' is int32"),
        ("U5", np.float32, "Only real numbers"),
        ("c8", np.float32, "Only real numbers"),
        ("M8[s]", np.float32, "Only real numbers"),
    ],
)
def test_dtypes_refused(array, wanted, text):
    """Pickles, floats for integers, and what is no real number are refused with the reason."""
    found = explain_dtype(spec((1,), wanted), np.dtype(array), "a", "f")
    assert found is not None and found.code == "E0306" and text in str(found)


@pytest.mark.parametrize("array", ["u1", "i8", "?", "f2", "f8", ">f4"])
def test_dtypes_accepted_by_float_inputs(array):
    """Whole numbers and floats of any width and byte order feed a float input."""
    assert explain_dtype(spec((1,)), np.dtype(array), "a", "f") is None
    result = cast(spec((2,)), np.array([0, 1], array), "f")
    assert result.dtype == np.float32 and result.dtype.isnative and result.tolist() == [0, 1]


def test_integers_out_of_range_are_refused():
    """A wrap-around would feed other indices than the file holds."""
    with pytest.raises(
        CompileError, match=r"E0307 f row 2: values -1\.\.70000 do not fit input 'x'\. int16 holds"
    ):
        cast(spec((2,), np.int16), np.array([-1, 70000]), "f row 2")
    assert cast(spec((2,), np.int16), np.array([-1, 7000]), "f").tolist() == [-1, 7000]
    with pytest.raises(CompileError, match="bool holds 0"):
        cast(spec((2,), np.bool_), np.array([0, 2]), "f")


@pytest.mark.parametrize(
    ("shape", "layout", "axis"),
    [
        ((1, 3, 8, 8), None, 1),
        ((1, 8, 8, 1), None, 3),
        ((1, 3, 8, 3), None, None),
        ((1, 16, 8, 8), None, None),
        ((1, 16, 8, 8), "nchw", 1),
        ((1, 3, 8, 8), "nhwc", 3),
        ((1, 3), None, None),
    ],
)
def test_channel_axis(shape, layout, axis):
    """A stated layout decides; a shape only where one reading has 1 or 3 channels."""
    assert channel_axis(spec(shape, layout=layout)) == axis
