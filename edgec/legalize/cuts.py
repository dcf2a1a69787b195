"""Rules for ops that cut tensors: split, gather and strided_slice become plain slices.

XNNPACK takes SLICE with constant begin and size up to rank 6, a SPLIT of at most four results, a
STRIDED_SLICE with strides of 1 that drops no axis, and no GATHER.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.legalize.moves import XNNPACK_MAX_RANK, Library, Moves, refusal
from edgec.ops import Builder, InferenceError
from edgec.ops.infer import expect, int_list, normalized_axis
from edgec.ops.slicing import GatherAttributes, strided_ranges
from edgec.rewrite import NoMatch, no_match

XNNPACK_MAX_SPLITS = 4
MAX_RUNS = 5
"""A gather of more runs than one concatenation takes keeps its own kernel."""


@dataclass(frozen=True)
class DecomposeSplit:
    """split(x, n) → n slices, where XNNPACK takes no split of so many results."""

    limit: int = XNNPACK_MAX_SPLITS
    name: str = "decompose_split"
    kinds: tuple[str, ...] = ("split",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cut each part out with an explicit size."""
        count = len(node.results)
        if count <= self.limit:
            return no_match(f"{count} results are no more than {self.limit}")
        refused = refusal(node, ("slice",), "xnnpack")
        if refused is not None:
            return refused
        x = node.operand(1)
        if x.type.rank > XNNPACK_MAX_RANK:
            return no_match(f"rank {x.type.rank} is above XNNPACK's {XNNPACK_MAX_RANK}")
        axis = normalized_axis(int_list(node.operand(0).constant())[0], x.type.rank)
        moves, part = Moves.like(x, build), x.shape[axis] // count
        return [moves.take(x, axis, index * part, part) for index in range(count)]


@dataclass(frozen=True)
class DecomposeGather:
    """gather(x, [4, 5, 6, 0, 1]) → concat(x[4:7], x[0:2]): constant indices that form few runs."""

    library: Library = "xnnpack"
    max_runs: int = MAX_RUNS
    name: str = "decompose_gather"
    kinds: tuple[str, ...] = ("gather",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Cut the runs out, join them and give the axis the shape of the indices."""
        indices, x = node.operand(1), node.operand(0)
        if indices.data is None or not indices.data.size:
            return no_match("indices are not constant")
        options = expect(node.attributes, GatherAttributes)
        if options.batch_dims:
            return no_match("indices differ along batch axes")
        refused = refusal(node, ("slice", "concatenation", "reshape"), self.library)
        if refused is not None:
            return refused
        if max(x.type.rank, node.result.type.rank) > XNNPACK_MAX_RANK:
            return no_match(f"rank is above XNNPACK's {XNNPACK_MAX_RANK}")
        runs = _runs(int_list(indices.constant()))
        if len(runs) > self.max_runs:
            return no_match(f"indices form {len(runs)} runs, more than {self.max_runs}")
        axis, moves = normalized_axis(options.axis, x.type.rank), Moves.like(x, build)
        parts = [moves.take(x, axis, run.start, len(run)) for run in runs]
        joined = parts[0] if len(parts) == 1 else moves.concatenate(parts, axis)
        result = moves.reshape(joined, node.result.shape)
        return no_match("all of the operand is taken") if result is x else [result]


def _runs(indices: Sequence[int]) -> list[range]:
    runs = [range(indices[0], indices[0] + 1)]
    for index in indices[1:]:
        if index == runs[-1].stop:
            runs[-1] = range(runs[-1].start, index + 1)
        else:
            runs.append(range(index, index + 1))
    return runs


@dataclass(frozen=True)
class DecomposeStridedSlice:
    """x[:, ::2] → reshape(x, [N, W/2, 2])[:, :, 0]: a stride that divides its axis becomes an axis.

    Element `q * s + r` of an axis of size D stands at [q, r] of its [D/s, s] form, so a strided run is a box
    there. A stride of 1 stays a cut of its own axis; axes that the node drops go in the last reshape.
    """

    name: str = "decompose_strided_slice"
    kinds: tuple[str, ...] = ("strided_slice",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Split the strided axes, cut one box, give it the result's shape."""
        refused = refusal(node, ("slice", "reshape"), "xnnpack")
        if refused is not None:
            return refused
        x = node.operand(0)
        try:
            ranges = strided_ranges(node.operands, node.attributes)
        except (InferenceError, ValueError):
            return no_match("begin, end or strides are not constant")
        if all(r.step == 1 for r in ranges) and node.result.type.rank == x.type.rank:
            return no_match("XNNPACK takes it as it is")
        if any(len(r) > 1 and r.step < 0 for r in ranges) or not node.result.type.size:
            return no_match("a stride is negative")
        shape: list[int] = []
        begin: list[int] = []
        size: list[int] = []
        for dim, r in zip(x.shape, ranges, strict=True):
            step = r.step if len(r) > 1 else 1
            if dim % step:
                return no_match(f"an axis of {dim} does not divide by its stride {step}")
            divided = step > 1
            shape += [dim // step, step] if divided else [dim]
            begin += [r.start // step, r.start % step] if divided else [r.start]
            size += [len(r), 1] if divided else [len(r)]
        if len(shape) > XNNPACK_MAX_RANK:
            return no_match(f"needs rank {len(shape)}, above XNNPACK's {XNNPACK_MAX_RANK}")
        moves = Moves.like(x, build)
        box = moves.slice(moves.reshape(x, shape), begin, size)
        result = moves.reshape(box, node.result.shape)
        return no_match("all of the operand is taken") if result is x else [result]
