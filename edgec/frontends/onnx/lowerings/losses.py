"""Losses over class labels: −weight[c] · log p[c] of each sample's class c, alone, summed or averaged.

Scores become [N, places, C]. Classes are compared with 0 … C - 1, so a label that is ignored or is no class
reads nothing.
"""

from __future__ import annotations

from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import number
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops.reduce import ReducerAttributes


@lowers("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(ctx: LoweringContext) -> Value:
    """The loss of log probabilities."""
    _check_labels(ctx)
    return _loss(ctx, _classes_last(ctx))


@lowers("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(ctx: LoweringContext) -> list[Value | None]:
    """The loss of scores: log_softmax over the classes makes them log probabilities, the second result."""
    _check_labels(ctx)
    logarithms = ctx.build.op("log_softmax", [_classes_last(ctx)])
    loss = _loss(ctx, logarithms)
    if not ctx.wants_output(1):
        return [loss]
    return [loss, ctx.build.reshape(ctx.build.transpose(logarithms, [0, 2, 1]), ctx.input(0).shape)]


def _check_labels(ctx: LoweringContext) -> None:
    x, labels = ctx.input(0), ctx.input(1)
    if x.type.rank < 2 or labels.shape != (x.shape[0], *x.shape[2:]):
        raise LoweringError(
            f"has labels {list(labels.shape)} for scores {list(x.shape)}",
            "There is one label for each sample, and classes are the scores' axis 1.",
            "Correct the labels.",
        )


def _classes_last(ctx: LoweringContext) -> Value:
    """Return the scores [N, C, d...] as [N, places, C]."""
    x = ctx.input(0)
    flat = ctx.build.reshape(x, [*x.shape[:2], prod(x.shape[2:])])
    return ctx.build.transpose(flat, [0, 2, 1])


def _loss(ctx: LoweringContext, logarithms: Value) -> Value:
    """Return the node's reduction of the loss of log probabilities [N, places, C]."""
    build, weights = ctx.build, ctx.optional_input(2)
    chosen = _chosen(ctx, logarithms.shape[-1])
    weighted = logarithms if weights is None else build.op("mul", [logarithms, weights])
    zero = number(ctx, 0.0, logarithms)
    loss = build.op("select_v2", [chosen, build.op("neg", [weighted]), zero])
    loss = build.op("sum", [loss, build.constant([loss.type.rank - 1])], ReducerAttributes())
    reduction = ctx.string("reduction", "mean")
    if reduction == "none":
        return build.reshape(loss, ctx.input(1).shape)
    total = _total(ctx, loss)
    if reduction == "sum":
        return total
    one = build.constant(np.ones((), np.float32))
    share = build.op("select_v2", [chosen, one if weights is None else weights, zero])
    return build.op("div", [total, _total(ctx, share)])


def _chosen(ctx: LoweringContext, classes: int) -> Value:
    """Return bool [N, places, C]: where the class is the sample's label, and that is not to be ignored."""
    build, labels = ctx.build, ctx.input(1)
    steps = build.constant(np.arange(classes).astype(labels.dtype.numpy))
    labels = build.reshape(labels, [labels.shape[0], prod(labels.shape[1:]), 1])
    chosen = build.op("equal", [labels, steps])
    if not ctx.has("ignore_index"):
        return chosen
    kept = build.op("not_equal", [labels, number(ctx, ctx.int("ignore_index"), labels)])
    return build.op("logical_and", [chosen, kept])


def _total(ctx: LoweringContext, x: Value) -> Value:
    return ctx.build.op("sum", [x, ctx.build.constant(list(range(x.type.rank)))], ReducerAttributes())
