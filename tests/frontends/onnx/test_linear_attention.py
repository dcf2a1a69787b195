"""LinearAttention and CausalConvWithState against the recurrences that define them, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import import_model, node_model, run_ours

BATCH, STEPS, DEPTH, SIZE = 2, 5, 3, 4
NAMES = ["q", "k", "v", "state", "decay", "rate"]


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _inputs(rule: str, heads: int, group: int, *, wide_decay: bool = True) -> dict[str, Array]:
    inputs = {
        "q": _random(BATCH, STEPS, heads * group * DEPTH),
        "k": _random(BATCH, STEPS, heads * DEPTH, seed=1) / 2,
        "v": _random(BATCH, STEPS, heads * SIZE, seed=2),
    }
    if rule.startswith("gated"):
        width = heads * DEPTH if wide_decay else heads
        inputs["decay"] = -np.abs(_random(BATCH, STEPS, width, seed=4))
    if rule.endswith("delta"):
        inputs["rate"] = 1 / (1 + np.exp(_random(BATCH, STEPS, heads, seed=5)))
    return inputs


def _expected(inputs: dict[str, Array], rule: str, heads: int, scale: float) -> tuple[Array, Array]:
    """Return outputs and last state, step by step as the operator's definition says."""

    def unpacked(name: str, count: int) -> Array:
        x = inputs[name].astype(np.float64)
        return x.reshape(BATCH, STEPS, count, -1)

    q = unpacked("q", inputs["q"].shape[2] // DEPTH)
    k, v = unpacked("k", heads), unpacked("v", heads)
    group = q.shape[2] // heads
    state = inputs.get("state", np.zeros((BATCH, heads, DEPTH, SIZE))).astype(np.float64)
    outputs = []
    for t in range(STEPS):
        value = v[:, t]
        if rule.startswith("gated"):
            state = state * np.exp(unpacked("decay", heads)[:, t])[..., None]
        if rule.endswith("delta"):
            seen = np.einsum("bhkv,bhk->bhv", state, k[:, t])
            value = unpacked("rate", heads)[:, t] * (value - seen)
        state = state + k[:, t][..., None] * value[:, :, None]
        read = np.repeat(state, group, 1)
        outputs.append(scale * np.einsum("bhk,bhkv->bhv", q[:, t], read).reshape(BATCH, -1))
    return np.stack(outputs, 1), state


def _run(inputs: dict[str, Array], rule: str, heads: int, group: int, **attributes: object) -> list[Array]:
    last = max(NAMES.index(name) for name in inputs)
    order = [name if name in inputs else "" for name in NAMES[: last + 1]]
    proto = node_model(
        "LinearAttention",
        inputs,
        order=order,
        opset=27,
        outputs=2,
        update_rule=rule,
        q_num_heads=heads * group,
        kv_num_heads=heads,
        **attributes,
    )
    return run_ours(proto, inputs)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("past", [False, True])
def test_rules(rule: str, group: int, past: bool) -> None:
    """Every rule, from a first state or none, with queries that share a state."""
    inputs = _inputs(rule, 2, group)
    if past:
        inputs["state"] = _random(BATCH, 2, DEPTH, SIZE, seed=3)
    y, state = _run(inputs, rule, 2, group)
    expected, last = _expected(inputs, rule, 2, DEPTH**-0.5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state, last, rtol=1e-4, atol=1e-5)


def test_one_decay_for_a_head_and_scale() -> None:
    """Decay may have one number for each head; scale replaces 1 / √d_k."""
    inputs = _inputs("gated", 2, 1, wide_decay=False)
    y, _ = _run(inputs, "gated", 2, 1, scale=0.3)
    np.testing.assert_allclose(y, _expected(inputs, "gated", 2, 0.3)[0], rtol=1e-4, atol=1e-5)


def test_linear_rule_is_not_unrolled() -> None:
    """Without decay and correction all steps are a few products, however many there are."""
    inputs = _inputs("linear", 2, 1)
    proto = node_model(
        "LinearAttention", inputs, opset=27, outputs=2, update_rule="linear", q_num_heads=2, kv_num_heads=2
    )
    assert sum(node.kind == "batch_matmul" for node in import_model(proto).graph) == 4


def test_too_many_steps_are_refused() -> None:
    """Unrolled steps make the file long; the refusal says how to go on."""
    inputs = {name: _random(1, 300, 2) for name in ("q", "k", "v", "decay")}
    proto = node_model(
        "LinearAttention",
        inputs,
        order=["q", "k", "v", "", "decay"],
        opset=27,
        outputs=2,
        update_rule="gated",
        q_num_heads=1,
        kv_num_heads=1,
    )
    with pytest.raises(CompileError, match=r"300 times.*Feed the sequence in parts"):
        import_model(proto)


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("length", [1, 6])
def test_causal_convolution(past: bool, bias: bool, activation: str, length: int) -> None:
    """Each output sees its own and the k - 1 entries before; the last k - 1 entries are returned."""
    inputs = {"x": _random(2, 3, length), "w": _random(3, 1, 4, seed=1)}
    if bias:
        inputs["b"] = _random(3, seed=2)
    if past:
        inputs["past"] = _random(2, 3, 3, seed=3)
    names = ["x", "w", "b" if bias else "", "past"][: 4 if past else 3]
    order = names if names[-1] else names[:-1]
    proto = node_model("CausalConvWithState", inputs, order=order, opset=27, outputs=2, activation=activation)
    y, state = run_ours(proto, inputs)
    line = np.concatenate([inputs.get("past", np.zeros((2, 3, 3), np.float32)), inputs["x"]], 2)
    seen = np.lib.stride_tricks.sliding_window_view(line, 4, axis=2)
    expected = (seen * inputs["w"][:, 0][None, :, None]).sum(-1) + inputs.get("b", np.zeros(3))[:, None]
    if activation == "silu":
        expected = expected / (1 + np.exp(-expected))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(state, line[:, :, -3:])
