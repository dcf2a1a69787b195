"""A transpose before a flattening fully_connected moves into its weights."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Value
from edgec.ops import Builder
from edgec.ops.matmul import FullyConnectedAttributes
from edgec.passes.fuse import FOLD_TRANSPOSES
from edgec.passes.fuse.transposed_weights import FoldTransposeIntoFullyConnected
from tests.support.ir_graphs import Body, make_model, ramp, reasons, rewritten, run

SUMS = 1e-6
"""The same products are added in another order."""


def head(b: Builder, x: Value, depth: int, keep: bool = False) -> Value:
    weights, bias = b.constant(ramp(5, depth)), b.constant(ramp(5))
    attributes = FullyConnectedAttributes(keep_num_dims=keep)
    return b.op("fully_connected", [x, weights, bias], attributes)


def flattened(b: Builder, x: Value) -> Value:
    """[1, H, W, C] flattened as C, H, W: what a model trained channels-first does."""
    return head(b, b.reshape(b.transpose(x, [0, 3, 1, 2]), [x.shape[0], 24]), 24)


@pytest.mark.parametrize("batch", [1, 2])
def test_flatten_channels_first(batch: int) -> None:
    result = rewritten(FOLD_TRANSPOSES, flattened, (batch, 2, 3, 4), rtol=SUMS)
    assert result.kinds == ["reshape", "fully_connected"]


def test_columns_go_to_their_elements() -> None:
    """Weights that pick column 1 of C, H, W order, which is H, W, C position (0, 1, 0) = 4."""

    def body(b: Builder, x: Value) -> Value:
        weights = np.zeros((1, 24), np.float32)
        weights[0, 1] = 1.0
        flat = b.reshape(b.transpose(x, [0, 3, 1, 2]), [1, 24])
        return b.op("fully_connected", [flat, b.constant(weights), None])

    model = make_model(body, (1, 2, 3, 4))
    FOLD_TRANSPOSES.run(model)
    (y,) = run(model, [np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)])
    assert y.tolist() == [[4.0]]


def test_activations_and_reshapes_may_stand_between() -> None:
    def body(b: Builder, x: Value) -> Value:
        x = b.op("tanh", [b.transpose(x, [0, 3, 1, 2])])
        x = b.op("relu", [b.reshape(x, [1, 4, 6])])
        return head(b, b.reshape(x, [1, 24]), 24)

    result = rewritten(FOLD_TRANSPOSES, body, (1, 2, 3, 4), rtol=SUMS)
    assert result.kinds == ["tanh", "relu", "reshape", "fully_connected"]


def test_rows_of_a_kept_axis() -> None:
    """Within rows of [2, 12] the transpose moves only what one row holds."""

    def body(b: Builder, x: Value) -> Value:
        return head(b, b.reshape(b.transpose(x, [0, 1, 3, 2]), [1, 2, 12]), 12, keep=True)

    result = rewritten(FOLD_TRANSPOSES, body, (1, 2, 3, 4), rtol=SUMS)
    assert result.kinds == ["reshape", "fully_connected"]


def test_shared_weights_keep_their_data() -> None:
    data = ramp(5, 24)

    def body(b: Builder, x: Value) -> list[Value]:
        weights = b.constant(data)
        moved = b.reshape(b.transpose(x, [0, 3, 1, 2]), [1, 24])
        flat = b.reshape(x, [1, 24])
        return [b.op("fully_connected", [value, weights, None]) for value in (moved, flat)]

    original = data.copy()
    result = rewritten(FOLD_TRANSPOSES, body, (1, 2, 3, 4), rtol=SUMS)
    assert "transpose" not in result.kinds
    np.testing.assert_array_equal(data, original)


def shared(b: Builder, x: Value) -> list[Value]:
    y = b.transpose(x, [0, 3, 1, 2])
    return [head(b, b.reshape(y, [1, 24]), 24), b.op("abs", [y])]


def between_rows(b: Builder, x: Value) -> Value:
    return head(b, b.reshape(b.transpose(x, [0, 2, 1, 3]), [6, 4]), 4)


def with_slopes(b: Builder, x: Value) -> Value:
    y = b.op("prelu", [b.transpose(x, [0, 3, 1, 2]), b.constant(ramp(4, 1, 1))])
    return head(b, b.reshape(y, [1, 24]), 24)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (shared, "no transpose of known shape stands before it in an unshared chain"),
        (between_rows, "the transpose moves elements between rows"),
        (with_slopes, "no transpose of known shape stands before it in an unshared chain"),
    ],
)
def test_rule_says_why_it_does_not_fire(body: Body, reason: str) -> None:
    """A slope a channel belongs to the transposed axes, so it cannot be applied before."""
    assert reasons(FoldTransposeIntoFullyConnected(), body, (1, 2, 3, 4)) == [reason]
