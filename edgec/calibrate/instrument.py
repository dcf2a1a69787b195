"""The float model as calibration runs it: beside its own work it tells what observers want to know.

    x ── conv ── y ── …         y → reduce_min, reduce_max ──┐ concat ──▶ extremes of all tensors
                                y → every n-th pixel       ──┘ concat ──▶ a selection of their values

Reductions in the graph, right behind the node that makes a tensor, read it while it is still in the cache:
the delegate takes the whole graph in one piece, and memory is that of one plain run. Bringing whole tensors
out instead costs half as much again for reading them, and reductions at the graph's end a third (every
tensor lives until then). What the graph can do without is left out:

    y = pad/reshape/transpose(x)   has x's values; a watched pad could not fuse with its convolution
    y = relu(…), also fused        its smallest value counts as 0, which every quantized range contains
    y = x + c, x * c               has its extremes from those of x
    y is small                     all of its values come out, and their extremes with them

XNNPACK's reductions skip NaN. So the results of kinds that can make NaN from finite operands come out whole,
too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgec.calibrate.monotone import Step, step_of
from edgec.ir import Graph, Model, Node, Port, Value
from edgec.ops import Builder
from edgec.ops.conv import DepthwiseConv2DAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.quantize.roles import observed_values

_MOVES = frozenset({"reshape", "squeeze", "expand_dims", "transpose", "pad"})

_RECTIFIED = ("RELU", "RELU6", "RELU_0_TO_1")

# fmt: off
_FINITE = frozenset({
    "abs", "add", "average_pool_2d", "batch_matmul", "ceil", "concatenation", "conv_2d",
    "depth_to_space", "depthwise_conv_2d", "elu", "exp", "floor", "fully_connected", "gather", "gelu",
    "hard_swish", "leaky_relu", "logistic", "max_pool_2d", "maximum", "mean", "minimum", "mul", "neg",
    "pack", "pad", "prelu", "reduce_max", "reduce_min", "relu", "relu6", "relu_0_to_1", "relu_n1_to_1",
    "reshape", "resize_bilinear", "resize_nearest_neighbor", "round", "select_v2", "slice", "softmax",
    "space_to_depth", "split", "square", "squared_difference", "squeeze", "strided_slice", "sub", "sum",
    "tanh", "tile", "transpose", "transpose_conv", "unpack",
})
# fmt: on
"""Kinds whose results are never NaN for finite operands; an overflow to infinity shows in the extremes."""

SMALL = 256  # values: two reductions take longer than copying so many

_MOST_JOINED = 5  # operands of a concatenation that the delegate takes


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor that is watched itself: `size` of its values are kept of each sample, every `stride`-th."""

    value: Value
    size: int
    stride: int

    @property
    def is_complete(self) -> bool:
        """Whether all values are kept."""
        return self.size == self.value.type.size


@dataclass(frozen=True, slots=True)
class Plan:
    """What to watch and how.

    `reduced` tensors have their extremes taken inside the graph, but for those whose extremes follow from
    others by `steps`; `small` ones come out with all their values, joined; `whole` tensors and `inputs` are
    looked at one by one. `origin` says for each observed value which of these it has its values from, and
    `padded` which got zeros on the way.
    """

    reduced: tuple[Source, ...]
    small: tuple[Source, ...]
    whole: tuple[Source, ...]
    inputs: tuple[Source, ...]
    origin: dict[Value, Value]
    padded: frozenset[Value]
    steps: dict[Value, Step]

    @property
    def sources(self) -> tuple[Source, ...]:
        """All watched tensors; this is the order of their columns."""
        return (*self.reduced, *self.small, *self.whole, *self.inputs)


def plan_watch(graph: Graph, values_per_sample: int) -> Plan:
    """Decide how to watch what `quantize_int8` needs; at most about so many values per tensor and sample."""
    observed = observed_values(graph)
    origin = {value: _origin(value) for value in observed}
    roots = list(dict.fromkeys(origin.values()))
    sources = [_source(value, values_per_sample) for value in roots]
    inner = [source for source in sources if source.value.producer is not None]
    rest = [source for source in inner if not source.is_complete]
    reduced = [source for source in rest if _is_reducible(source.value)]
    return Plan(
        tuple(reduced),
        tuple(source for source in inner if source.is_complete),
        tuple(source for source in rest if not _is_reducible(source.value)),
        tuple(source for source in sources if source.value.producer is None),
        origin,
        frozenset(value for value in observed if _is_padded(value)),
        _steps(reduced),
    )


def instrumented(model: Model, plan: Plan) -> Model:
    """Return a copy of the model with outputs: lows and highs, if any; kept values, if any; `*whole`."""
    graph, copies = _copy(model.graph)
    behind = _builders_behind(graph)
    build = Builder(graph, source="calibration")
    outputs: list[Value] = []

    def watched(value: Value) -> tuple[Builder, Value]:
        copy = copies[value]
        return behind[copy.producer], copy

    if plan.reduced:
        lows = [_reduced(*watched(value), "reduce_min") for value in lows_wanted(plan)]
        highs = [_reduced(*watched(value), "reduce_max") for value in highs_wanted(plan)]
        outputs.append(_joined(build, [*lows, *highs]))
    kept = [_selected(*watched(s.value), s) for s in (*plan.reduced, *plan.small) if s.size]
    outputs += [_joined(build, kept)] if kept else []
    outputs += [copies[source.value] for source in plan.whole]
    graph.set_outputs(outputs)
    ports = [Port(value.name, value.shape, value.dtype) for value in outputs]
    return Model(graph, model.inputs, ports, model.subgraphs)


def _builders_behind(graph: Graph) -> dict[Node | None, Builder]:
    """Return for each node a builder right behind it: what it has made is in the cache there."""
    nodes: list[Node | None] = [*graph, None]
    return {node: Builder(graph, following, "calibration") for node, following in pairwise(nodes)}


def lows_wanted(plan: Plan) -> list[Value]:
    """Return the reduced tensors that can be negative and whose smallest value follows from nothing else."""
    return [value for value in highs_wanted(plan) if not _is_rectified(value)]


def highs_wanted(plan: Plan) -> list[Value]:
    """Return the reduced tensors whose extremes follow from nothing else."""
    return [source.value for source in plan.reduced if source.value not in plan.steps]


def _steps(reduced: Sequence[Source]) -> dict[Value, Step]:
    """Return the steps between watched tensors, in execution order.

    Of a rectified tensor that is reduced the smallest value is not known, only that it counts as 0.
    """
    exact: set[Value] = set()
    found: dict[Value, Step] = {}
    for value in (source.value for source in reduced):
        step = step_of(value)
        if step is not None and step.source in exact:
            found[value] = step
        if value in found or not _is_rectified(value):
            exact.add(value)
    return found


def _origin(value: Value) -> Value:
    while value.producer is not None and _only_moves(value.producer):
        value = value.producer.operand(0)
    return value


def _is_padded(value: Value) -> bool:
    node = value.producer
    return node is not None and _only_moves(node) and (node.kind == "pad" or _is_padded(node.operand(0)))


def _only_moves(node: Node) -> bool:
    return node.kind in _MOVES and not node.operand(0).is_constant


def _is_reducible(value: Value) -> bool:
    return value.producer is not None and value.producer.kind in _FINITE


def _is_rectified(value: Value) -> bool:
    node = value.producer
    assert node is not None
    fused = getattr(node.attributes, "fused_activation_function", None)
    return node.kind in ("relu", "relu6", "relu_0_to_1") or getattr(fused, "name", "") in _RECTIFIED


def _source(value: Value, most: int) -> Source:
    """Choose a stride over pixels (all channels of each) that keeps about `most` values."""
    size, (height, width, channels) = value.type.size, _as_image(value.shape)
    if size <= max(most, SMALL):
        return Source(value, size, 1)
    if not most:
        return Source(value, 0, 1)

    def kept(stride: int) -> int:
        return math.ceil(height / stride) * math.ceil(width / stride) * channels

    flat = height == 1 or width == 1
    stride = max(2, size // most if flat else math.isqrt(size // most))
    while kept(stride) > max(most, channels):
        stride += 1
    return Source(value, kept(stride), stride)


def _as_image(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return any shape as (height, width, channels): pixels are what the kernels can skip."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    if len(shape) < 3:
        return math.prod(shape), 1, 1
    return math.prod(shape[:-1]), 1, shape[-1]


def select(array: np.ndarray, source: Source) -> np.ndarray:
    """Return the kept values of a whole tensor, flat: the same that `_selected` keeps inside the graph."""
    if source.stride == 1:
        return array.reshape(-1)[: source.size]
    image = array.reshape(_as_image(source.value.shape))
    return image[:: source.stride, :: source.stride].reshape(-1)


def _selected(build: Builder, x: Value, source: Source) -> Value:
    """Keep every n-th pixel by a 1x1 depthwise convolution with ones: strided slices leave the delegate."""
    if source.stride > 1:
        height, width, channels = _as_image(x.shape)
        ones, zeros = np.ones((1, 1, 1, channels), np.float32), np.zeros(channels, np.float32)
        operands = [
            build.reshape(x, (1, height, width, channels)),
            build.constant(ones),
            build.constant(zeros),
        ]
        attributes = DepthwiseConv2DAttributes(stride_h=source.stride, stride_w=source.stride)
        x = build.op("depthwise_conv_2d", operands, attributes)
    return build.reshape(x, (source.size,))


def _reduced(build: Builder, x: Value, kind: str) -> Value:
    if len(x.shape) < 2 or x.shape[0] != 1:
        x = build.reshape(x, (1, x.type.size))
    return build.op(kind, [x, build.constant(list(range(1, len(x.shape))))])


def _joined(build: Builder, parts: Iterable[Value]) -> Value:
    level = list(parts)
    while len(level) > 1:
        groups = [level[start : start + _MOST_JOINED] for start in range(0, len(level), _MOST_JOINED)]
        level = [
            build.op("concatenation", group, ConcatenationAttributes(0)) if len(group) > 1 else group[0]
            for group in groups
        ]
    return level[0]


def _copy(graph: Graph) -> tuple[Graph, dict[Value, Value]]:
    """Return the same nodes in a new graph, and the new value of each old one; constants are shared."""
    copied = Graph(graph.name)
    values = {value: copied.add_input(value.name, value.type) for value in graph.inputs}
    for node in graph:
        for result in node.results:
            values[result] = Value(copied.unique_name(result.name), result.type)
        operands = [value and values.get(value, value) for value in node.operands]
        results = [values[result] for result in node.results]
        copied.insert(Node(node.kind, operands, results, node.attributes, node.source))
    return copied, values
