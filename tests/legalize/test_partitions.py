"""The report's sentences on why a node stays outside XNNPACK."""

from __future__ import annotations

import pytest

from edgec.legalize.partitions import explain_breaker
from edgec.ops import all_ops


@pytest.mark.parametrize(
    ("kind", "dtype", "sentence"),
    [
        ("RESIZE_NEAREST_NEIGHBOR", None, "XNNPACK has no RESIZE_NEAREST_NEIGHBOR operator."),
        (
            "average_pool_2d",
            "int8",
            "XNNPACK runs AVERAGE_POOL_2D for float32 and float16, not for int8.",
        ),
        (
            "split",
            "float32",
            "XNNPACK takes SPLIT only with at most 4 results, and rank 6 at most.",
        ),
        (
            "CONCATENATION",
            None,
            "XNNPACK takes CONCATENATION for float32, float16, int8 and uint8 only with at most 5 inputs, "
            "and rank 6 at most.",
        ),
        (
            "add",
            "int8",
            "XNNPACK takes ADD with static shapes up to rank 6 and constant parameters, and for int8 within "
            "limits on the ratio of scales; this node is outside of these.",
        ),
        (
            "whatever",
            None,
            "XNNPACK has no rule for WHATEVER that is known here; LiteRT's builtin kernel runs it.",
        ),
    ],
)
def test_sentences(kind: str, dtype: str | None, sentence: str) -> None:
    """Op kind or builtin name, with the element type where the caller knows it."""
    assert explain_breaker(kind, dtype) == sentence


def test_every_op_has_a_sentence() -> None:
    """No op of the registry falls through."""
    for kind in all_ops():
        assert explain_breaker(kind).endswith(".")
        assert "known here" not in explain_breaker(kind)
