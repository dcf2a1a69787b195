"""Small float and int8 graphs for tests of legalization and memory planning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgec.emit import emit
from edgec.ir import (
    NO_ATTRIBUTES,
    Array,
    Attributes,
    DType,
    Graph,
    Model,
    Port,
    Quantization,
    TensorType,
    Value,
)
from edgec.kernels import KernelSet, Partitions, Runner
from edgec.legalize.profile import Profile, find_profile
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.passes.contract import RulePass
from edgec.rewrite import Explanation, Rule, apply_rules

SCALE = Quantization.per_tensor(0.05, 3)


@dataclass
class Net:
    """A graph under construction; every int8 result gets the same scale."""

    int8: bool = False
    graph: Graph = field(default_factory=Graph)

    def __post_init__(self) -> None:
        self.build = Builder(self.graph)
        self.random = np.random.default_rng(0)

    def input(self, *shape: int, name: str = "x", dtype: DType | None = None) -> Value:
        kind = dtype or (DType.INT8 if self.int8 else DType.FLOAT32)
        return self.graph.add_input(name, TensorType(shape, kind, SCALE if kind is DType.INT8 else None))

    def ints(self, values: object) -> Value:
        return self.graph.constant(np.asarray(values, np.int32))

    def ops(
        self, kind: str, operands: Sequence[Value | None], attributes: Attributes = NO_ATTRIBUTES
    ) -> tuple[Value, ...]:
        node = self.build.node(kind, operands, attributes)
        for result in node.results:
            if result.dtype is DType.INT8:
                result.type = replace(result.type, quantization=SCALE)
        return node.results

    def op(self, kind: str, operands: Sequence[Value], attributes: Attributes = NO_ATTRIBUTES) -> Value:
        (result,) = self.ops(kind, operands, attributes)
        return result

    def conv(self, x: Value, channels: int, size: int = 1, *, groups: int = 1, **attributes: object) -> Value:
        shape = (channels, size, size, x.shape[3] // groups)
        if self.int8:
            weights = self.graph.constant(self.random.integers(-127, 128, shape, np.int8), "weights")
            bias = self.graph.constant(self.random.integers(-99, 99, channels).astype(np.int32), "bias")
            scales = tuple(0.01 + 0.001 * index for index in range(channels))
            zeros = (0,) * channels
            weights.type = replace(weights.type, quantization=Quantization(scales, zeros, 0))
            bias.type = replace(bias.type, quantization=Quantization(tuple(s * 0.05 for s in scales), zeros))
        else:
            weights = self.graph.constant(self.random.normal(size=shape).astype(np.float32), "weights")
            bias = self.graph.constant(self.random.normal(size=channels).astype(np.float32), "bias")
        return self.op("conv_2d", [x, weights, bias], Conv2DAttributes(**attributes))  # type: ignore[arg-type]

    def returns(self, *outputs: Value) -> Net:
        self.graph.set_outputs(outputs)
        return self

    def bytes(self) -> bytes:
        verify_ir(self.model())
        return emit(self.model()).to_bytes()

    def model(self) -> Model:
        from edgec.ir import Port

        ports = [
            [Port(v.name, v.shape, v.dtype) for v in vs] for vs in (self.graph.inputs, self.graph.outputs)
        ]
        return Model(self.graph, *ports)

    def samples(self) -> list[Array]:
        random = np.random.default_rng(7)
        arrays: list[Array] = []
        for value in self.graph.inputs:
            if value.dtype is DType.FLOAT32:
                arrays.append(random.normal(size=value.shape).astype(np.float32))
            else:
                arrays.append(random.integers(-128, 128, value.shape).astype(value.dtype.numpy))
        return arrays

    def run(self, kernels: KernelSet = KernelSet.XNNPACK) -> list[Array]:
        return Runner(self.bytes(), kernels=kernels).run(self.samples())

    def partitions(self) -> Partitions:
        return Runner(self.bytes()).partitions()

    def kinds(self) -> list[str]:
        return [node.kind for node in self.graph]


def _ports(values: Sequence[Value]) -> list[Port]:
    return [Port(value.name, value.shape, value.dtype) for value in values]


ONE_PARTITION = Partitions(1, ())


def rewritten(net: Net, *rules: Rule) -> list[str]:
    """Apply rules and return the reasons why they did not fire."""
    explanations: list[Explanation] = []
    apply_rules(net.graph, rules, explanations)
    return [item.reason for item in explanations]


def legalized(net: Net, profile: str = "litert_xnnpack") -> Net:
    """Run all passes of a profile, as a compile does."""
    found: Profile = find_profile(profile)
    for item in (*found.float_passes, *found.final_passes):
        assert isinstance(item, RulePass)
        item.run(Model(net.graph))
    return net
