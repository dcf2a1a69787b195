"""The front end names what it cannot lower, and folds what only reads constants."""

import numpy as np
import pytest
from onnx import helper

from edgec.diagnostics import CompileError
from tests.support.onnx_models import graph_model, import_model


def test_every_unsupported_node_gets_its_own_diagnostic() -> None:
    """Two unsupported nodes, one behind the other, are both named before the compile stops."""
    x = np.zeros((1, 3), np.float32)
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["a"], name="first"),
        helper.make_node("Custom", ["a"], ["b"], name="second", domain="com.example"),
    ]
    with pytest.raises(CompileError) as caught:
        import_model(graph_model(nodes, {"x": x}, ["b"]))
    messages = [str(diagnostic) for diagnostic in caught.value.diagnostics]
    assert len(messages) == 2
    assert "node 'first' (StringNormalizer, opset 17)" in messages[0]
    assert "custom domain 'com.example'" in messages[1]
