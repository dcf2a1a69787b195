"""Lets a model take raw pixels: mean, std and the order of the colors become part of it.

    source    y = f(x)        x_c = factor_c * r_c' + shift_c       c' = c, or the opposite channel for BGR
    emitted   y = g(r)        r   = scale * (pixel - zero_point)    see `pixels`

    weights     w_c * x_c = (w_c * factor_c) * r_c'        exact, and under padding, too: zeros stay zeros
    bias        w_c * shift_c                              exact where no window sees padding, whose zeros
                                                           are `shift` away from what r = 0 stands for
    else        x = 1x1 convolution of r, in front of all that reads x

Which channel of which pixel an element is, is not derived from shapes: the numbers of the input's elements go
through every node that only moves data, and a node's weights change if all its windows agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.ir import Model, Node, Port, Value
from edgec.ops import Builder, Padding, spec_of
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.ops.spec import Constraint, Weights
from edgec.passes.canonicalize.matching import activation_of
from edgec.passes.contract import PassResult
from edgec.passes.elements import Numbers, moved
from edgec.passes.fuse.weighted import Wide, bias_of, fits_float32, weights_of, with_numbers
from edgec.passes.pixels import PixelInput
from edgec.rewrite import NoMatch, no_match

HALF_STEP = 0.5
"""What int8 may give away at the zeros of padding. A mean of 127.5 has no zero point of its own; quantizing
normalized pixels would round every one of them by half a step instead."""

_WEIGHTED = ("conv_2d", "depthwise_conv_2d", "fully_connected")


@dataclass(frozen=True, slots=True)
class Folded:
    """What became of one input's preprocessing.

    `nodes` got other weights. `front` is the convolution in front, where one is needed, and `why` says for
    what. `slip` is how far the zeros of padding are from their pixel now, in steps.
    """

    pixels: PixelInput
    nodes: tuple[str, ...] = ()
    front: str = ""
    why: str = ""
    slip: float = 0.0


@dataclass(frozen=True)
class FoldPreprocessing:
    """f((pixel - mean) / std) → g(scale * (pixel - zero_point))

    `largest_slip` is how many steps the zeros of padding may be away from their pixel; 0 is exact.
    """

    inputs: Sequence[PixelInput]
    largest_slip: float = 0.0
    name: str = "fold_preprocessing"

    def run(self, model: Model) -> PassResult:
        """Change what reads the inputs."""
        found = self.run_with_report(model)
        return PassResult(model, any(item.nodes or item.front for item in found))

    def run_with_report(self, model: Model) -> tuple[Folded, ...]:
        """Change what reads the inputs; say for each, in the model's order, what was done."""
        by_name = {pixels.name: pixels for pixels in self.inputs}
        ports = zip(model.inputs, list(model.graph.inputs), strict=True)
        images = [(port, value) for port, value in ports if port.name in by_name]
        return tuple(self._fold(model, value, port, by_name[port.name]) for port, value in images)

    def _fold(self, model: Model, value: Value, port: Port, pixels: PixelInput) -> Folded:
        if pixels.is_plain:
            return Folded(pixels)
        axis = port.permutation.index(pixels.axis) if port.permutation is not None else pixels.axis
        readers = _readers(model, value, axis, pixels, self.largest_slip)
        if isinstance(readers, NoMatch):
            return Folded(pixels, front=_put_in_front(model, value, axis, pixels), why=readers.reason)
        for reader in readers:
            reader.rewrite(Builder(model.graph, reader.node, reader.node.source), pixels)
        slip = pixels.slip if any(reader.sees_padding for reader in readers) else 0.0
        return Folded(pixels, tuple(reader.name for reader in readers), slip=slip)


def pixel_ranges(model: Model, inputs: Sequence[PixelInput]) -> dict[str, tuple[float, float]]:
    """Return the range of every tensor that shares its scale with an input of pixels.

    It is the whole range of pixels, whatever samples show of it: only then is a step of the scale a pixel.
    """
    by_name = {pixels.name: pixels for pixels in inputs}
    found: dict[Value, tuple[float, float]] = {
        value: by_name[port.name].range
        for port, value in zip(model.inputs, model.graph.inputs, strict=True)
        if port.name in by_name
    }
    for node in model.graph if found else ():
        known = {found[value] for value in node.operands if value in found}
        if len(known) == 1 and spec_of(node).quant.constraint is Constraint.SAME_SCALE:
            found.update(dict.fromkeys(node.results, known.pop()))
    return {value.name: span for value, span in found.items()}


@dataclass(frozen=True, slots=True)
class _Tables:
    """By number of an element, from 1 on: its channel, and the element that the device puts in its place."""

    channel: Numbers
    partner: Numbers

    @staticmethod
    def of(elements: Numbers, axis: int, pixels: PixelInput) -> _Tables:
        """Return the tables of an input; entry 0 is that of padding."""
        channel = np.empty_like(elements)
        channel[...] = np.arange(pixels.channels).reshape([-1 if a == axis else 1 for a in range(4)])
        partner = elements.take(pixels.order, axis)
        return _Tables(*(np.concatenate([[0], table.reshape(-1)]) for table in (channel, partner)))


@dataclass(frozen=True, slots=True)
class _Reader:
    """A node that multiplies the input's channels: by operand channel, which one it is and its partner's."""

    node: Node
    facts: Weights
    channel: Numbers
    partner: Numbers
    sees_padding: bool

    @property
    def name(self) -> str:
        """The node's name for people."""
        return _name(self.node)

    def numbers(self, pixels: PixelInput) -> tuple[Wide, Wide]:
        """Return the weights for r in place of x, and what the shifts add to the bias."""
        weights = self.node.operand(self.facts.operand).constant().astype(np.float64)
        repeats = weights.shape[-1] // len(self.channel) if self.node.kind == "depthwise_conv_2d" else 1
        factor, shift = (np.repeat(each[self.channel], repeats) for each in (pixels.factor, pixels.shift))
        others = tuple(axis for axis in range(weights.ndim) if axis != self.facts.quantized_dimension)
        scaled = np.empty_like(weights)
        scaled[..., np.arange(weights.shape[-1]) if repeats > 1 else self.partner] = weights * factor
        return scaled, (weights * shift).sum(axis=others)

    def rewrite(self, build: Builder, pixels: PixelInput) -> None:
        """Put a node with other numbers in the place of this one."""
        weights, shift = self.numbers(pixels)
        bias = bias_of(self.node, self.facts)
        y = with_numbers(
            build,
            self.node,
            self.facts,
            weights=weights,
            bias=(shift if bias is None else bias + shift) if pixels.slip else None,
            activation=activation_of(self.node),
        )
        build.graph.replace_node(self.node, [y])


def _readers(
    model: Model, value: Value, axis: int, pixels: PixelInput, largest_slip: float
) -> list[_Reader] | NoMatch:
    """Return all nodes that compute with the input's elements; the first reason why one cannot take them."""
    if not value.type.is_static:
        return no_match("the shape is not fixed")
    elements = {value: np.arange(1, value.type.size + 1, dtype=np.int64).reshape(value.shape)}
    tables, found = _Tables.of(elements[value], axis, pixels), list[_Reader]()
    for node in model.graph:
        if not any(operand in elements for operand in node.operands):
            continue
        results = moved(node, elements)
        if results is not None:
            elements.update(zip(node.results, results, strict=True))
            continue
        reader = _reader(node, elements, tables)
        if isinstance(reader, NoMatch):
            return reader
        if reader.sees_padding and pixels.slip > largest_slip:
            return no_match(f"{_where(node)} pads with zeros, {pixels.slip:.3g} pixel steps off the mean")
        if not fits_float32(*reader.numbers(pixels)):
            return no_match(f"the weights of {_where(node)} would not fit float32")
        found.append(reader)
    returned = any(each.is_graph_output for each in elements)
    return no_match("the model returns its input") if returned else found


def _reader(node: Node, elements: dict[Value, Numbers], tables: _Tables) -> _Reader | NoMatch:
    facts = weights_of(node)
    if node.kind not in _WEIGHTED or facts is None or node.operand(facts.data) not in elements:
        return no_match(f"{_where(node)} has no weights that could take them")
    read, weights = elements[node.operand(facts.data)], node.operand(facts.operand)
    is_depthwise = node.kind == "depthwise_conv_2d"
    depth = read.shape[-1] if is_depthwise else weights.shape[-1]
    rows = read.reshape(-1, depth)
    if node.kind == "conv_2d" and read.shape[-1] != depth:
        return no_match(f"{_where(node)} has groups")
    whole = np.flatnonzero((rows > 0).all(axis=1))
    if not whole.size:
        return no_match(f"{_where(node)} never sees a whole pixel")
    position = {int(number): index for index, number in enumerate(rows[whole[0]])}
    partner = np.array([position.get(int(number), -1) for number in tables.partner[rows[whole[0]]]])
    channel = tables.channel[rows[whole[0]]]
    if (partner < 0).any() or (is_depthwise and (partner != np.arange(depth)).any()):
        return no_match(f"{_where(node)} does not add up the colors of a pixel")
    inside = rows > 0
    alike = (tables.channel[rows] == channel) & (rows[:, partner] == tables.partner[rows])
    if not alike[inside].all() or len(position) < depth:
        return no_match(f"the channels of {_where(node)} do not hold one color each")
    return _Reader(node, facts, channel, partner, not inside.all() or _pads(node))


def _pads(node: Node) -> bool:
    """Whether a convolution pads by itself."""
    conv = node.attributes
    if not isinstance(conv, Conv2DAttributes | DepthwiseConv2DAttributes) or conv.padding is Padding.VALID:
        return False
    sizes = zip(
        node.operand(0).shape[1:3],
        node.result.shape[1:3],
        node.operand(1).shape[1:3],
        (conv.stride_h, conv.stride_w),
        (conv.dilation_h_factor, conv.dilation_w_factor),
        strict=True,
    )
    return any((out - 1) * stride + (k - 1) * wide + 1 > size for size, out, k, stride, wide in sizes)


def _put_in_front(model: Model, value: Value, axis: int, pixels: PixelInput) -> str:
    """Compute x from r by a convolution, and let everybody read that; "" where the axes do not allow it."""
    graph, uses = model.graph, value.uses
    build = Builder(graph, next(iter(graph), None), f"{value.name}/preprocess")
    count = pixels.channels
    if axis != 3 and count > 1:
        return ""
    weights = np.zeros((count, 1, 1, count), np.float32)
    weights[range(count), 0, 0, pixels.order] = pixels.factor
    x = value if axis == 3 else build.reshape(value, (value.shape[0], *value.shape[2:], 1))
    operands = [x, build.constant(weights), build.constant(pixels.shift.astype(np.float32))]
    x = build.op("conv_2d", operands, Conv2DAttributes())
    x = build.reshape(x, value.shape)
    for node, index in uses:
        graph.set_operand(node, index, x)
    if value.is_graph_output:
        graph.set_outputs(x if output is value else output for output in graph.outputs)
    return build.source


def _where(node: Node) -> str:
    return f"'{_name(node)}' ({node.kind})"


def _name(node: Node) -> str:
    return node.source or node.results[0].name
