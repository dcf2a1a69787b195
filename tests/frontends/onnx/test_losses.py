"""Losses agree with onnxruntime to float32 rounding."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

RANDOM = np.random.default_rng(3)
SHAPES = [(3, 5), (2, 5, 4), (2, 5, 2, 3)]
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25, 3.0], np.float32)


def sample(shape: tuple[int, ...]) -> tuple[Array, Array]:
    scores = RANDOM.standard_normal(shape).astype(np.float32)
    labels = RANDOM.integers(0, shape[1], (shape[0], *shape[2:]))
    return scores, labels


@pytest.mark.parametrize("op", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("ignored", [None, 1, -1])
def test_loss(op: str, shape: tuple[int, ...], reduction: str, weighted: bool, ignored: int | None) -> None:
    """Every reduction, with and without weights; ignored labels (also no classes) count nowhere."""
    scores, labels = sample(shape)
    attributes: dict[str, object] = {"reduction": reduction}
    if ignored is not None:
        labels.reshape(-1)[[0, 2]] = ignored
        attributes["ignore_index"] = ignored
    constants = {"w": WEIGHTS} if weighted else {}
    feeds = {"x": scores, "t": labels}
    check_against_onnxruntime(node_model(op, feeds, constants=constants, **attributes), feeds)


def test_log_probabilities_are_the_second_result() -> None:
    """They come in the scores' own axes."""
    scores, labels = sample((2, 5, 2, 3))
    feeds = {"x": scores, "t": labels}
    check_against_onnxruntime(node_model("SoftmaxCrossEntropyLoss", feeds, outputs=2), feeds)


def test_infinite_scores_of_other_classes_do_not_spread() -> None:
    """What is not chosen is not multiplied by 0, which would make NaN of infinity."""
    x, labels = np.array([[-np.inf, -1.0]], np.float32), np.array([1])
    proto = node_model("NegativeLogLikelihoodLoss", {"x": x, "t": labels}, reduction="sum")
    np.testing.assert_array_equal(run_ours(proto, {"x": x, "t": labels})[0], 1.0)


def test_labels_of_another_shape_are_refused() -> None:
    """The error names both shapes."""
    feeds = {"x": np.zeros((2, 5), np.float32), "t": np.zeros(3, np.int64)}
    proto = node_model("NegativeLogLikelihoodLoss", {"x": feeds["x"]}, constants={"t": feeds["t"]})
    with pytest.raises(CompileError, match=r"labels \[3\] for scores \[2, 5\]"):
        import_model(proto)
