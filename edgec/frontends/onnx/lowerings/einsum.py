"""Einsum: any equation, one pair of operands at a time.

    operand  ii…   → its diagonal                    gather of every (n + 1)-th entry of two merged axes
    operand  …k…   → sum over k                      where no other operand and not the result names k
    a, b           → batch_matmul(a, b)              a = [both, only a, shared], b = [both, shared, only b]
                     or fully_connected              where one is constant and no axis is a batch axis
                     or mul                          where nothing is summed over

An axis of size 1 against a larger one under the same label is dropped: its operand is constant along it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute_type
from edgec.frontends.onnx.lowerings.matmul import multiply, reshaped
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Value
from edgec.ops.matmul import BatchMatMulAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.slicing import GatherAttributes

_ELLIPSIS = "..."


@dataclass(frozen=True, slots=True)
class _Term:
    """A value and the label of each of its axes."""

    value: Value
    labels: tuple[str, ...]

    def size(self, label: str) -> int:
        """Return the dimension under a label."""
        return self.value.shape[self.labels.index(label)]


@lowers("Einsum")
def einsum(ctx: LoweringContext) -> Value:
    """Sum of products over the labels that the result does not name."""
    values = [ctx.input(index) for index in range(len(ctx.inputs))]
    dtype = values[0].dtype
    values = [ctx.cast(value, compute_type(dtype)) for value in values]
    operands, result = parse_equation(ctx.string("equation"), [value.type.rank for value in values])
    terms = [_Term(value, labels) for value, labels in zip(values, operands, strict=True)]
    terms = _without_unit_axes(ctx, [_diagonal(ctx, term) for term in terms])
    while len(terms) > 1:
        first, second = _cheapest_pair(terms, result)
        others = [term for term in terms if term is not first and term is not second]
        terms = [*others, _contracted(ctx, first, second, _named(others, result))]
    total = _summed(ctx, terms[0], set(result))
    return ctx.cast(_arranged(ctx, total, [[label] for label in result]), dtype)


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return the labels of each operand's axes and of the result's; axes under "..." are "0", "1", … .

    The last axis under an ellipsis is "0" in every operand: they align at the end, as in broadcasting.
    LoweringError where the equation does not fit operands of these ranks.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    words = left.split(",")
    if len(words) != len(ranks):
        raise _misfit(equation, f"it names {len(words)} operands, the node has {len(ranks)}")
    operands = [_spelled_out(equation, word, rank) for word, rank in zip(words, ranks, strict=True)]
    used = Counter(label for labels in operands for label in labels)
    hidden = tuple(str(axis) for axis in reversed(range(sum(label.isdigit() for label in used))))
    if not arrow:
        once = sorted(label for label, count in used.items() if count == 1 and not label.isdigit())
        return operands, (*hidden, *once)
    before, dots, after = right.partition(_ELLIPSIS)
    result = (*before, *(hidden if dots else ()), *after)
    if len(set(result)) < len(result) or any(label not in used for label in result):
        raise _misfit(equation, "the result names a label twice, or one that no operand has")
    return operands, result


def _spelled_out(equation: str, word: str, rank: int) -> tuple[str, ...]:
    before, dots, after = word.partition(_ELLIPSIS)
    hidden = rank - len(before) - len(after)
    if hidden < 0 or (hidden and not dots) or (not (before + after).isalpha() and before + after):
        raise _misfit(equation, f"'{word}' does not fit an operand with {rank} axes")
    return (*before, *(str(axis) for axis in reversed(range(hidden))), *after)


def _misfit(equation: str, why: str) -> LoweringError:
    return LoweringError(f"cannot read the equation '{equation}'", f"In it, {why}.", "Correct the equation.")


def _diagonal(ctx: LoweringContext, term: _Term) -> _Term:
    """Leave one axis of each label: its entries with equal coordinates."""
    repeated = next((label for label, count in Counter(term.labels).items() if count > 1), None)
    if repeated is None:
        return term
    twins = [axis for axis, label in enumerate(term.labels) if label == repeated][:2]
    others = [axis for axis in range(len(term.labels)) if axis not in twins]
    sizes = {term.value.shape[axis] for axis in twins}
    if len(sizes) > 1:
        raise LoweringError(
            f"takes the diagonal of axes of sizes {sorted(sizes)}", "They have to agree.", "Correct it."
        )
    size = sizes.pop()
    x = ctx.build.transpose(term.value, [*others, *twins])
    x = ctx.build.reshape(x, [*x.shape[:-2], size * size])
    places = ctx.build.constant((np.arange(size) * (size + 1)).astype(np.int32))
    x = ctx.build.op("gather", [x, places], GatherAttributes(axis=len(others)))
    return _diagonal(ctx, _Term(x, (*(term.labels[axis] for axis in others), repeated)))


def _without_unit_axes(ctx: LoweringContext, terms: Sequence[_Term]) -> list[_Term]:
    """Drop axes of size 1 where another operand has more entries under the same label."""
    sizes: dict[str, int] = {}
    for term in terms:
        for label, dim in zip(term.labels, term.value.shape, strict=True):
            known = sizes.setdefault(label, dim)
            if known != dim and 1 not in (known, dim):
                raise LoweringError(
                    f"has sizes {known} and {dim} under one label", "They have to agree.", "Correct it."
                )
            sizes[label] = dim if known == 1 else known
    return [
        _kept(ctx, term, [label for label in term.labels if term.size(label) == sizes[label]])
        for term in terms
    ]


def _kept(ctx: LoweringContext, term: _Term, labels: Sequence[str]) -> _Term:
    """Return a term without its other axes, which have size 1."""
    return _Term(reshaped(ctx.build, term.value, [term.size(label) for label in labels]), tuple(labels))


def _named(terms: Sequence[_Term], result: Sequence[str]) -> set[str]:
    return {*result, *(label for term in terms for label in term.labels)}


def _cheapest_pair(terms: Sequence[_Term], result: Sequence[str]) -> tuple[_Term, _Term]:
    """Return the two terms whose product is smallest: greedy, and exact for any order."""

    def cost(pair: tuple[_Term, _Term]) -> int:
        kept = _named([term for term in terms if term not in pair], result)
        sizes = {label: term.size(label) for term in pair for label in term.labels}
        return prod(size for label, size in sizes.items() if label in kept)

    return min(combinations(terms, 2), key=cost)


def _summed(ctx: LoweringContext, term: _Term, kept: set[str]) -> _Term:
    """Sum over the labels that nobody else names."""
    axes = [axis for axis, label in enumerate(term.labels) if label not in kept]
    if not axes:
        return term
    summed = ctx.build.op("sum", [term.value, ctx.build.constant(axes)], ReducerAttributes(keep_dims=False))
    return _Term(summed, tuple(label for label in term.labels if label in kept))


def _contracted(ctx: LoweringContext, first: _Term, second: _Term, kept: set[str]) -> _Term:
    """Multiply two terms and sum over what they share and nobody else names."""
    first = _summed(ctx, first, kept | {*second.labels})
    second = _summed(ctx, second, kept | {*first.labels})
    if first.value.is_constant and not second.value.is_constant:
        first, second = second, first  # fully_connected wants the constant on its right
    both = [label for label in first.labels if label in second.labels]
    batch, shared = [[label for label in both if (label in kept) is wanted] for wanted in (True, False)]
    left = [label for label in first.labels if label not in both]
    right = [label for label in second.labels if label not in both]
    sizes = {label: term.size(label) for term in (first, second) for label in term.labels}
    if shared:
        product = _matrix_product(ctx, first, second, (batch, left, shared, right))
    else:
        factors = [_arranged(ctx, first, [batch, left, []]), _arranged(ctx, second, [batch, [], right])]
        product = ctx.build.op("mul", factors)
    labels = (*batch, *left, *right)
    return _Term(ctx.build.reshape(product, [sizes[label] for label in labels]), labels)


def _matrix_product(
    ctx: LoweringContext,
    first: _Term,
    second: _Term,
    groups: tuple[list[str], list[str], list[str], list[str]],
) -> Value:
    batch, left, shared, right = groups
    lead = [batch] if batch else []
    x = _arranged(ctx, first, [*lead, left, shared])
    transposed = second.labels == (*batch, *right, *shared)  # then its axes stay as they are
    if transposed and not second.value.is_constant and x.dtype.is_float:
        y = _arranged(ctx, second, [*lead, right, shared])
        return ctx.build.op("batch_matmul", [x, y], BatchMatMulAttributes(adj_y=True))
    return multiply(ctx.build, x, _arranged(ctx, second, [*lead, shared, right]))


def _arranged(ctx: LoweringContext, term: _Term, groups: Sequence[Sequence[str]]) -> Value:
    """Return a term with its axes in order of the groups, each group merged into one axis."""
    order = [term.labels.index(label) for group in groups for label in group]
    shape = [prod(term.size(label) for label in group) for group in groups]
    if term.value.data is None:
        return ctx.build.reshape(ctx.build.transpose(term.value, order), shape)
    data = np.ascontiguousarray(np.transpose(term.value.data, order).reshape(shape))
    return ctx.build.constant(data, name=term.value.name)
