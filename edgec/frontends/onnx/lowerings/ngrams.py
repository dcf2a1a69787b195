"""TfIdfVectorizer on numbers: how often each n-gram of a pool occurs, also with gaps between its parts.

n-gram (a, b) at distance d:   Σ_i  x[i] = a  and  x[i + d] = b        d = 1 … max_skip_count + 1
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import compute
from edgec.frontends.onnx.lowerings.matmul import fully_connected
from edgec.frontends.onnx.lowerings.movement import concatenated, sliced
from edgec.frontends.onnx.registry import lowers
from edgec.ir import Array, DType, Value
from edgec.ops.reduce import ReducerAttributes


@lowers("TfIdfVectorizer")
def tf_idf_vectorizer(ctx: LoweringContext) -> Value:
    """Counts, or whether there are any (IDF), times weights, at the places that `ngram_indexes` names."""
    pool = ctx.ints("pool_int64s")
    if not pool:
        raise LoweringError(
            "works on strings",
            "No TFLite kernel computes with strings.",
            "Do this step outside of the model and feed it numbers.",
        )
    x = ctx.input(0)
    rows = ctx.build.reshape(x, [1, *x.shape]) if x.type.rank == 1 else x
    grams = _grams(ctx, np.asarray(pool, np.int64))
    counts = concatenated(ctx.build, [_counts(ctx, rows, group) for group in grams], 1)
    if ctx.string("mode") == "IDF":
        counts = ctx.build.op("minimum", [counts, ctx.build.constant(1.0)])
    vectors = fully_connected(ctx.build, counts, ctx.build.constant(_placement(ctx, counts.shape[1])), None)
    return ctx.build.reshape(vectors, [*x.shape[:-1], vectors.shape[1]])


def _grams(ctx: LoweringContext, pool: Array) -> list[Array]:
    """Return the pool's n-grams as one int64 matrix [grams, n] for each n."""
    starts = [*(ctx.ints("ngram_counts") or []), pool.size]
    groups = [pool[start:end] for start, end in pairwise(starts)]
    return [group.reshape(-1, n + 1) for n, group in enumerate(groups) if group.size]


def _counts(ctx: LoweringContext, rows: Value, grams: Array) -> Value:
    """Return float32 [rows, grams]: how often each n-gram occurs in each row."""
    count, n = grams.shape
    wanted = ctx.int("min_gram_length") <= n <= ctx.int("max_gram_length")
    distances = range(1, ctx.int("max_skip_count") + 2) if n > 1 else [1]
    total = ctx.build.constant(np.zeros((rows.shape[0], count), np.float32))
    for distance in distances:
        positions = rows.shape[1] - (n - 1) * distance
        if wanted and positions > 0:
            found = _occurrences(ctx, rows, grams, distance, positions)
            total = ctx.build.op("add", [total, found])
    return total


def _occurrences(ctx: LoweringContext, rows: Value, grams: Array, distance: int, positions: int) -> Value:
    build, match = ctx.build, None
    for part in range(grams.shape[1]):
        entries = sliced(build, rows, 1, part * distance, positions)
        entries = build.reshape(entries, [rows.shape[0], positions, 1])
        equal = compute(ctx, "equal", entries, build.constant(grams[:, part].astype(rows.dtype.numpy)))
        match = equal if match is None else build.op("logical_and", [match, equal])
    assert match is not None
    return build.op("sum", [ctx.cast(match, DType.FLOAT32), build.constant([1])], ReducerAttributes())


def _placement(ctx: LoweringContext, grams: int) -> Array:
    """Return float32 [places, grams]: the weight of each n-gram at its place."""
    places = ctx.ints("ngram_indexes") or []
    weights = ctx.floats("weights")
    if len(places) != grams or (weights is not None and len(weights) != grams):
        raise LoweringError(
            f"has {len(places)} places for {grams} n-grams",
            "Each has one, and a weight where there are weights.",
            "Correct ngram_indexes or weights.",
        )
    matrix = np.zeros((max(places) + 1, grams), np.float32)
    matrix[places, np.arange(grams)] = 1 if weights is None or ctx.string("mode") == "TF" else weights
    return matrix
