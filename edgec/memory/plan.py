"""Where each runtime's planner puts the activations of a graph, and how large the arena becomes.

Both planners are greedy: the largest buffer first, each into a gap between those placed before that are in
memory at the same time. TensorFlow Lite Micro takes the first gap that fits, LiteRT the tightest.

Not counted: what kernels ask for besides tensors (im2col, scratch), TFLM's bookkeeping at the other end of
its arena, and XNNPACK, which plans the tensors inside its partitions itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgec.ir import Graph
from edgec.memory.lifetimes import Buffer, litert_buffers, tflm_buffers

LITERT_ALIGNMENT = 64
TFLM_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Peak:
    """The node at which most bytes are in memory, by the name of its first result, and how many."""

    bytes: int
    node: str


@dataclass(frozen=True, slots=True)
class ArenaPlan:
    """Arena bytes and each tensor's offset in it; no plan is below `lower_bound`, met at `peak_node`."""

    total_bytes: int
    offsets: Mapping[str, int]
    peak_node: str
    lower_bound: int


def plan_litert(graph: Graph) -> ArenaPlan:
    """Plan as LiteRT does for its builtin kernels: tightest gap, 64-byte alignment, in-place kernels.

    Buffers that live for the whole run come first, then the others by size, then by first use.
    """
    buffers = litert_buffers(graph)
    order = sorted(buffers, key=lambda b: (0, 0, 0) if b.whole_run else (1, -b.size, b.first))
    placed = _place(order, LITERT_ALIGNMENT, tightest=True)
    return _plan(graph, buffers, placed)


def plan_tflm(graph: Graph) -> ArenaPlan:
    """Plan as TFLM's greedy planner does: first gap, 16-byte steps; this is the head of its arena."""
    buffers = [replace(b, size=_aligned(b.size, TFLM_ALIGNMENT)) for b in tflm_buffers(graph)]
    # the planner fills its list from the end before it sorts: among equal sizes the newest goes first
    order = sorted(buffers, key=lambda b: b.size)
    order.reverse()
    placed = _place(order, TFLM_ALIGNMENT, tightest=False)
    return _plan(graph, buffers, placed)


def plan_for(profile: str, graph: Graph) -> ArenaPlan:
    """Return the plan of a kernel-library profile's runtime."""
    return plan_tflm(graph) if profile == "tflm" else plan_litert(graph)


def lower_bound(graph: Graph) -> int:
    """Return the most bytes of activations that must be in memory at once, in this order of nodes."""
    return activation_peak(graph).bytes


def activation_peak(graph: Graph) -> Peak:
    """Return where and how high the activations peak: results and whatever is read at or after a node."""
    return _peak(graph, tflm_buffers(graph))


def _plan(graph: Graph, buffers: Sequence[Buffer], placed: Mapping[Buffer, int]) -> ArenaPlan:
    peak = _peak(graph, buffers)
    offsets = {name: placed[buffer] for buffer in buffers for name in buffer.names}
    total = max((offset + buffer.size for buffer, offset in placed.items()), default=0)
    return ArenaPlan(total, offsets, peak.node, peak.bytes)


def _peak(graph: Graph, buffers: Sequence[Buffer]) -> Peak:
    """Sweep over the nodes: what starts at a node adds, what ended at the one before goes."""
    change = [0] * (len(graph) + 1)
    for buffer in buffers:
        change[buffer.first] += buffer.size
        if buffer.last + 1 < len(change):
            change[buffer.last + 1] -= buffer.size
    best, live = Peak(0, ""), 0
    for node, delta in zip(graph, change, strict=False):
        live += delta
        if live > best.bytes:
            best = Peak(live, node.results[0].name if node.results else node.kind)
    return best


def _place(order: Sequence[Buffer], alignment: int, *, tightest: bool) -> dict[Buffer, int]:
    placed: dict[Buffer, int] = {}
    for buffer in order:
        busy = sorted(
            (offset, offset + other.size) for other, offset in placed.items() if other.overlaps(buffer)
        )
        placed[buffer] = _gap(busy, buffer.size, alignment, tightest)
    return placed


def _gap(busy: Sequence[tuple[int, int]], size: int, alignment: int, tightest: bool) -> int:
    """Return the first or the tightest gap of `size` bytes between busy spans, else their end."""
    end, best, best_room = 0, None, 0
    for start, stop in busy:
        at = _aligned(end, alignment)
        if at + size <= start and (best is None or start - at < best_room):
            best, best_room = at, start - end
            if not tightest:
                return at
        end = max(end, stop)
    return best if best is not None else _aligned(end, alignment)


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
