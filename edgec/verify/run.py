"""Runs source and compiled model on the same inputs and compares every output in real values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from edgec.ir import Array, Model, Port, Value
from edgec.kernels import Runner
from edgec.reports.model import Tolerance, Verification
from edgec.verify.measures import OutputStatistics
from edgec.verify.source import SourceRunner

FLOAT_TOLERANCE = Tolerance(relative=1e-4, absolute=1e-5, sufficient_sqnr_db=90)
"""|error| ≤ 1e-5 + 1e-4 · (largest value of the output), or an SQNR of 90 dB.

Rounding of a float32 sum scales with the size of its terms, not of its result, so the bound is relative to
the output, not to each element. A deep network fed with noise amplifies roundings in single elements beyond
that (onnxruntime differs from itself by half as much between its optimization levels); 90 dB still means that
no weight, pad or layout is wrong, which costs tens of decibels."""

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
            ours = from_device(results[index], port, value, real=expected[index].dtype.kind == "f")
            statistics[index].update(expected[index], ours)
        count += 1
        progress(count)
    checks = tuple(item.check(tolerance) for item in statistics)
    return Verification(tolerance, all(check.passed for check in checks), described, count, checks)


def to_device(array: Array, port: Port, value: Value) -> Array:
    """Return a source-layout array as the compiled model's input: permuted; real numbers are quantized.

    Integers of a source that is quantized itself already are what the device reads; uint8 and int8 stand 128
    apart.
    """
    if port.permutation is not None:
        array = array.transpose(port.permutation)
    quantization = value.type.quantization
    if quantization is None or array.dtype.kind != "f":
        return _shifted(array, value.dtype.numpy)
    limits = np.iinfo(value.dtype.value)
    steps = np.rint(array.astype(np.float32) / np.float32(quantization.scale[0]))
    return np.clip(steps + quantization.zero_point[0], limits.min, limits.max).astype(value.dtype.numpy)


def from_device(array: Array, port: Port, value: Value, *, real: bool = True) -> Array:
    """Return a compiled model's output in the source's axes, as real numbers where the source has such."""
    quantization = value.type.quantization
    if quantization is not None and real:
        shifted = array.astype(np.float32) - np.float32(quantization.zero_point[0])
        array = shifted * np.float32(quantization.scale[0])
    elif quantization is not None:
        array = _shifted(array, port.dtype.numpy)
    if port.permutation is not None:
        array = array.transpose(np.argsort(port.permutation))
    return array


def _shifted(array: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return integers in another type of the same width with the same meaning; other arrays are cast."""
    if {array.dtype.name, dtype.name} == {"int8", "uint8"}:
        return (array.astype(np.int16) + (128 if dtype.name == "uint8" else -128)).astype(dtype)
    return array.astype(dtype, copy=False)
