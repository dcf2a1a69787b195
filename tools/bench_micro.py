"""Compare LiteRT's reference kernels with TensorFlow Lite Micro on compiled files, in steps: `--help`.

    python tools/bench_micro.py [--models a,b] [--precisions int8,int16x8,int8-int4,given] [--json OUT.json]

Every float model of the corpus is compiled for a TFLM target in each precision, and every file that was
quantized by others is compiled as it is (`given`). Both kernel sets then run the same evaluation samples, of
which none was calibrated on. One row a file: the largest difference of each output in steps (1 is one unit
of the last place), or the operators that TFLM lacks, as the compile names them.

    refused      the compile says which operators TFLM, or the quantizer, has no kernel for
    does not run the compile let it pass: a fault of edgec
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bench_micro_kernels import Agreement, agreement
from corpus_data import DEFAULT_CORPUS, MODELS, CorpusModel
from rich.console import Console
from rich.table import Table
from scoring import quantized

import edgec
from edgec.diagnostics import CompileError
from edgec.ir import Array, Model

TARGET = "cortex-m7"
PRECISIONS = ("int8", "int16x8", "int8-int4", "given")
GIVEN_DATA = {
    "mlperf_resnet8_int8": "mlperf_resnet8_fp32",
    "mlperf_resnet_large_int8": "mlperf_resnet_large_fp32",
    "mlperf_kws_int8": "mlperf_kws_fp32",
    "mlperf_vww96_int8": "mlperf_vww96_fp32",
    "mlperf_ad01_int8": "mlperf_ad01_fp32",
    "tflm_hello_world_int8": "tflm_hello_world_float",
    "tflm_trained_lstm_int8": "tflm_trained_lstm",
}
"""Quantized files whose real inputs we have; the others of `refs/` are run on random integers."""
_NAMED = re.compile(r"\((\w+)\)$")


@dataclass(frozen=True, slots=True)
class Row:
    """One file: `refused` are what the compile found missing, with how often; else both sides were run."""

    model: str
    precision: str
    samples: int = 0
    refused: tuple[str, ...] = ()
    found: Agreement | None = None

    @property
    def verdict(self) -> str:
        """The outcome in a word or two."""
        if self.found is None:
            return "refused"
        if not self.found.ran:
            return "does not run"
        return "equal" if not any(self.found.steps) else f"within {max(self.found.steps)}"

    @property
    def why(self) -> str:
        """What there is to say about it."""
        if self.found is None:
            return "; ".join(self.refused)
        if not self.found.ran:
            return self.found.micro_error or f"LiteRT: {self.found.litert_error}"
        kernels = "" if self.found.kernels == "reference" else f"LiteRT's {self.found.kernels} kernels; "
        return (kernels + (f"first: {self.found.first}" if self.found.first else "")).strip("; ")


def main() -> None:
    """Compile and compare what was asked for, print a table, write JSON where asked."""
    options = _options()
    console = Console()
    rows: list[Row] = []
    for row in measured(options.models, options.precisions, options.corpus, options.samples):
        rows.append(row)
        text = f"{row.model} {row.precision}: {row.verdict} {row.why}"
        console.print(text, style="dim", highlight=False, soft_wrap=True)
        if options.json:
            text = json.dumps([{**asdict(one), "verdict": one.verdict} for one in rows], indent=2)
            options.json.write_text(text + "\n")
    console.print(table(rows))
    console.print(summary(rows), highlight=False)


def measured(models: Sequence[str], precisions: Sequence[str], corpus: Path, samples: int) -> Iterator[Row]:
    """Yield a row for each model and precision; names that a precision does not know are left out."""
    for name in models:
        for precision in precisions:
            if (precision == "given") != (name in MODELS):
                yield measure(name, precision, corpus, samples)


def measure(name: str, precision: str, corpus: Path, samples: int) -> Row:
    """Compile one model for TFLM and run it on both sides; a refusal is a row, too."""
    try:
        content, drawn = compiled(name, precision, corpus, samples)
    except CompileError as error:
        return Row(name, precision, refused=lacking(error))
    return Row(name, precision, len(drawn), found=agreement(content, drawn))


def lacking(error: CompileError) -> tuple[str, ...]:
    """Return each kind of refusal once, with how many nodes it met: "3 x gelu: TFLM has no kernel ..."."""
    found: Counter[str] = Counter()
    for item in error.diagnostics:
        kind = _NAMED.search(item.where)
        found[f"{kind[1] if kind else item.where}: {item.what}"] += 1
    return tuple(f"{count} x {text}" for text, count in found.most_common())


def compiled(name: str, precision: str, corpus: Path, samples: int) -> tuple[bytes, list[list[Array]]]:
    """Return a file for TFLM and the integers that it is fed with."""
    if precision == "given":
        content = (corpus / "refs" / f"{name}.tflite").read_bytes()
        made = edgec.compile(content, target=TARGET, precision="int8", verify=False)
        entry = MODELS.get(GIVEN_DATA.get(name, ""))
        return made.tflite, _fed(
            made.tflite, () if entry is None else entry.split(corpus).evaluation, samples
        )
    entry, models = MODELS[name], list[Model]()
    split = entry.split(corpus).limited(samples, samples)
    word, _, weights = precision.partition("-")
    made = edgec.compile(
        entry.file(corpus),
        target=TARGET,
        precision=word,
        weights=weights or None,
        input_shapes=entry.input_shapes,
        calibration=_calibration(entry, split.calibration),
        on_pass=lambda _, model: models.append(model),
        verify=False,
    )
    axes = [port.permutation for port in models[-1].inputs]
    return made.tflite, _fed(made.tflite, split.evaluation, samples, axes)


def _calibration(entry: CorpusModel, arrays: Sequence[Array]) -> dict[str, Array]:
    """Name the arrays by position, with the batch axis of one that sources have."""
    return {f"in{index}": array[:, None] for index, array in enumerate(arrays)}


@dataclass(frozen=True, slots=True)
class Input:
    """What a file takes: a tensor's shape, type and parameters (a scale of 0: not quantized)."""

    shape: tuple[int, ...]
    dtype: type[np.generic]
    scale: float
    zero_point: int

    def encode(self, array: Array, axes: tuple[int, ...] | None) -> Array:
        """Return one sample of real numbers, in the source's axes, as the tensor holds it."""
        if axes is not None:
            array = array.reshape([self.shape[axes.index(axis)] for axis in range(len(axes))]).transpose(axes)
        shaped = np.ascontiguousarray(array.reshape(self.shape))
        return quantized(shaped, self.scale, self.zero_point, self.dtype)

    def draw(self, generator: np.random.Generator) -> Array:
        """Return random numbers over all that the type holds; normal ones for floats."""
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            return generator.standard_normal(self.shape).astype(kind)
        limits = np.iinfo(str(kind))
        return generator.integers(limits.min, limits.max + 1, self.shape).astype(kind)


def _inputs(content: bytes) -> list[Input]:
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=content).get_input_details()
    return [Input(tuple(d["shape"]), d["dtype"], *d["quantization"]) for d in details]


def _fed(
    content: bytes, arrays: Sequence[Array], samples: int, axes: Sequence[tuple[int, ...] | None] = ()
) -> list[list[Array]]:
    """Return samples in the file's own types; random ones over the whole range where there are no arrays."""
    inputs = _inputs(content)
    if not arrays:
        generator = np.random.default_rng(0)
        return [[item.draw(generator) for item in inputs] for _ in range(samples)]
    moved = axes or (None,) * len(inputs)
    together = list(zip(inputs, arrays, moved, strict=True))
    count = min(samples, len(arrays[0]))
    return [[item.encode(array[n], axis) for item, array, axis in together] for n in range(count)]


def table(rows: Sequence[Row]) -> Table:
    """Return all rows for people."""
    made = Table("model", "precision", "samples", "largest difference", "elements", "notes")
    for row in rows:
        steps = "" if row.found is None else " ".join(map(str, row.found.steps))
        share = "" if row.found is None or not row.found.ran else f"{row.found.share:.2%}"
        made.add_row(
            row.model, row.precision, str(row.samples or ""), steps, share, f"{row.verdict} {row.why}"
        )
    return made


def summary(rows: Sequence[Row]) -> str:
    """Return the counts in a sentence."""
    counts = Counter(row.verdict for row in rows)
    worst = max((max(row.found.steps) for row in rows if row.found and row.found.ran), default=0)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{len(rows)} files: {said}; largest difference {worst}"


def _given() -> list[str]:
    """Return the files of `refs/` that compute with integers and are no float model of the corpus."""
    paths = sorted((DEFAULT_CORPUS / "refs").glob("*.tflite"))
    unknown = [path for path in paths if path.stem not in MODELS]
    compiled_on = [path for path in unknown if not path.stem.endswith(("_edgetpu", "_vela"))]
    return [path.stem for path in compiled_on if _computes_with_integers(path)]


def _computes_with_integers(path: Path) -> bool:
    from edgec.emit.options import schema
    from edgec.frontends.tflite.load import read_tflite

    types = schema().TensorType
    graph = read_tflite(path).table.subgraphs[0]
    made = {graph.tensors[index].type for operator in graph.operators for index in operator.outputs}
    return bool(made & {types.INT8, types.UINT8})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare LiteRT's reference kernels with TFLM, in steps.")
    known = [*(name for name, entry in MODELS.items() if not entry.keras), *_given()]
    parser.add_argument("--models", type=lambda text: text.split(","), default=known, metavar="A,B")
    parser.add_argument(
        "--precisions",
        type=lambda text: text.split(","),
        default=list(PRECISIONS),
        metavar="P,Q",
        help=f"some of {', '.join(PRECISIONS)}",
    )
    parser.add_argument("--samples", type=int, default=4, help="evaluation samples of a file (default 4)")
    parser.add_argument("--corpus", type=Path, default=DEFAULT_CORPUS)
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
