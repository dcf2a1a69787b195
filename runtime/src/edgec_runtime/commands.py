"""What each command does with its options: read, call, print or write, and choose the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec_runtime.atomic_write import write_atomic
from edgec_runtime.benchmark import BenchOptions, benchmark
from edgec_runtime.doctor import examine, failed
from edgec_runtime.errors import ModelFileError, RuntimeInputError
from edgec_runtime.info import file_info
from edgec_runtime.manifest import check_manifest, sha256_of
from edgec_runtime.model import Model
from edgec_runtime.quantization import dequantize, to_real
from edgec_runtime.report import BenchmarkReport
from edgec_runtime.samples import ImageScaling, load_values, random_raw, save_npz, split_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

GOOD, BAD_INPUT, LIMIT = 0, 1, 3
_SHOWN = 8


def info(options: argparse.Namespace) -> int:
    """Print what is in a file; 1 when its manifest speaks of other bytes."""
    found = file_info(options.model)
    print(json.dumps(found.to_dict(), indent=2) if options.json else found.to_text())
    if found.manifest.status != "mismatch":
        return GOOD
    raise ModelFileError(f"{found.manifest.path}: {found.manifest.problem}")


def run(options: argparse.Namespace) -> int:
    """Run a model on a file's values or random ones; write or summarize the outputs."""
    _require_suffix(options.output)
    model = Model(options.model, options.threads, options.backend, options.kernels)
    outputs = _random_outputs(model, options) if options.input is None else _file_outputs(model, options)
    if options.output is None:
        for name, array in outputs.items():
            print(_summary(name, array))
        return GOOD
    save_npz(options.output, outputs)
    print(f"{options.output}: {', '.join(f'{name} {list(array.shape)}' for name, array in outputs.items())}")
    return GOOD


def bench(options: argparse.Namespace) -> int:
    """Measure a model; 3 when its median is above the limit."""
    settings = BenchOptions(
        model=options.model,
        threads=options.threads,
        runs=options.runs,
        min_seconds=options.min_time,
        warmup_runs=options.warmup,
        warmup_seconds=options.warmup_time,
        backend=options.backend,
        kernels=options.kernels,
        seed=options.random,
    )
    report = benchmark(
        settings, None if options.input is None else lambda model: _first_sample(model, options)
    )
    _publish(report, options.json)
    limit: float | None = options.fail_above_ms
    if limit is None or report.latency_ms.median <= limit:
        return GOOD
    print(
        f"edgec-runtime: the median of {report.latency_ms.median:.3f} ms is above the limit of {limit:g} ms",
        file=sys.stderr,
    )
    return LIMIT


def doctor(options: argparse.Namespace) -> int:
    """Print every check with its fix; 1 when one fails."""
    checks = examine(options.model)
    if options.json:
        document = {
            "schema_version": 1,
            "kind": "edgec-runtime-doctor",
            "checks": [asdict(one) for one in checks],
        }
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(str(check) for check in checks))
    return BAD_INPUT if failed(checks) else GOOD


def _publish(report: BenchmarkReport, destination: str | None) -> None:
    if destination == "-":
        print(report.to_json(), end="")
        return
    print(report.to_text())
    if destination is not None:
        write_atomic(destination, lambda file: file.write(report.to_json().encode("utf-8")))


def _random_outputs(model: Model, options: argparse.Namespace) -> dict[str, Array]:
    raw = model.run_raw(random_raw(model.inputs, options.random))
    return raw if options.raw else _real(model, raw)


def _file_outputs(model: Model, options: argparse.Namespace) -> dict[str, Array]:
    values = _values(model, options)
    call = model.run_raw if options.raw else model.run
    results = [call(sample) for sample in split_samples(values, model.inputs)]
    if not results:
        raise RuntimeInputError(f"{options.input}: it holds no sample")
    return {name: _joined([result[name] for result in results]) for name in results[0]}


def _values(model: Model, options: argparse.Namespace) -> dict[str, Array]:
    """Read values; images and uint8 arrays are raw pixels where the manifest says that inputs take such."""
    given = [name for name in ("mean", "std") if getattr(options, name) is not None]
    feeds = {feed.name: feed for feed in check_manifest(options.model, sha256_of(options.model)).pixels}
    pixels = [info for info in model.inputs if info.name in feeds and info.quantized]
    if not pixels:
        mean, std = options.mean or 0.0, 255.0 if options.std is None else options.std
        return load_values(options.input, model.inputs, ImageScaling(mean, std))
    if given:
        names = " and ".join(f"--{name}" for name in given)
        raise RuntimeInputError(
            f"input '{pixels[0].name}': takes raw pixels, as the manifest says; leave {names} out"
        )
    first = pixels[0]
    raw = ImageScaling(first.zero_point + feeds[first.name].subtract, 1 / first.scale)
    values = load_values(options.input, model.inputs, raw)
    for info in pixels:
        array = values[info.name]
        if array.dtype == np.uint8 and not getattr(options, "raw", False):
            values[info.name] = dequantize(array, info.scale, info.zero_point + feeds[info.name].subtract)
    return values


def _first_sample(model: Model, options: argparse.Namespace) -> dict[str, Array]:
    values = _values(model, options)
    sample = next(split_samples(values, model.inputs), None)
    if sample is None:
        raise RuntimeInputError(f"{options.input}: it holds no sample")
    return model.to_raw(sample)


def _real(model: Model, raw: dict[str, Array]) -> dict[str, Array]:
    return {info.name: to_real(raw[info.name], info) for info in model.outputs}


def _joined(arrays: list[Array]) -> Array:
    """Put samples one behind the other; a batch axis of 1 becomes the sample axis."""
    if len(arrays) == 1:
        return arrays[0]
    batched = all(array.ndim and array.shape[0] == 1 for array in arrays)
    return np.concatenate(arrays) if batched else np.stack(arrays)


def _require_suffix(output: Path | None) -> None:
    if output is not None and output.suffix != ".npz":
        raise RuntimeInputError(f"{output}: outputs are written as .npz; give a name that ends so")


def _summary(name: str, array: Array) -> str:
    head = ", ".join(f"{value:.6g}" for value in array.ravel()[:_SHOWN].tolist())
    more = ", ..." if array.size > _SHOWN else ""
    span = f"  min {array.min():.6g}  max {array.max():.6g}" if array.size else ""
    return f"{name}  {array.dtype}{list(array.shape)}{span}  [{head}{more}]"
