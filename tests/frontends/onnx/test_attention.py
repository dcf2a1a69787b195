"""Attention: onnxruntime's numbers for heads, masks and caches; the specification's for the rest."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

INPUTS = ["q", "k", "v", "mask", "past_key", "past_value", "count"]


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _heads(q: int = 4, kv: int = 2, queries: int = 3, keys: int = 5) -> dict[str, Array]:
    return {
        "q": _random(2, q, queries, 8),
        "k": _random(2, kv, keys, 8, seed=1),
        "v": _random(2, kv, keys, 6, seed=2),
    }


def _order(inputs: dict[str, Array]) -> list[str]:
    last = max(INPUTS.index(name) for name in inputs)
    return [name if name in inputs else "" for name in INPUTS[: last + 1]]


def _run(inputs: dict[str, Array], *, opset: int = 24, outputs: int = 1, **attributes: object) -> list[Array]:
    names = _order(inputs)
    proto = node_model("Attention", inputs, order=names, opset=opset, outputs=outputs, **attributes)
    return run_ours(proto, inputs)


def _expected(inputs: dict[str, Array], allowed: Array | float = True, bias: Array | float = 0.0) -> Array:
    """Return the definition's result in float64; rows that see nothing are 0."""
    q, k, v = (inputs[name].astype(np.float64) for name in "qkv")
    repeats = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeats, 1), np.repeat(v, repeats, 1)
    scores = q @ k.transpose(0, 1, 3, 2) / sqrt(q.shape[-1]) + bias
    weights = np.where(allowed, np.exp(scores - scores.max(-1, keepdims=True)), 0.0)
    total = weights.sum(-1, keepdims=True)
    return (weights / np.where(total == 0, 1, total)) @ v


@pytest.mark.parametrize(("q", "kv"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("causal", [0, 1])
def test_heads(q: int, kv: int, causal: int) -> None:
    """Each key serves its own, a group's, or all queries; causal queries see no later key."""
    inputs = _heads(q, kv, 4, 4)
    proto = node_model("Attention", inputs, opset=23, is_causal=causal)
    check_against_onnxruntime(proto, inputs, rtol=1e-4, atol=1e-5)


def test_grouped_heads_repeat_no_key() -> None:
    """Queries that share keys are rows of one product."""
    kinds = [node.kind for node in import_model(node_model("Attention", _heads(), opset=23)).graph]
    assert kinds.count("batch_matmul") == 2
    assert not {"tile", "broadcast_to", "concatenation", "gather"} & set(kinds)


def test_packed_heads_with_scale_and_cap() -> None:
    """3-D inputs name their heads; scale replaces 1 / √size; softcap bounds the scores."""
    inputs = {"q": _random(2, 3, 32), "k": _random(2, 5, 16, seed=1), "v": _random(2, 5, 12, seed=2)}
    proto = node_model("Attention", inputs, opset=23, q_num_heads=4, kv_num_heads=2, scale=0.4, softcap=1.5)
    check_against_onnxruntime(proto, inputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5), (4, 3, 5), (1, 1, 3, 5), (2, 4, 3, 5), (2, 1, 1, 5)])
@pytest.mark.parametrize("kind", ["bool", "float", "-inf"])
@pytest.mark.parametrize("constant", [False, True])
def test_masks(shape: tuple[int, ...], kind: str, constant: bool) -> None:
    """Masks broadcast to [batch, heads, queries, keys]; false and -inf hide a key, numbers are added."""
    inputs = _heads()
    numbers = _random(*shape, seed=3)
    mask = numbers > -0.5 if kind == "bool" else numbers
    allowed = mask if kind == "bool" else np.ones(shape, np.bool_)
    if kind == "-inf":
        mask = np.where(numbers > -0.5, numbers, np.float32(-np.inf))
        allowed = np.isfinite(mask)
    feeds = inputs if constant else {**inputs, "mask": mask}
    proto = node_model(
        "Attention", feeds, constants={"mask": mask} if constant else None, order=INPUTS[:4], opset=23
    )
    bias = 0.0 if kind == "bool" else np.where(allowed, mask, 0)
    (y,) = run_ours(proto, feeds)
    np.testing.assert_allclose(y, _expected(inputs, allowed, bias), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("constant", [False, True])
def test_rows_that_see_nothing_are_zero(constant: bool) -> None:
    """A query whose keys are all hidden gives 0, not an average of what it may not see."""
    inputs, mask = _heads(), np.ones((3, 5), np.bool_)
    mask[1] = False
    feeds = inputs if constant else {**inputs, "mask": mask}
    constants = {"mask": mask} if constant else None
    proto = node_model("Attention", feeds, constants=constants, order=INPUTS[:4], opset=23)
    (y,) = run_ours(proto, feeds)
    assert not y[:, :, 1].any()
    np.testing.assert_allclose(y, _expected(inputs, mask), rtol=1e-4, atol=1e-5)


def test_short_mask_hides_the_keys_behind_it() -> None:
    """Keys beyond the mask's last axis are not seen."""
    inputs = _heads()
    mask = np.ones((3, 4), np.bool_)
    (y,) = _run({**inputs, "mask": mask})
    np.testing.assert_allclose(y, _expected(inputs, np.arange(5) < 4), rtol=1e-4, atol=1e-5)


def test_cache_comes_first_and_grows() -> None:
    """Past keys stand before the new ones, causal order counts from them, and both caches are returned."""
    inputs = {
        **_heads(queries=2, keys=2),
        "past_key": _random(2, 2, 3, 8, seed=4),
        "past_value": _random(2, 2, 3, 6, seed=5),
    }
    y, keys, values = _run(inputs, outputs=3, is_causal=1)
    np.testing.assert_array_equal(keys, np.concatenate([inputs["past_key"], inputs["k"]], 2))
    np.testing.assert_array_equal(values, np.concatenate([inputs["past_value"], inputs["v"]], 2))
    allowed = np.arange(5)[None, :] <= np.arange(2)[:, None] + 3
    expected = _expected({"q": inputs["q"], "k": keys, "v": values}, allowed)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_lengths_of_an_outer_cache() -> None:
    """nonpad_kv_seqlen hides each sample's padding and places its queries at the end of what is valid."""
    inputs = _heads()
    count = np.array([5, 3], np.int64)
    (y,) = _run({**inputs, "count": count}, is_causal=1)
    keys, queries = np.arange(5), np.arange(3)[:, None]
    allowed = np.stack([(keys <= queries + n - 3) & (keys < n) for n in count])[:, None]
    np.testing.assert_allclose(y, _expected(inputs, allowed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("counted", [False, True])
def test_windows(counted: bool) -> None:
    """A query at p sees keys from p - left to p + right; p counts from the cache."""
    inputs = _heads()
    count = np.array([5, 4], np.int64)
    feeds = {**inputs, "count": count} if counted else inputs
    (y,) = _run(feeds, opset=25, left_window_size=1, right_window_size=0)
    keys = np.arange(5)
    rows = []
    for n in count:
        place = np.arange(3)[:, None] + (n - 3 if counted else 0)
        valid = keys < n if counted else keys >= 0
        rows.append((keys >= place - 1) & (keys <= place) & valid)
    np.testing.assert_allclose(y, _expected(inputs, np.stack(rows)[:, None]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_scores_at_each_stage(mode: int) -> None:
    """0: scaled scores, 1: capped, 2: with mask (-inf where hidden), 3: probabilities."""
    inputs = _heads(2, 2)
    mask = _random(3, 5, seed=3) > -0.5
    names = ["q", "k", "v", "mask"]
    feeds = {**inputs, "mask": mask}
    proto = node_model(
        "Attention", feeds, order=names, opset=24, outputs=4, softcap=2.0, qk_matmul_output_mode=mode
    )
    scores = inputs["q"] @ inputs["k"].transpose(0, 1, 3, 2) / np.float32(sqrt(8))
    capped = 2 * np.tanh(scores / 2)
    masked = np.where(mask, capped, -np.inf)
    weights = np.exp(masked)
    expected = [scores, capped, masked, weights / weights.sum(-1, keepdims=True)][mode]
    np.testing.assert_allclose(run_ours(proto, feeds)[3], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"q": (1, 3, 2, 8), "k": (1, 2, 2, 8), "v": (1, 2, 2, 8)}, "multiple of theirs"),
        ({"q": (1, 2, 2, 8), "k": (1, 2, 2, 4), "v": (1, 2, 2, 8)}, "keys \\[1, 2, 2, 4\\]"),
        ({"q": (1, 2, 8), "k": (1, 2, 8), "v": (1, 2, 8)}, "q_num_heads and kv_num_heads"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(inputs: dict[str, tuple[int, ...]], words: str) -> None:
    """The refusal names the shapes and the rule."""
    arrays = {name: _random(*shape) for name, shape in inputs.items()}
    node = node_model(
        "Relu", {"q": arrays["q"]}, opset=23
    )  # shape inference would refuse the real node first
    node.graph.node[0].op_type = "Attention"
    node.graph.node[0].input[:] = ["q", "k", "v"]
    for name in ("k", "v"):
        info = node_model("Relu", {name: arrays[name]}, opset=23).graph.input[0]
        node.graph.input.append(info)
    with pytest.raises(CompileError, match=words):
        import_model(node)
