"""Measure what int8 costs in accuracy, beside other tools on the same float model and data: `--help`.

    python tools/bench_quantization.py --peer-python PY --keras-python PY [--models a,b] [--json OUT.json]
    python tools/bench_quantization.py --models mlperf_kws_fp32 --variant mse:observer=mse

For every float model of the corpus (corpus_data.py) one row: SQNR in dB against the float model, as the
median over its outputs, pooled over evaluation samples that no tool calibrated on; and top-1 where there are
labels, else the share of answers equal to float's. Without --peer-python only edgec's figures are shown.

              calibration samples ─┬─▶ edgec (--choice, --variant) ─┐
    float ────┬────────────────────┼─▶ litert-legacy ───────────────┤
    model     │                    ├─▶ ai-edge-quantizer ───────────┼─▶ one interpreter, one score
              │                    └─▶ tflite-converter (Keras) ────┤
              └─ evaluation samples ─▶ float oracle ────────────────┘

The float model: for ONNX, onnxruntime with its optimizations off; a TFLite file in LiteRT's builtin kernels;
for Keras, TFLiteConverter's float file. Peers quantize edgec's own float .tflite of an ONNX model (or of a
TFLite file that is half-float or has no signature), otherwise the file itself. Quantized files run with
XNNPACK. `+3f` beside a figure: three places inside the file compute in float, so it is no full int8.
"""

from __future__ import annotations

import argparse
import ast
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import peers
from corpus_data import DEFAULT_CORPUS, MODELS, CorpusModel, Split
from peers import PeerError, Peers
from quantization_results import PEER_TOOLS, Result, Row, as_json, summary, table
from rich.console import Console
from scoring import Axes, Outputs, RealModel, Score, in_child, samples_of, score

import edgec
from edgec.diagnostics import CompileError
from edgec.ir import Array, Model
from edgec.kernels import KernelSet

Choices = dict[str, object]


@dataclass(frozen=True, slots=True)
class Job:
    """What one run shares: corpus, sample counts, edgec's variants, the peers."""

    corpus: Path
    samples: int
    eval_samples: int
    variants: dict[str, Choices]
    peers: Peers


def main() -> None:
    """Measure the models asked for, print a table, write JSON where asked."""
    options = _options()
    console = Console()
    rows: list[Row] = []
    settings = {
        "samples": options.samples,
        "eval_samples": options.eval_samples,
        "variants": {name: {k: str(v) for k, v in some.items()} for name, some in options.variants.items()},
    }
    with tempfile.TemporaryDirectory(prefix="edgec-bench-") as scratch:
        from_peers = peers.from_options(options, Path(scratch))
        job = Job(options.corpus, options.samples, options.eval_samples, options.variants, from_peers)
        for entry in chosen_models(options.models, keras=options.keras_python is not None):
            rows.append(measure(entry, job))
            console.print(f"{entry.name}: {rows[-1].line()}", style="dim", highlight=False)
            if options.json:
                found = as_json(rows, list(options.variants), settings)
                options.json.write_text(json.dumps(found, indent=2) + "\n")
    console.print(table(rows, list(options.variants)))
    for name in options.variants:
        console.print(f"{name}: {summary(rows, name)}", highlight=False)


def chosen_models(names: Sequence[str] | None, *, keras: bool) -> list[CorpusModel]:
    """Return the models named, else all that can be read; a network that is there twice counts once."""
    if names:
        return [MODELS[name] for name in names]
    readable = [model for model in MODELS.values() if keras or not model.keras]
    known = {model.name for model in readable}
    return [model for model in readable if model.twin not in known]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all tools share: the float model for edgec and for the peers, samples, and float's outputs.

    `shapes` are the inputs' shapes in the source.
    """

    entry: CorpusModel
    source: Path
    peer_model: Path
    peer_axes: Axes
    shapes: tuple[tuple[int, ...], ...]
    split: Split
    expected: tuple[Outputs, ...] = field(repr=False)


def measure(entry: CorpusModel, job: Job) -> Row:
    """Run every tool on one model."""
    try:
        prepared = prepare(entry, job)
    except (CompileError, PeerError) as error:
        return Row(entry.name, entry.data, 0, 0, None, (Result("edgec", error=one_line(error)),))
    results = [_edgec(prepared, name, choices) for name, choices in job.variants.items()]
    if job.peers.python:
        for tool in ("litert-legacy", "ai-edge-quantizer"):
            results.append(_peer(prepared, tool, prepared.peer_model, job.peers))
    if entry.keras:
        results.append(_peer(prepared, "tflite-converter", entry.file(job.corpus), job.peers))
    split = prepared.split
    itself = score(prepared.expected, prepared.expected, entry.classes, split.labels)
    counts = len(split.calibration[0]), len(split.evaluation[0])
    return Row(entry.name, entry.data, *counts, itself.top1, tuple(results))


def prepare(entry: CorpusModel, job: Job) -> Prepared:
    """Read data and float model of one entry, and run the float model on the evaluation samples."""
    source = entry.file(job.corpus)
    if entry.keras:
        source = job.peers.make("keras-float", source)
    models: list[Model] = []
    compiled = edgec.compile(
        source,
        input_shapes=entry.input_shapes,
        verify=False,
        on_pass=lambda _, model: models.append(model),
    )
    split = entry.split(job.corpus).limited(job.samples, job.eval_samples)
    shapes = tuple(port.shape for port in models[-1].inputs)
    samples = [_shaped(sample, shapes) for sample in samples_of(split.evaluation)]
    expected = _float_outputs(source, [port.name for port in models[-1].inputs], samples)
    peer_model, axes = source, Axes()
    if not _usable_by_peers(source):
        peer_model, axes = job.peers.folder / f"{entry.name}.edgec.tflite", _axes(models[-1])
        job.peers.folder.mkdir(parents=True, exist_ok=True)
        peer_model.write_bytes(compiled.tflite)
    return Prepared(entry, source, peer_model, axes, shapes, split, tuple(expected))


def _float_outputs(source: Path, names: list[str], samples: Sequence[tuple[Array, ...]]) -> list[Outputs]:
    """Return what the float model computes, in the runtime that defines it."""
    if source.suffix == ".tflite":
        model = RealModel(source.read_bytes(), Axes(), KernelSet.BUILTIN)
        return [model.run(sample) for sample in samples]
    from edgec.verify.source import OnnxRuntimeSource

    oracle = OnnxRuntimeSource(source, threads=1)
    return [oracle.run(dict(zip(names, sample, strict=True))) for sample in samples]


def _usable_by_peers(source: Path) -> bool:
    """Whether a file is a float32 .tflite with a signature, which ai-edge-quantizer needs."""
    if source.suffix != ".tflite":
        return False
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(source))
    kinds = {operator["op_name"] for operator in interpreter._get_ops_details()}
    return bool(interpreter.get_signature_list()) and "DEQUANTIZE" not in kinds


def _edgec(prepared: Prepared, name: str, choices: Choices) -> Result:
    """Compile with edgec and score."""
    models: list[Model] = []
    arrays = zip(prepared.split.calibration, prepared.shapes, strict=True)
    calibration = {f"in{i}": array.reshape(len(array), *shape) for i, (array, shape) in enumerate(arrays)}
    start = time.perf_counter()
    try:
        compiled = edgec.compile(
            prepared.source,
            input_shapes=prepared.entry.input_shapes,
            on_pass=lambda _, model: models.append(model),
            **{"precision": "int8", "calibration": calibration, "verify": False, **choices},
        )
    except CompileError as error:
        return Result(name, error=one_line(error))
    return _scored(prepared, name, compiled.tflite, _axes(models[-1]), time.perf_counter() - start)


def _axes(model: Model) -> Axes:
    return Axes(*(tuple(port.permutation for port in ports) for ports in (model.inputs, model.outputs)))


def _peer(prepared: Prepared, tool: str, model: Path, others: Peers) -> Result:
    """Quantize with a peer, in the peer's interpreter, and score."""
    axes = prepared.peer_axes
    permutations = axes.inputs or (None,) * len(prepared.shapes)
    arrays: list[Array] = []
    for array, shape, axis in zip(prepared.split.calibration, prepared.shapes, permutations, strict=True):
        shaped = array.reshape(len(array), *shape)
        arrays.append(shaped if axis is None else shaped.transpose(0, *(one + 1 for one in axis)))
    start = time.perf_counter()
    try:
        made = others.make(tool, model, arrays)
    except PeerError as error:
        return Result(tool, error=one_line(error))
    return _scored(prepared, tool, made.read_bytes(), axes, time.perf_counter() - start)


def _scored(prepared: Prepared, tool: str, content: bytes, axes: Axes, seconds: float) -> Result:
    """Score a quantized file in a process of its own: some files end LiteRT with a signal.

    Where the delegate refuses the file it runs in builtin kernels.
    """
    error = ""
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        found = in_child(lambda: _run(prepared, content, axes, kernels))  # noqa: B023 (called at once)
        if not isinstance(found, str):
            return Result(tool, found[0], "", seconds, len(content), kernels.value, found[1])
        error = found
    return Result(tool, None, f"the file does not run: {error}", seconds, len(content))


def _run(prepared: Prepared, content: bytes, axes: Axes, kernels: KernelSet) -> tuple[Score, int]:
    model = RealModel(content, axes, kernels)
    samples = (_shaped(sample, prepared.shapes) for sample in samples_of(prepared.split.evaluation))
    outputs = (model.run(sample) for sample in samples)
    found = score(prepared.expected, outputs, prepared.entry.classes, prepared.split.labels)
    return found, model.float_islands


def _shaped(sample: tuple[Array, ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[Array, ...]:
    return tuple(array.reshape(shape) for array, shape in zip(sample, shapes, strict=True))


def one_line(error: Exception) -> str:
    """Return an error's text in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure int8 accuracy of edgec and other tools on the corpus's float models.",
        epilog="Models: " + ", ".join(MODELS),
    )
    parser.add_argument(
        "--models",
        type=lambda text: listed_models(text, tuple(MODELS)),
        metavar="A,B",
        help="these alone (default: all)",
    )
    parser.add_argument("--samples", type=int, default=100, help="calibration samples (default 100, 0: all)")
    parser.add_argument(
        "--eval-samples", type=int, default=500, help="evaluation samples (default 500, 0: all there are)"
    )
    parser.add_argument(
        "--choice",
        type=choice,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of edgec.compile",
    )
    parser.add_argument(
        "--variant",
        type=variant,
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE,...",
        help="one more column: edgec with these options beside those of --choice",
    )
    parser.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS, help="default: ../shared/corpus")
    peers.add_options(parser)
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="also write every figure here, after each model"
    )
    options = parser.parse_args()
    if not options.corpus.is_dir():
        parser.error(f"{options.corpus} does not exist; say where the model corpus is with --corpus")
    base = dict(options.choice)
    options.variants = {"edgec": base} | {name: base | more for name, more in options.variant}
    return options


def listed_models(text: str, known: Sequence[str]) -> list[str]:
    """Return the names in `a,b`; for argparse."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; --help lists the models")
    return names


def choice(text: str) -> tuple[str, object]:
    """Return the key and value of `key=value`; the value is a Python literal, or else a text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    try:
        return key.strip(), ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key.strip(), value


def variant(text: str) -> tuple[str, Choices]:
    """Return the name and options of `name:key=value,key=value`; for argparse."""
    name, colon, choices = text.partition(":")
    if not colon or name in ("edgec", *PEER_TOOLS):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME:KEY=VALUE,... with a name of its own")
    return name, dict(choice(part) for part in choices.split(",") if part)


if __name__ == "__main__":
    main()
