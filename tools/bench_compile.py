"""Measure compile time and memory: `make bench`.

    python tools/bench_compile.py [--runs N] [--json OUT.json]
    python tools/bench_compile.py --model M.onnx [--calibration PATH] [-- --input-shape x=1,3,320,320 ...]

Without --model: `edgec --help`, and a 100 MB ResNet-50-shaped float model built here with random weights.
With --model: that model in float32, and in int8 where there is calibration data; what follows `--` goes to
every `edgec compile`. Each figure is the median (least-most) over N runs in processes of their own, after one
run to warm the file cache. Peak memory is the largest resident set of the process or a child it waited for.

A budget is shown beside its figure and marked when missed. This informs, it does not gate: time on a busy
machine is no reason to fail a build.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

# No onnx, no numpy here: Linux counts the memory of the process that starts a child into the child's peak, so
# the one that measures stays small and leaves building the model to another process.

EDGEC = Path(sys.executable).with_name("edgec")
TOOLS = Path(__file__).resolve().parent
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure. Budgets: seconds of wall clock, bytes of peak memory; None where none is set."""

    name: str
    arguments: tuple[str, ...]
    source_bytes: int = 0
    seconds_budget: float | None = None
    bytes_budget: int | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most over the runs."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A case and its figures: wall clock in seconds, peak resident memory in bytes."""

    case: Case
    seconds: Spread
    peak_bytes: Spread


def main() -> None:
    """Measure the cases asked for, print a table, write JSON where asked."""
    options = _options()
    if not EDGEC.exists():
        sys.exit(f"bench: no edgec beside {sys.executable}; run `make setup` and use .venv/bin/python")
    with tempfile.TemporaryDirectory(prefix="edgec-bench-") as folder:
        if options.model:
            cases = model_cases(
                options.model, options.calibration, tuple(options.compile_options), Path(folder)
            )
        else:
            cases = standard_cases(Path(folder))
        results = [measure(case, options.runs) for case in cases]
    print_table(results)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def standard_cases(folder: Path) -> list[Case]:
    """Return the cases with budgets; builds the large model in `folder`."""
    model = folder / "resnet50_shaped.onnx"
    subprocess.run([sys.executable, TOOLS / "resnet50_shaped.py", model], check=True)
    size = model.stat().st_size
    compile_float = _compile(model, folder, "--no-verify")
    large = Case("resnet50-shaped float32 --no-verify", compile_float, size, 2.0, 4 * size + 300 * MEGABYTE)
    return [Case("edgec --help", ("--help",), seconds_budget=0.4), large]


def model_cases(model: Path, calibration: Path | None, extra: tuple[str, ...], folder: Path) -> list[Case]:
    """Return the float32 case of any model, and the int8 one where there is calibration data."""
    size = model.stat().st_size
    cases = [Case(f"{model.stem} float32", _compile(model, folder, *extra), size)]
    if calibration:
        int8 = ("--int8", "--calibration", str(calibration), *extra)
        cases.append(Case(f"{model.stem} int8", _compile(model, folder, *int8), size))
    return cases


def measure(case: Case, runs: int) -> Measured:
    """Run the case once to warm up, then `runs` times."""
    run_once(case.arguments)
    figures = [run_once(case.arguments) for _ in range(runs)]
    seconds, peaks = zip(*figures, strict=True)
    return Measured(case, _spread(seconds), _spread(peaks))


def run_once(arguments: tuple[str, ...]) -> tuple[float, int]:
    """Return wall-clock seconds and peak resident bytes of one `edgec` process; stop when it fails."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = subprocess.Popen([EDGEC, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            said = output.read().decode(errors="replace")
            sys.exit(f"bench: edgec {' '.join(arguments)}\nended with exit code {child.returncode}:\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kilobytes on Linux, bytes on macOS
    return seconds, usage.ru_maxrss * unit


def print_table(results: list[Measured]) -> None:
    """Print one row per case: wall clock, peak memory, and peak per byte of the source model."""
    print(f"{'case':<38} {'wall s (least-most)':>22} {'peak MB (least-most)':>24} {'peak/file':>9}  budget")
    for result in results:
        peak, source = result.peak_bytes, result.case.source_bytes
        print(
            f"{result.case.name:<38} {_span(result.seconds, 1, 2):>22} {_span(peak, MEGABYTE, 0):>24} "
            f"{f'{peak.median / source:.1f}x' if source >= MEGABYTE else '-':>9}  {_budget(result)}"
        )


def _budget(result: Measured) -> str:
    """Return the case's budgets, each with what came of it."""
    wall, memory = result.case.seconds_budget, result.case.bytes_budget
    parts = []
    if wall is not None:
        parts.append(f"<= {wall:g} s {_verdict(result.seconds.median, wall)}")
    if memory is not None:
        parts.append(f"<= {memory / MEGABYTE:.0f} MB {_verdict(result.peak_bytes.median, memory)}")
    return ", ".join(parts) or "-"


def _verdict(figure: float, budget: float) -> str:
    return "met" if figure <= budget else f"MISSED by {figure / budget - 1:.0%}"


def _span(spread: Spread, unit: int, digits: int) -> str:
    median, least, most = (figure / unit for figure in (spread.median, spread.least, spread.most))
    return f"{median:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def _spread(figures: tuple[float, ...]) -> Spread:
    return Spread(statistics.median(figures), min(figures), max(figures))


def _compile(model: Path, folder: Path, *options: str) -> tuple[str, ...]:
    return ("compile", str(model), "-o", str(folder / "out.tflite"), *options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure edgec's compile time and memory.")
    parser.add_argument("--runs", type=int, default=5, help="runs per case, after a warm-up (default 5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write every figure here")
    parser.add_argument("--model", type=Path, metavar="PATH", help="measure this model instead")
    parser.add_argument("--calibration", type=Path, metavar="PATH", help="with --model: measure int8 as well")
    parser.add_argument("compile_options", nargs="*", help="after `--`: options for every edgec compile")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.calibration and not options.model:
        parser.error("--calibration needs --model")
    for path in filter(None, (options.model, options.calibration)):
        if not path.exists():
            parser.error(f"{path} does not exist")
    return options


if __name__ == "__main__":
    main()
