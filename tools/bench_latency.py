"""Measure how fast compiled models are beside each other, in LiteRT with one thread: `--help`.

    python tools/bench_latency.py [--models a,b] [--keras-python PY] [--json OUT.json]

One row for each pair of files, as the time of the first over the time of the second:

    edgec int8 / edgec float               every CNN of the corpus
    edgec float / TFLiteConverter float    every Keras model, and MobileNetV3-Small of keras.applications
    edgec int8 / TFLiteConverter int8      with random weights

Both files of a pair are loaded in one process and run in turns, so that whatever else the machine does meets
both: after a warm-up one measurement of each, the order changing every time. A measurement is as many runs as
take about two milliseconds, in processor time of the thread, so that being interrupted does not count. The
figure is the median of the turns' ratios; beside it stands the ratio of the shortest times. XNNPACK takes
what it can of both files. Times alone mean nothing on a busy machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import peers
from bench_quantization import choice, listed_models, one_line
from corpus_data import DEFAULT_CORPUS, MODELS, CorpusModel, Split, photo_views
from peers import PeerError, Peers
from rich.console import Console
from rich.table import Table
from scoring import quantized

import edgec
from edgec.diagnostics import CompileError
from edgec.kernels.native_log import captured_stderr

MEASUREMENT_SECONDS = 0.002
WARM_UP_SECONDS = 0.2
ZOO = "MobileNetV3Small"
OWN, CONVERTER_FLOAT, CONVERTER_INT8 = "int8/float", "float/converter", "int8/converter"
BUDGETS = {OWN: 0.7, CONVERTER_FLOAT: 1.0, CONVERTER_INT8: 1.0}
MEDIAN_BUDGETS = {OWN: 0.5, CONVERTER_FLOAT: 1.0}
ZOO_BUDGET = 0.3
"""What MobileNetV3-Small in int8 may take of the converter's, whose hard_swish has no int8 kernel there."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files of one model. Times are the shortest, in milliseconds; `error` says why there are none."""

    model: str
    pair: str
    ratio: float = math.nan
    ratio_of_shortest: float = math.nan
    first_ms: float = math.nan
    second_ms: float = math.nan
    turns: int = 0
    error: str = ""

    @property
    def budget(self) -> float:
        """The ratio that may not be exceeded."""
        return ZOO_BUDGET if self.model == ZOO and self.pair == CONVERTER_INT8 else BUDGETS[self.pair]

    @property
    def missed(self) -> bool:
        """Whether there is a ratio and it is above its budget."""
        return self.ratio > self.budget


@dataclass(frozen=True, slots=True)
class Job:
    """What one run shares."""

    corpus: Path
    samples: int
    turns: int
    choices: dict[str, object]
    peers: Peers


def main() -> None:
    """Measure the pairs asked for, print a table, write JSON where asked."""
    options = _options()
    console = Console()
    found: list[Pair] = []
    with tempfile.TemporaryDirectory(prefix="edgec-bench-") as scratch:
        others = peers.from_options(options, Path(scratch))
        job = Job(options.corpus, options.samples, options.turns, dict(options.choice), others)
        for entry in chosen_models(options.models, keras=options.keras_python is not None):
            for pair in measure(entry, job):
                found.append(pair)
                console.print(f"{pair.model} {pair.pair} {pair.ratio:.3f} {pair.error}", style="dim")
            if options.json:
                options.json.write_text(json.dumps(as_json(found), indent=2) + "\n")
    console.print(table(found))
    for pair in BUDGETS:
        console.print(summary(found, pair), highlight=False)


def chosen_models(names: Sequence[str] | None, *, keras: bool) -> list[CorpusModel]:
    """Return the models named; else every CNN and, with Keras, every Keras model. Twins count once."""
    every = {**MODELS, ZOO: _zoo_model()}
    if names:
        return [every[name] for name in names]
    readable = [model for model in every.values() if (keras if model.keras else model.cnn)]
    known = {model.name for model in readable}
    return [model for model in readable if model.twin not in known]


def _zoo_model() -> CorpusModel:
    def photos(data: Path) -> Split:
        views = photo_views(data, (224, 224), evaluation=False, count=4)
        return Split((views,), (views,))

    return CorpusModel(f"keras/{ZOO}.keras", "photos, random weights", photos)


def measure(entry: CorpusModel, job: Job) -> Iterator[Pair]:
    """Yield the pairs of one model."""
    split = entry.split(job.corpus).limited(job.samples, 1)
    try:
        source = keras_file(entry, job) if entry.keras else entry.file(job.corpus)
        model = job.peers.make("keras-float", source) if entry.keras else source
        own_float = compiled(model, entry, split, job, "float32")
    except (CompileError, PeerError) as error:
        yield Pair(entry.name, OWN, error=one_line(error))
        return
    try:
        own_int8 = compiled(model, entry, split, job, "int8")
    except CompileError as error:
        yield Pair(entry.name, OWN, error=one_line(error))
        own_int8 = None
    if own_int8 is not None and entry.cnn:
        yield compare(entry.name, OWN, own_int8, own_float, split, job.turns)
    if entry.keras:
        yield compare(entry.name, CONVERTER_FLOAT, own_float, model.read_bytes(), split, job.turns)
    if entry.keras and own_int8 is not None:
        yield _against_converter(entry.name, own_int8, source, split, job)


def _against_converter(name: str, own: bytes, source: Path, split: Split, job: Job) -> Pair:
    arrays = [array[:, None] for array in split.calibration]
    try:
        theirs = job.peers.make("tflite-converter", source, arrays).read_bytes()
    except PeerError as error:
        return Pair(name, CONVERTER_INT8, error=one_line(error))
    return compare(name, CONVERTER_INT8, own, theirs, split, job.turns)


def keras_file(entry: CorpusModel, job: Job) -> Path:
    """Return a Keras model's file; the one of keras.applications is made."""
    return job.peers.make("keras-zoo", ZOO) if entry.name == ZOO else entry.file(job.corpus)


def compiled(model: Path, entry: CorpusModel, split: Split, job: Job, precision: str) -> bytes:
    """Return edgec's file."""
    calibration = {f"in{index}": array[:, None] for index, array in enumerate(split.calibration)}
    if precision == "float32":
        calibration = None
    made = edgec.compile(
        model,
        input_shapes=entry.input_shapes,
        **{"precision": precision, "calibration": calibration, "verify": False, **job.choices},
    )
    return made.tflite


def compare(name: str, pair: str, first: bytes, second: bytes, split: Split, turns: int) -> Pair:
    """Time two files in turns."""
    runs = [_invoker(content, split) for content in (first, second)]
    counts = [_warm_up(run) for run in runs]
    times: list[tuple[float, float]] = []
    gc.disable()
    try:
        for turn in range(turns):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            taken = {which: _seconds(runs[which], counts[which]) for which in order}
            times.append((taken[0], taken[1]))
    finally:
        gc.enable()
    return Pair(name, pair, *ratios(times), turns)


def ratios(times: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Return the median of the ratios, the ratio of the shortest times, and those two in milliseconds."""
    shortest = [min(column) for column in zip(*times, strict=True)]
    median = statistics.median(first / second for first, second in times)
    return median, shortest[0] / shortest[1], shortest[0] * 1e3, shortest[1] * 1e3


def _invoker(content: bytes, split: Split) -> Callable[[], None]:
    """Return a function that runs the file once, on a real sample."""
    from ai_edge_litert.interpreter import Interpreter

    with captured_stderr():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    for array, detail in zip(split.evaluation, interpreter.get_input_details(), strict=True):
        scale, zero_point = detail["quantization"]
        shape = detail["shape"]
        values = array if array.size == math.prod(shape) else np.resize(array, shape)
        interpreter.set_tensor(
            detail["index"], quantized(values.reshape(shape), scale, zero_point, detail["dtype"])
        )
    return interpreter.invoke


def _warm_up(run: Callable[[], None]) -> int:
    """Run for a while; return how many runs make one measurement."""
    run()
    shortest = math.inf
    until = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < until:
        shortest = min(shortest, _seconds(run, 1))
    return max(1, math.ceil(MEASUREMENT_SECONDS / shortest)) if shortest < math.inf else 1


def _seconds(run: Callable[[], None], count: int) -> float:
    """Return the processor seconds of one run, averaged over `count`."""
    start = time.thread_time()  # with one thread the kernels run in the calling one
    for _ in range(count):
        run()
    return (time.thread_time() - start) / count


def table(pairs: Sequence[Pair]) -> Table:
    """Return a row for each pair; those above their budget are red."""
    made = Table(title="time of the first over time of the second: LiteRT, XNNPACK, one thread")
    made.add_column("model", no_wrap=True)
    made.add_column("pair", no_wrap=True)
    for column in ("ratio", "of shortest", "first ms", "second ms", "budget"):
        made.add_column(column, justify="right")
    for pair in pairs:
        figures = (pair.ratio, pair.ratio_of_shortest, pair.first_ms, pair.second_ms)
        cells = [pair.error[:60], "", "", ""] if pair.error else [f"{figure:.3f}" for figure in figures]
        style = "red" if pair.missed else None
        made.add_row(pair.model, pair.pair, *cells, f"≤ {pair.budget:g}", style=style)
    return made


def summary(pairs: Sequence[Pair], name: str) -> str:
    """Return the median of one kind of pair and who is above the budget."""
    measured = [pair for pair in pairs if pair.pair == name and not math.isnan(pair.ratio)]
    if not measured:
        return f"{name}: nothing measured"
    median = statistics.median(pair.ratio for pair in measured)
    budget = f" (budget {MEDIAN_BUDGETS[name]:g})" if name in MEDIAN_BUDGETS else ""
    missed = ", ".join(f"{pair.model} {pair.ratio:.2f}" for pair in measured if pair.missed) or "none"
    return f"{name}: median {median:.3f}{budget} of {len(measured)}; above the budget of one: {missed}"


def as_json(pairs: Sequence[Pair]) -> dict[str, object]:
    """Return pairs and summaries; figures that do not exist are null."""
    rows = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in map(asdict, pairs)
    ]
    return {"summary": [summary(pairs, name) for name in BUDGETS], "pairs": rows}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure latency ratios: edgec's int8 to its float, and both to TFLiteConverter's.",
        epilog="Models: " + ", ".join([*MODELS, ZOO]),
    )
    parser.add_argument("--models", type=lambda text: listed_models(text, (*MODELS, ZOO)), metavar="A,B")
    parser.add_argument("--turns", type=int, default=40, help="measurements of each file (default 40)")
    parser.add_argument("--samples", type=int, default=20, help="calibration samples (default 20)")
    parser.add_argument(
        "--choice", type=choice, action="append", default=[], metavar="KEY=VALUE", help="for edgec.compile"
    )
    parser.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS, help="default: ../shared/corpus")
    peers.add_options(parser)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write every figure here")
    options = parser.parse_args()
    if not options.corpus.is_dir():
        parser.error(f"{options.corpus} does not exist; say where the model corpus is with --corpus")
    if options.turns < 2:
        parser.error("--turns must be at least 2")
    return options


if __name__ == "__main__":
    main()
