"""One object holds every choice about an integer form; keywords are its fields."""

from __future__ import annotations

import pytest

from edgec.emit import emit
from edgec.ir import DType, Model
from edgec.quantize import IntegerScheme, int8_problems, quantize_int8, quantize_int16x8, quantize_integer
from tests.quantize.small_graphs import RELU6, Sketch, calibrated


def net() -> Model:
    sketch = Sketch()
    return sketch.model(sketch.conv(sketch.input(1, 6, 6, 3), 4, fused=RELU6, name="first"))


def test_keywords_are_the_fields_of_a_scheme() -> None:
    """Both ways make the same bytes, in either precision."""
    model = net()
    ranges = calibrated(model)
    for quantize, activations in ((quantize_int8, DType.INT8), (quantize_int16x8, DType.INT16)):
        by_keyword = quantize(model, ranges, per_axis=False, output_type=DType.FLOAT32)
        scheme = IntegerScheme(activations, per_axis=False, output_type=DType.FLOAT32)
        made = quantize_integer(model, ranges, scheme)
        assert emit(made).to_bytes() == emit(by_keyword).to_bytes()
        assert made.inputs[0].dtype is activations and made.outputs[0].dtype is DType.FLOAT32


def test_an_interface_type_that_no_kernel_has_is_refused_at_once() -> None:
    """uint8 is int8 shifted; beside int16 it has no meaning."""
    with pytest.raises(ValueError, match="uint8 inputs or outputs around int16 activations"):
        IntegerScheme(DType.INT16, input_type=DType.UINT8)


def test_a_word_that_is_no_choice_is_refused() -> None:
    """A misspelt keyword must not be silence."""
    with pytest.raises(TypeError, match="per_chanel"):
        quantize_int8(net(), {}, per_chanel=True)


def test_problems_know_the_names_of_a_scheme() -> None:
    """A name that means no node is found before any calibration."""
    (problem,) = int8_problems(net(), float_nodes=["nowhere"])
    assert problem.code == "E0425" and "nowhere" in str(problem)
    assert IntegerScheme(float_nodes=["nowhere"]).choices.named == {"nowhere"}
