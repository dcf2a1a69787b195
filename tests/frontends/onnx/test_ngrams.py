"""Counts of n-grams are whole numbers: exact."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgec.diagnostics import CompileError
from tests.support.onnx_models import check_against_onnxruntime, graph_model, import_model, node_model

POOL = {
    "ngram_counts": [0, 4],
    "ngram_indexes": [0, 1, 2, 3, 6, 5, 4],
    "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7],
}


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize("lengths", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("skips", [0, 1, 5])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_counts(
    mode: str, lengths: tuple[int, int], skips: int, weighted: bool, rows: int, dtype: type
) -> None:
    """Every mode, pairs with gaps, single numbers counted once whatever the gaps."""
    x = np.array([1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8], dtype)
    x = x if rows == 1 else x.reshape(2, 6)
    attributes: dict[str, object] = {"mode": mode, "max_skip_count": skips, **POOL}
    if weighted:
        attributes["weights"] = [0.5, 2.0, 1.0, 4.0, 0.25, 8.0, 3.0]
    low, high = lengths
    proto = node_model("TfIdfVectorizer", {"x": x}, min_gram_length=low, max_gram_length=high, **attributes)
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)


def test_strings_are_refused() -> None:
    """A pool of strings has no numbers to compare with."""
    node = helper.make_node(
        "TfIdfVectorizer",
        ["x"],
        ["y"],
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        ngram_counts=[0],
        ngram_indexes=[0],
        pool_strings=["a"],
    )
    with pytest.raises(CompileError, match="works on strings"):
        import_model(graph_model([node], {"x": np.zeros(4, np.int64)}, ["y"]))
