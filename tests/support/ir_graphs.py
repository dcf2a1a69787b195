"""Small IR graphs for tests of rules, and their numbers before and after in LiteRT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgec.emit import emit
from edgec.ir import NO_ATTRIBUTES, Array, Attributes, DType, Graph, Model, Port, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.passes.contract import Pass
from edgec.rewrite import Explanation, Rule, apply_rules

Body = Callable[..., Value | Sequence[Value]]
Input = tuple[int, ...] | TensorType


def make_model(body: Body, *inputs: Input) -> Model:
    """Return a model whose graph `body(build, *graph inputs)` makes; it returns the graph's outputs.

    Inputs are `x0`, `x1`, ...: float32 for a plain shape.
    """
    graph = Graph()
    types = [item if isinstance(item, TensorType) else TensorType(item) for item in inputs]
    values = [graph.add_input(f"x{index}", type) for index, type in enumerate(types)]
    made = body(Builder(graph), *values)
    outputs = [made] if isinstance(made, Value) else list(made)
    graph.set_outputs(outputs)
    return Model(graph, _ports(values), _ports(outputs))


def _ports(values: Sequence[Value]) -> list[Port]:
    return [Port(value.name, value.shape, value.dtype) for value in values]


def kinds(model: Model) -> list[str]:
    """Return the op kinds in execution order."""
    return [node.kind for node in model.graph]


def ramp(*shape: int, low: float = -1.0, high: float = 1.0) -> Array:
    """Return distinct float32 numbers, shuffled the same way each time."""
    numbers = np.linspace(low, high, int(np.prod(shape)), dtype=np.float32)
    return np.random.default_rng(7).permutation(numbers).reshape(shape)


def run(model: Model, feeds: Sequence[Array], kernels: KernelSet = KernelSet.BUILTIN) -> list[Array]:
    """Run a model in LiteRT."""
    return Runner(emit(model).to_bytes(), kernels=kernels).run(feeds)


def example_feeds(model: Model) -> list[Array]:
    """Return inputs that reach both sides of every clip in these tests: floats in [-8, 8)."""
    random = np.random.default_rng(3)
    feeds: list[Array] = []
    for value in model.graph.inputs:
        if value.dtype is DType.BOOL:
            feeds.append(random.integers(0, 2, value.shape).astype(bool))
        else:
            feeds.append(random.uniform(-8, 8, value.shape).astype(value.dtype.numpy))
    return feeds


@dataclass
class Rewritten:
    """A model after a pass, whether the pass says it changed anything, and outputs before and after."""

    model: Model
    modified: bool
    before: list[Array] = field(default_factory=list[Array])
    after: list[Array] = field(default_factory=list[Array])

    @property
    def kinds(self) -> list[str]:
        """Op kinds after the pass."""
        return kinds(self.model)


def rewritten(
    rules: Pass, body: Body, *inputs: Input, feeds: Sequence[Array] | None = None, rtol: float = 0.0
) -> Rewritten:
    """Run a pass and assert that the IR stays sound and the outputs keep names, types and numbers.

    `rtol` is relative to the largest output: 0 means equal bit for bit but for the sign of zero.
    """
    model = make_model(body, *inputs)
    feeds = example_feeds(model) if feeds is None else feeds
    names = [(value.name, value.type) for value in model.graph.outputs]
    before = run(model, feeds)
    result = rules.run(model)
    verify_ir(result.model)
    after = run(result.model, feeds)
    assert [(value.name, value.type) for value in result.model.graph.outputs] == names
    for old, new in zip(before, after, strict=True):
        size = float(np.abs(np.asarray(old, np.float64)).max(initial=0))
        np.testing.assert_allclose(new, old, rtol=0, atol=rtol * size)
    assert not rules.run(result.model).modified, "a second run finds nothing: the rules converge"
    return Rewritten(result.model, result.modified, before, after)


def reasons(rule: Rule, body: Body, *inputs: Input) -> list[str]:
    """Return why a rule does not fire at the nodes it looks at; it must not fire at any."""
    model = make_model(body, *inputs)
    explanations: list[Explanation] = []
    assert not apply_rules(model.graph, [rule], explanations), "the rule fired"
    return [item.reason for item in explanations]


def conv(build: Builder, x: Value, channels: int = 4, attributes: Attributes | None = None) -> Value:
    """Return a 3x3 conv_2d with weights and bias of ramps."""
    weights = build.constant(ramp(channels, 3, 3, x.shape[3]))
    bias = build.constant(ramp(channels))
    return build.op("conv_2d", [x, weights, bias], attributes or Conv2DAttributes())


def depthwise(build: Builder, x: Value, multiplier: int = 1, **attributes: object) -> Value:
    """Return a 3x3 depthwise_conv_2d with weights and bias of ramps."""
    channels = x.shape[3] * multiplier
    made = DepthwiseConv2DAttributes(depth_multiplier=multiplier, **attributes)  # pyright: ignore
    operands = [x, build.constant(ramp(1, 3, 3, channels)), build.constant(ramp(channels))]
    return build.op("depthwise_conv_2d", operands, made)


def fully_connected(
    build: Builder, x: Value, units: int = 3, attributes: Attributes = NO_ATTRIBUTES
) -> Value:
    """Return a fully_connected without bias, over the last axis unless the rank is 2."""
    depth = x.shape[-1] if x.type.rank == 2 else int(np.prod(x.shape[1:]))
    return build.op("fully_connected", [x, build.constant(ramp(units, depth)), None], attributes)


def constant(build: Builder, number: float, *more: float) -> Value:
    """Return a float32 scalar, or a vector of several numbers."""
    return build.constant(np.asarray([number, *more] if more else number, np.float32))


def ints(build: Builder, *numbers: int) -> Value:
    """Return an int32 vector."""
    return build.constant(list(numbers))
