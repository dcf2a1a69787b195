"""What TFLite cannot express is refused with its reason, and a next step."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgec.diagnostics import CompileError
from tests.support.onnx_models import graph_model, import_model, node_model


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"])
def test_random_numbers(op: str) -> None:
    """Nothing could show that a model with chance in it is right."""
    with pytest.raises(CompileError, match="draws random numbers") as caught:
        import_model(node_model(op, {"x": np.full((2, 3), 0.5, np.float32)}, opset=15))
    assert "Feed the numbers as an input" in str(caught.value)


def test_random_numbers_without_operands() -> None:
    """They are not folded into the model as if they were known."""
    node = helper.make_node("RandomNormal", [], ["y"], shape=[2])
    with pytest.raises(CompileError, match="draws random numbers"):
        import_model(graph_model([node], {}, ["y"]))


def test_image_files() -> None:
    """Pixels come from outside."""
    proto = node_model("ImageDecoder", {"x": np.zeros(8, np.uint8)}, opset=20)
    with pytest.raises(CompileError, match="decodes an image file"):
        import_model(proto)


@pytest.mark.parametrize("op", ["StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch"])
def test_strings(op: str) -> None:
    """The operator gives the reason itself, whatever it reads."""
    node = helper.make_node(op, ["x"] * (2 if op == "StringConcat" else 1), ["y"])
    with pytest.raises(CompileError, match="works on strings"):
        import_model(graph_model([node], {"x": np.zeros(2, np.int64)}, ["y"], opset=20))
