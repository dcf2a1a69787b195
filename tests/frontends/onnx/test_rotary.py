"""RotaryEmbedding against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model

POSITIONS = np.array([[0, 4, 2], [1, 1, 6]], np.int64)


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _angles(*shape: int) -> dict[str, Array]:
    angles = _random(*shape, seed=1)
    return {"cos": np.cos(angles), "sin": np.sin(angles)}


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("turned", [0, 4])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_positions_pick_angles(interleaved: int, turned: int, packed: bool, constant: bool) -> None:
    """Halves or neighbours are turned, all of a head or its first entries, in both shapes of input."""
    x = _random(2, 3, 4 * 8) if packed else _random(2, 4, 3, 8)
    cache = _angles(7, (turned or 8) // 2)
    names = ["x", "cos", "sin", "positions"]
    rest = {**cache, "positions": POSITIONS}
    inputs = {"x": x} if constant else {"x": x, **rest}
    heads = {"num_heads": 4} if packed else {}
    proto = node_model(
        "RotaryEmbedding",
        inputs,
        constants=rest if constant else None,
        order=names,
        opset=23,
        interleaved=interleaved,
        rotary_embedding_dim=turned,
        **heads,
    )
    check_against_onnxruntime(proto, inputs)


def test_angles_for_each_token() -> None:
    """Without positions the cache has a row for every token."""
    inputs = {"x": _random(2, 4, 3, 8), **_angles(2, 3, 4)}
    check_against_onnxruntime(node_model("RotaryEmbedding", inputs, opset=23), inputs)


def test_missing_heads_are_refused() -> None:
    """A packed input does not say how many heads it has."""
    inputs = {"x": _random(2, 3, 32), **_angles(2, 3, 4)}
    proto = node_model("RotaryEmbedding", inputs, opset=23, num_heads=5)
    with pytest.raises(CompileError, match="num_heads 5"):
        import_model(proto)
