"""A tensor that is still to be read is not overwritten by what follows a reshape of it."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, Model, Value
from edgec.kernels import KernelSet
from edgec.legalize.shared_memory import WRITE_IN_PLACE, CopyBeforeReshape
from edgec.ops import Builder
from edgec.passes.contract import RulePass
from edgec.rewrite import Explanation, apply_rules
from tests.support.ir_graphs import kinds, make_model, run

PASS = RulePass("unshare_memory", (CopyBeforeReshape(),))
X = np.random.default_rng(0).uniform(0.2, 2, (2, 6)).astype(np.float32)


def step(build: Builder, kind: str, x: Value) -> Value:
    """Return a node of a kind on `x`, with a constant beside it where the kind takes two operands."""
    constant = build.constant(np.linspace(0.3, 2, x.type.size, dtype=np.float32).reshape(x.shape))
    return build.op(kind, [x] if kind == "softmax" else [x, constant])


def forked(first: str, second: str, *, later: bool = True) -> Model:
    """first → t → reshape → second, and a reader of t that runs later."""

    def body(build: Builder, x: Value) -> list[Value]:
        t = step(build, first, build.op("exp", [x]))
        branch = build.op("neg", [step(build, second, build.reshape(t, (3, 4)))])
        return [branch, build.op("neg", [t])] if later else [branch]

    return make_model(body, (2, 6))


def alone(first: str) -> Array:
    def body(build: Builder, x: Value) -> Value:
        return build.op("neg", [step(build, first, build.op("exp", [x]))])

    return run(make_model(body, (2, 6)), [X])[0]


@pytest.mark.parametrize("second", sorted(WRITE_IN_PLACE))
@pytest.mark.parametrize("first", sorted(WRITE_IN_PLACE))
@pytest.mark.parametrize("kernels", list(KernelSet))
def test_the_later_reader_sees_the_tensor(first: str, second: str, kernels: KernelSet) -> None:
    model = PASS.run(forked(first, second)).model
    assert kinds(model).count("slice") == 1
    np.testing.assert_allclose(run(model, [X], kernels)[1], alone(first), rtol=1e-6)


@pytest.mark.parametrize("second", sorted(WRITE_IN_PLACE))
@pytest.mark.parametrize("first", sorted(WRITE_IN_PLACE))
def test_the_fault_is_real(first: str, second: str) -> None:
    """Without the copy the installed LiteRT is wrong. Should this fail, the rule may be dropped."""
    assert not np.allclose(run(forked(first, second), [X])[1], alone(first), rtol=1e-3)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (forked("add", "softmax", later=False), "nobody else reads the operand"),
        (forked("pow", "softmax"), "the operand's memory is not another tensor's"),
        (forked("add", "pow"), "what reads the result does not write into it"),
    ],
)
def test_reason_where_it_does_not_fire(model: Model, reason: str) -> None:
    explanations: list[Explanation] = []
    before = kinds(model)
    apply_rules(model.graph, [CopyBeforeReshape()], explanations)
    assert kinds(model) == before
    assert any(reason in item.reason for item in explanations)
