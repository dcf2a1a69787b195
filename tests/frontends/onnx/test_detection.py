"""Chosen boxes are those of onnxruntime, in its order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours


def check(feeds: dict[str, Array], settings: dict[str, Array], *, known: bool, **attributes: int) -> None:
    """Compare with onnxruntime; the settings are constants or computed when the model runs."""
    inputs, constants = (feeds, settings) if known else ({**feeds, **settings}, {})
    proto = node_model("NonMaxSuppression", inputs, constants=constants, **attributes)
    check_against_onnxruntime(proto, inputs, rtol=0, atol=0)


def thresholds(most: int, overlap: float, score: float) -> dict[str, Array]:
    return {
        "most": np.array([most], np.int64),
        "overlap": np.array([overlap], np.float32),
        "score": np.array([score], np.float32),
    }


@given(st.data())
@settings(max_examples=40, derandomize=True, deadline=None)
def test_random_boxes(data: st.DataObject) -> None:
    """Any number of images and classes; corners in any order, or centres with sizes; limits known or not."""
    images, classes, boxes = (data.draw(st.integers(1, most)) for most in (2, 3, 9))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    feeds = {
        "boxes": generator.random((images, boxes, 4), np.float32),
        "scores": generator.random((images, classes, boxes), np.float32),
    }
    settings = thresholds(
        data.draw(st.integers(1, 10)),
        data.draw(st.sampled_from([0.0, 0.1, 0.4, 0.9])),
        data.draw(st.sampled_from([0.0, 0.2, 0.7])),
    )
    centre = data.draw(st.integers(0, 1))
    check(feeds, settings, known=data.draw(st.booleans()), center_point_box=centre)


SQUARES = np.array([[[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0.5], [5, 5, 6, 6]]], np.float32)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("known", [True, False])
def test_an_overlap_of_exactly_the_threshold_stays(overlap: float, known: bool) -> None:
    """Overlaps of 1 and 0.5 are exact in float32; only larger ones than the threshold are dropped."""
    feeds = {"boxes": SQUARES, "scores": np.array([[[0.9, 0.8, 0.7, 0.6]]], np.float32)}
    check(feeds, thresholds(4, overlap, 0.0), known=known)


@pytest.mark.parametrize("centre", [0, 1])
def test_boxes_without_area_overlap_nothing(centre: int) -> None:
    """Padding is often all zeros: every such box is chosen, once."""
    boxes = np.array([[[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [2, 2, 2, 3], [0, 0, 1, 1]]], np.float32)
    feeds = {"boxes": boxes, "scores": np.array([[[0.9, 0.8, 0.7, 0.6, 0.5]]], np.float32)}
    check(feeds, thresholds(5, 0.5, 0.0), known=True, center_point_box=centre)


def test_a_score_of_exactly_the_threshold_goes() -> None:
    """Scores have to exceed it; 0.5 is exact."""
    feeds = {"boxes": SQUARES, "scores": np.array([[[0.5, 0.25, 0.75, 0.5]]], np.float32)}
    check(feeds, thresholds(4, 1.0, 0.5), known=True)


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_chosen(known: bool) -> None:
    """No rows are a result too."""
    feeds = {"boxes": SQUARES, "scores": np.full((1, 2, 4), 0.1, np.float32)}
    check(feeds, thresholds(4, 0.5, 0.9), known=known)


def test_without_thresholds_all_scores_count() -> None:
    """Negative ones too."""
    feeds = {"boxes": SQUARES, "scores": np.array([[[-0.5, -0.25, -0.75, -0.5]]], np.float32)}
    check(feeds, {"most": np.array([4], np.int64)}, known=True)


def test_without_a_limit_nothing_is_chosen() -> None:
    """ONNX's default of max_output_boxes_per_class is 0."""
    feeds = {"boxes": SQUARES, "scores": np.ones((1, 1, 4), np.float32)}
    model = import_model(node_model("NonMaxSuppression", feeds))
    assert len(model.graph) == 0
    assert model.graph.outputs[0].shape == (0, 3)


def test_scores_of_other_boxes_are_refused() -> None:
    """The error names both shapes."""
    feeds = {"boxes": SQUARES, "scores": np.ones((1, 1, 5), np.float32)}
    proto = node_model("NonMaxSuppression", feeds, constants={"most": np.array([1], np.int64)})
    with pytest.raises(CompileError, match=r"boxes \[1, 4, 4\] and scores \[1, 1, 5\]"):
        import_model(proto)


def test_the_number_of_rows_is_open() -> None:
    """One kernel call a class, one decoding for all."""
    feeds = {"boxes": SQUARES, "scores": np.ones((1, 3, 4), np.float32)}
    proto = node_model("NonMaxSuppression", feeds, constants=thresholds(2, 0.5, 0.1))
    model = import_model(proto)
    kinds = [node.kind for node in model.graph]
    assert kinds.count("non_max_suppression_v4") == 3
    assert kinds.count("floor_mod") == 2
    assert model.graph.outputs[0].shape == (-1, 3)
    assert run_ours(proto, feeds)[0].shape == (6, 3)
