"""Runs source and compiled model on the same inputs and compares every output in real values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from edgec.ir import Array, Model, Port, Value
from edgec.kernels import Runner
from edgec.reports.model import Tolerance, Verification
from edgec.verify.measures import OutputStatistics
from edgec.verify.source import SourceRunner

FLOAT_TOLERANCE = Tolerance(relative=1e-4, absolute=1e-5)
"""|error| ≤ 1e-5 + 1e-4 · (largest value of the output). Rounding of a float32 sum scales with the size of
its terms, not of its result, so the bound is relative to the output, not to each element."""

NO_TOLERANCE = Tolerance()
"""Quantized models are reported, not gated: how much loss is acceptable is the user's decision."""


def verify(
    model: Model,
    runner: Runner,
    source: SourceRunner,
    samples: Iterable[Mapping[str, Array]],
    tolerance: Tolerance,
    described: str,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Verification:
    """Return the comparison of all outputs over all samples (source layout, real values)."""
    statistics = [OutputStatistics(port.name) for port in model.outputs]
    count = 0
    for sample in samples:
        expected = source.run(sample)
        feeds = [
            to_device(sample[port.name], port, value)
            for port, value in zip(model.inputs, model.graph.inputs, strict=True)
        ]
        results = runner.run(feeds)
        for index, (port, value) in enumerate(zip(model.outputs, model.graph.outputs, strict=True)):
            statistics[index].update(expected[index], from_device(results[index], port, value))
        count += 1
        progress(count)
    checks = tuple(item.check(tolerance) for item in statistics)
    return Verification(tolerance, all(check.passed for check in checks), described, count, checks)


def to_device(array: Array, port: Port, value: Value) -> Array:
    """Return a source-layout real array as the compiled model's input: permuted, then quantized."""
    if port.permutation is not None:
        array = array.transpose(port.permutation)
    quantization = value.type.quantization
    if quantization is None:
        return array.astype(value.dtype.numpy, copy=False)
    limits = np.iinfo(value.dtype.value)
    steps = np.rint(array.astype(np.float32) / np.float32(quantization.scale[0]))
    return np.clip(steps + quantization.zero_point[0], limits.min, limits.max).astype(value.dtype.numpy)


def from_device(array: Array, port: Port, value: Value) -> Array:
    """Return a compiled model's output as a real array in the source's axes."""
    quantization = value.type.quantization
    if quantization is not None:
        shifted = array.astype(np.float32) - np.float32(quantization.zero_point[0])
        array = shifted * np.float32(quantization.scale[0])
    if port.permutation is not None:
        array = array.transpose(np.argsort(port.permutation))
    return array
