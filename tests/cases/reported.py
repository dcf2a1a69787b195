"""Reported cases on disk (../shared/cases beside the checkout), and what a compiled one computes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

import edgec
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from edgec.reports.model import TensorInfo

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
INTEGER_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True)
class Tensor:
    """An input or output as the case states it: the source's name, type and shape."""

    key: str
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ReportedCase:
    """One folder with its case.json."""

    folder: Path

    @cached_property
    def facts(self) -> dict[str, object]:
        return json.loads((self.folder / "case.json").read_text())

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def mode(self) -> str:
        return str(self.facts["mode"])

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.npz"

    @property
    def checks(self) -> Mapping[str, object]:
        return self.facts.get("checks", {})  # type: ignore[return-value]

    @property
    def inputs(self) -> list[Tensor]:
        return _tensors(self.facts["inputs"])

    @property
    def outputs(self) -> list[Tensor]:
        return _tensors(self.facts["outputs"])

    @property
    def tolerance(self) -> dict[str, float]:
        return self.facts["tolerance"]  # type: ignore[return-value]

    @property
    def min_sqnr_db(self) -> list[float]:
        """The limit of each output, for cases that are judged by SQNR."""
        limit = self.facts["int8"]["min_sqnr_db"]  # type: ignore[index]
        return [limit[output.key] for output in self.outputs]

    def samples(self, file: str = "inputs.npz") -> list[dict[str, Array]]:
        """Return the samples of an .npz as arrays by tensor name."""
        with np.load(self.folder / file) as stored:
            arrays = {key: stored[key] for key in stored.files}
        names = {tensor.key: tensor.name for tensor in [*self.inputs, *self.outputs]}
        count = len(next(iter(arrays.values())))
        return [{names[key]: array[k] for key, array in arrays.items()} for k in range(count)]


def _tensors(described: object) -> list[Tensor]:
    return [
        Tensor(d["key"], d["name"], d["dtype"], tuple(d["shape"]))
        for d in described  # type: ignore[attr-defined]
    ]


def all_cases() -> list[ReportedCase]:
    """Return the ONNX cases in order of their names; none where the folder is absent."""
    return [ReportedCase(path.parent) for path in sorted(CASES.glob("*/model.onnx"))]


def case(name: str) -> ReportedCase:
    return ReportedCase(CASES / name)


def run(
    made: edgec.Compiled,
    reported: ReportedCase,
    samples: Sequence[Mapping[str, Array]],
    kernels: KernelSet = KernelSet.XNNPACK,
) -> list[dict[str, Array]]:
    """Run each sample, feeding and reading real values in the source's layout."""
    runner = Runner(made.tflite, kernels=kernels)
    results: list[dict[str, Array]] = []
    for sample in samples:
        feeds = [
            _stored(sample[tensor.name], tensor, info)
            for tensor, info in zip(reported.inputs, made.report.inputs, strict=True)
        ]
        outputs = zip(reported.outputs, made.report.outputs, runner.run(feeds), strict=True)
        results.append({tensor.name: _real(array, tensor, info) for tensor, info, array in outputs})
    return results


def _stored(array: Array, tensor: Tensor, info: TensorInfo) -> Array:
    if _moved_to_last(tensor, info):
        array = array.transpose(0, 2, 3, 1)
    if info.scale is not None and info.zero_point is not None:
        low, high = INTEGER_RANGES[info.dtype]
        array = np.clip(np.rint(array / info.scale) + info.zero_point, low, high)
    return array.astype(info.dtype)


def _real(array: Array, tensor: Tensor, info: TensorInfo) -> Array:
    if info.scale is not None and info.zero_point is not None:
        array = (array.astype(np.float64) - info.zero_point) * info.scale
    return array.transpose(0, 3, 1, 2) if _moved_to_last(tensor, info) else array


def _moved_to_last(tensor: Tensor, info: TensorInfo) -> bool:
    """Whether the file stores the second of four axes last. No case has an NHWC cube, so the shape tells."""
    if info.layout != "nhwc" or len(tensor.shape) != 4:
        return False
    _, c, h, w = tensor.shape
    return info.shape[1:] == (h, w, c)


def assert_close(
    reported: ReportedCase, got: Sequence[Mapping[str, Array]], expected: Sequence[Mapping[str, Array]]
) -> None:
    """Every sample and output within the case's tolerance; integers and booleans equal."""
    for number, (ours, wanted) in enumerate(zip(got, expected, strict=True)):
        for name, array in wanted.items():
            what = f"{reported.id}: output '{name}' of sample {number}"
            assert ours[name].shape == array.shape, what
            if array.dtype.kind != "f":
                np.testing.assert_array_equal(ours[name], array, err_msg=what)
            else:
                np.testing.assert_allclose(ours[name], array, **reported.tolerance, err_msg=what)


def sqnr_db(got: Sequence[Array], expected: Sequence[Array]) -> float:
    """10·log10(signal power / error power) over all samples."""
    signal = sum(float((np.asarray(e, np.float64) ** 2).sum()) for e in expected)
    noise = sum(
        float(((np.asarray(g, np.float64) - e) ** 2).sum()) for g, e in zip(got, expected, strict=True)
    )
    return float("inf") if noise == 0 else float(10 * np.log10(signal / noise))


def output_sqnr(
    made: edgec.Compiled, reported: ReportedCase, kernels: KernelSet = KernelSet.XNNPACK
) -> list[float]:
    """Return the SQNR of every output over the case's samples."""
    got = run(made, reported, reported.samples(), kernels)
    expected = reported.samples("expected.npz")
    names = [output.name for output in reported.outputs]
    return [sqnr_db([g[n] for g in got], [e[n] for e in expected]) for n in names]
