"""Compile random small models and compare with onnxruntime: `make fuzz EXAMPLES=5000 SEED=1`.

    python -m tools.fuzz [--examples N] [--seed S] [--kind float|int8]

Examples come in batches with seeds S, S+1, …; the first failing batch is shrunk to its smallest model, which
is printed as ONNX text and kept in build/fuzz/PID/failed.onnx, and the exit code is 1. A crash in a kernel
leaves its model in build/fuzz/PID/current.onnx. Refusals are counted, not failed: they are listed at the end.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import sys
import time
from pathlib import Path

import onnx
import onnx.printer
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fuzz.differential import Example, Tally, check, examples  # noqa: E402
from tests.fuzz.quantizing import check_int8, quantizable  # noqa: E402

OUT = ROOT / "build" / "fuzz" / str(os.getpid())
BATCH = 500
KINDS = {"float": (examples(), check), "int8": (quantizable(), check_int8)}
SETTINGS = settings(
    max_examples=BATCH,
    database=None,
    deadline=None,
    print_blob=False,
    verbosity=Verbosity.quiet,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)


def main() -> int:
    """Run batches until enough examples ran or one failed."""
    options = _options()
    OUT.mkdir(parents=True, exist_ok=True)
    print(f"fuzz: {options.examples} examples, seed {options.seed}")
    tally, start, failures = Tally(), time.monotonic(), 0
    for number in range(math.ceil(options.examples / BATCH)):
        try:
            tally.add(run_batch(options.kind, options.seed + number))
        except Exception as failure:
            failures += 1
            explain(failure, options.seed + number)
            if not options.keep_going:
                break
    report(tally, time.monotonic() - start, failures)
    return 1 if failures else 0


def run_batch(kind: str, start: int) -> Tally:
    """Run one batch; the exception of the smallest failing example passes through."""
    tally = Tally()
    strategy, judge = KINDS[kind]

    @seed(start)
    @SETTINGS
    @given(strategy)
    def batch(example: Example) -> None:
        (OUT / "current.onnx").write_bytes(example.model.SerializeToString())
        judge(example, tally)

    batch()
    return tally


def explain(failure: Exception, start: int) -> None:
    """Print the smallest failing model: hypothesis runs it last."""
    kept = OUT / "failed.onnx"
    (OUT / "current.onnx").replace(kept)
    print(f"FAILED with --seed {start}: {type(failure).__name__}: {failure}")
    print(onnx.printer.to_text(onnx.load(kept)))


def report(tally: Tally, seconds: float, failures: int) -> None:
    """Print what became of the examples."""
    print(f"{tally.clean} ran clean, {tally.refused.total()} refused, {failures} failed, {seconds:.0f} s")
    for message, count in tally.refused.most_common(30):
        print(f"  {count:5} {message}")
    print("nodes: " + ", ".join(f"{name} {count}" for name, count in tally.operators.most_common()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--kind", choices=KINDS, default="float")
    parser.add_argument("--keep-going", action="store_true", help="go on to the next batch after a failure")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
