"""What error-compensating rounding gains on the corpus, and how long it takes.

    python tools/bench_rounding.py [--models a,b] [--weights int4] [--draws 3] [--json OUT.json]
    python tools/bench_rounding.py … --against BEFORE.json

One row for each model and recipe: SQNR in dB on evaluation samples, in front of a final softmax, as the mean
over outputs and draws; the spread over draws; processor seconds of repairs and quantizing.
Each draw calibrates with another four fifths of the calibration samples: which integers are chosen is partly
luck, and a single figure moves by a decibel with the samples. `--against` compares with an earlier JSON,
draw by draw: the same samples calibrate and judge in both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from corpus_data import DEFAULT_CORPUS, MODELS, Arrays, CorpusModel
from rich.console import Console
from rich.table import Table

from edgec import stages
from edgec.diagnostics import CompileError, Diagnostics
from edgec.ir import Array, DType, Model
from edgec.options import CompileOptions
from edgec.pipeline import integer_pipeline, run_passes
from edgec.progress import Stopwatch
from edgec.recipes.gains import noise_of
from edgec.recipes.logits import Comparison
from edgec.recipes.recipe import Recipe
from edgec.recipes.workbench import Interface, Workbench

RECIPES = {
    "nearest": Recipe(),
    "bias": Recipe(repairs=("bias",)),
    "rounding": Recipe(repairs=("rounding",)),
    "equalize+rounding": Recipe(repairs=("equalize", "rounding")),
}
MAX_SAMPLES = 100
Samples = list[dict[str, Array]]


@dataclass(frozen=True, slots=True)
class Figures:
    """One model by one recipe: the SQNR and processor seconds of every draw."""

    model: str
    recipe: str
    sqnr_db: list[float]
    seconds: list[float]


def main() -> None:
    """Measure the models asked for, print a table, write JSON where asked."""
    options = _options()
    before = _read(options.against) if options.against else {}
    wanted = options.models.split(",") if options.models else [m.name for m in MODELS.values() if not m.keras]
    weights, found = DType[options.weights.upper()], []
    console = Console()
    for name in wanted:
        try:
            for figures in measure(MODELS[name], options.corpus, weights, options.draws):
                found.append(figures)
                console.print(f"{name} {figures.recipe}: {statistics.mean(figures.sqnr_db):.2f} dB")
        except CompileError as error:
            console.print(f"{name}: {error}")
    console.print(table(found, before))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")


def measure(entry: CorpusModel, corpus: Path, weights: DType, draws: int) -> Iterator[Figures]:
    """Yield the figures of one model by every recipe."""
    model = float_model(entry, corpus)
    split = entry.split(corpus).limited(MAX_SAMPLES, MAX_SAMPLES)
    calibration, evaluation = (_samples(model, part) for part in (split.calibration, split.evaluation))
    compared = Comparison(model, evaluation, 1)
    found = {name: Figures(entry.name, name, [], []) for name in RECIPES}
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(calibration))
        chosen = sorted(order[: max(len(order) * 4 // 5, 2)])
        bench = Workbench(
            model, [calibration[index] for index in chosen], Interface(weights=weights), threads=1
        )
        for name, recipe in RECIPES.items():
            bench.ranges(recipe)
            begin = time.process_time()
            quantized = bench.quantize(recipe)
            found[name].seconds.append(time.process_time() - begin)
            noise = noise_of(*compared.answers(quantized)).mean(axis=0)
            found[name].sqnr_db.append(float(np.mean(-10 * np.log10(noise))))
    yield from found.values()


def float_model(entry: CorpusModel, corpus: Path) -> Model:
    """Return the float model as it is quantized."""
    options = CompileOptions(target="rpi4", precision="int8", input_shapes=entry.input_shapes)
    job = stages.Job(options, Diagnostics(), Stopwatch(None))
    _, profile = stages.choose_target(job)
    source = stages.load(job, str(entry.file(corpus)))
    return run_passes(stages.import_and_optimize(job, source, profile), integer_pipeline(profile))


def _samples(model: Model, arrays: Arrays) -> Samples:
    """Return arrays [samples, ...] as samples by input name."""
    return [
        {
            port.name: array[index].reshape(port.shape).astype(port.dtype.numpy)
            for port, array in zip(model.inputs, arrays, strict=True)
        }
        for index in range(len(arrays[0]))
    ]


def table(found: Sequence[Figures], before: dict[tuple[str, str], Figures]) -> Table:
    """Return a row for each model and recipe, and the medians of gains over nearest."""
    shown = Table("model", "recipe", "SQNR dB", "spread", "over nearest", "seconds", "against", "times")
    nearest = {one.model: one for one in found if one.recipe == "nearest"}
    gains: dict[str, list[float]] = {name: [] for name in RECIPES}
    for one in found:
        mean, seconds = statistics.mean(one.sqnr_db), statistics.mean(one.seconds)
        gain = mean - statistics.mean(nearest[one.model].sqnr_db)
        gains[one.recipe].append(gain)
        row = [one.model, one.recipe, f"{mean:.2f}", f"{statistics.pstdev(one.sqnr_db):.2f}", f"{gain:+.2f}"]
        old = before.get((one.model, one.recipe))
        pairs = [] if old is None else [a - b for a, b in zip(one.sqnr_db, old.sqnr_db, strict=False)]
        against = f"{statistics.mean(pairs):+.2f}" if pairs else ""
        times = "" if old is None else f"{statistics.mean(old.seconds) / seconds:.1f}"
        shown.add_row(*row, f"{seconds:.2f}", against, times)
    for name, values in gains.items():
        if values:
            shown.add_row("median", name, "", "", f"{statistics.median(values):+.2f}", "", "", "")
    return shown


def _read(path: Path) -> dict[tuple[str, str], Figures]:
    found = [Figures(**one) for one in json.loads(path.read_text())]
    return {(one.model, one.recipe): one for one in found}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS)
    parser.add_argument("--models", help="names, separated by commas; default: all but Keras sources")
    parser.add_argument("--weights", choices=("int8", "int4"), default="int8")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--against", type=Path, help="the JSON of an earlier run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
