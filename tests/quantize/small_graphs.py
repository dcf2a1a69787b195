"""Small float graphs with seeded weights, and the run that compares their int8 form with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.calibrate.ranges import Ranges, collect_ranges
from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Port, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import ActivationFunctionType, Builder, Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes

RELU = ActivationFunctionType.RELU
RELU6 = ActivationFunctionType.RELU6


class Sketch:
    """Builds one graph; weights come from a seeded generator, scaled so that activations stay near 1."""

    def __init__(self, seed: int = 0) -> None:
        self.graph = Graph()
        self.build = Builder(self.graph)
        self.rng = np.random.default_rng(seed)

    def input(self, *shape: int, name: str = "x", dtype: DType = DType.FLOAT32) -> Value:
        return self.graph.add_input(name, TensorType(shape, dtype))

    def weights(self, *shape: int, fan_in: int) -> Value:
        data = self.rng.normal(size=shape) / np.sqrt(fan_in)
        return self.build.constant(data.astype(np.float32))

    def bias(self, size: int) -> Value:
        return self.build.constant((0.2 * self.rng.normal(size=size)).astype(np.float32))

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        fused: ActivationFunctionType = RELU6,
        padding: Padding = Padding.SAME,
        name: str = "conv",
    ) -> Value:
        depth = x.shape[3]
        weights = self.weights(channels, kernel, kernel, depth, fan_in=kernel * kernel * depth)
        attributes = Conv2DAttributes(padding, stride, stride, fused)
        return self.build.op("conv_2d", [x, weights, self.bias(channels)], attributes, name)

    def depthwise(self, x: Value, fused: ActivationFunctionType = RELU6, name: str = "depthwise") -> Value:
        depth = x.shape[3]
        operands = [x, self.weights(1, 3, 3, depth, fan_in=9), self.bias(depth)]
        attributes = DepthwiseConv2DAttributes(Padding.SAME, fused_activation_function=fused)
        return self.build.op("depthwise_conv_2d", operands, attributes, name)

    def dense(self, x: Value, units: int, name: str = "dense") -> Value:
        weights = self.weights(units, x.shape[-1], fan_in=x.shape[-1])
        return self.build.op("fully_connected", [x, weights, self.bias(units)], name=name)

    def model(self, *outputs: Value) -> Model:
        self.graph.set_outputs(outputs)
        return Model(self.graph, _ports(self.graph.inputs), _ports(outputs))


def _ports(values: Sequence[Value]) -> list[Port]:
    return [Port(value.name, value.shape, value.dtype) for value in values]


def samples(model: Model, count: int = 16, seed: int = 1) -> list[dict[str, Array]]:
    """Normal random samples for the float inputs of a model."""
    rng = np.random.default_rng(seed)
    return [
        {port.name: rng.normal(size=port.shape).astype(np.float32) for port in model.inputs}
        for _ in range(count)
    ]


def calibrated(model: Model, count: int = 16) -> Ranges:
    """Ranges of a model over its own random samples."""
    return collect_ranges(model, samples(model, count), threads=1)


def run_float(model: Model, sample: dict[str, Array]) -> list[Array]:
    """Outputs of a float model."""
    feeds = [sample[port.name] for port in model.inputs]
    return Runner(emit(model).to_bytes()).run(feeds)


def encode(value: Value, real: Array) -> Array:
    """Real numbers as the integers of an input tensor."""
    quantization = value.type.quantization
    if quantization is None:
        return real.astype(value.dtype.numpy)
    limits = np.iinfo(value.dtype.numpy)
    q = np.rint(real / np.float32(quantization.scale[0])) + quantization.zero_point[0]
    return np.clip(q, limits.min, limits.max).astype(value.dtype.numpy)


def decode(value: Value, stored: Array) -> Array:
    """The real numbers that an output tensor stands for."""
    quantization = value.type.quantization
    if quantization is None:
        return stored
    return (stored.astype(np.float64) - quantization.zero_point[0]) * quantization.scale[0]


def run_stored(model: Model, sample: dict[str, Array], kernels: KernelSet = KernelSet.XNNPACK) -> list[Array]:
    """Outputs of a quantized model as stored; the sample holds real numbers."""
    inputs = zip(model.inputs, model.graph.inputs, strict=True)
    feeds = [encode(value, sample[port.name]) for port, value in inputs]
    return Runner(emit(model).to_bytes(), kernels=kernels).run(feeds)


def run_real(model: Model, sample: dict[str, Array], kernels: KernelSet = KernelSet.XNNPACK) -> list[Array]:
    """Outputs of a quantized model as real numbers."""
    stored = run_stored(model, sample, kernels)
    return [decode(value, array) for value, array in zip(model.graph.outputs, stored, strict=True)]


def sqnr(expected: Sequence[Array], actual: Sequence[Array]) -> float:
    """Signal to quantization noise in dB over all arrays."""
    truth = np.concatenate([array.astype(np.float64).ravel() for array in expected])
    noise = truth - np.concatenate([array.astype(np.float64).ravel() for array in actual])
    return float(10 * np.log10((truth**2).sum() / max((noise**2).sum(), 1e-30)))


def output_sqnr(model: Model, quantized: Model, kernels: KernelSet = KernelSet.XNNPACK) -> list[float]:
    """SQNR of every output over held-out samples."""
    held_out = samples(model, 8, seed=2)
    truth = [run_float(model, sample) for sample in held_out]
    found = [run_real(quantized, sample, kernels) for sample in held_out]
    return [sqnr([t[i] for t in truth], [f[i] for f in found]) for i in range(len(model.outputs))]


def kinds(model: Model) -> list[str]:
    """The node kinds of a model in execution order."""
    return [node.kind for node in model.graph]
