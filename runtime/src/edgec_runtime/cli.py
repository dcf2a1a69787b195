"""The command `edgec-runtime`.

Exit codes: 0 good; 1 the model, its values or the installation are bad; 2 wrong usage; 3 a limit is not met.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from edgec_runtime import commands
from edgec_runtime.backends import KERNELS
from edgec_runtime.commands import BAD_INPUT, GOOD
from edgec_runtime.errors import EdgecRuntimeError
from edgec_runtime.version import __version__

_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_Number = TypeVar("_Number", int, float)

_EXAMPLES = """examples:
  edgec-runtime info model.tflite                     what is in the file (needs no interpreter)
  edgec-runtime run model.tflite --input x.npz --output y.npz
  edgec-runtime bench model.tflite --threads 4        figures you can compare
  edgec-runtime doctor                                is this machine set up well?

exit codes: 0 good, 1 bad model, values or installation, 2 wrong usage, 3 a limit (--fail-above-ms) is not met
"""
_INFO = """examples:
  edgec-runtime info model.tflite
  edgec-runtime info model.tflite --json | python3 -m json.tool

A manifest beside the file (model.manifest.json) is compared with it; a mismatch is exit 1.
"""
_RUN = """examples:
  edgec-runtime run model.tflite --input x.npz --output y.npz     arrays named as the inputs, or in0, in1, ...
  edgec-runtime run model.tflite --input photo.jpg --mean 127.5 --std 127.5     pixels become -1..1
  edgec-runtime run model.tflite --random 0                       any values, to see whether it runs

Values are real numbers; int8 and other quantized inputs are quantized here, outputs dequantized (not with
--raw). A file with more samples along the first axis is run sample by sample.
"""
_BENCH = """examples:
  edgec-runtime bench model.tflite
  edgec-runtime bench model.tflite --threads 4 --runs 200 --json result.json
  edgec-runtime bench model.tflite --fail-above-ms 20     exit 3 when the median is above 20 ms

A run is the interpreter's invoke alone. Load, first run and warm-up are figures of their own. "noisy" lists
what makes the figures hard to repeat: spread, drift, other programs, CPU governor, heat, power.
"""
_DOCTOR = """examples:
  edgec-runtime doctor
  edgec-runtime doctor model.tflite       also checks and runs the model, in a child process
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except EdgecRuntimeError as error:
        print(f"edgec-runtime: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # `… | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except KeyboardInterrupt:
        print("edgec-runtime: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _described(
        argparse.ArgumentParser(prog="edgec-runtime"), "Run, check and benchmark TFLite models.", _EXAMPLES
    )
    parser.add_argument("--version", action="version", version=f"edgec-runtime {__version__}")
    names = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_info(
        _described(names.add_parser("info", help="what is in a model file"), "Show a model file.", _INFO)
    )
    _add_run(_described(names.add_parser("run", help="run a model on values"), "Run a model.", _RUN))
    _add_bench(_described(names.add_parser("bench", help="measure a model"), "Measure a model.", _BENCH))
    _add_doctor(
        _described(names.add_parser("doctor", help="check this machine"), "Check this machine.", _DOCTOR)
    )
    return parser


def _described(parser: argparse.ArgumentParser, description: str, epilog: str) -> argparse.ArgumentParser:
    parser.description = description
    parser.epilog = epilog
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=commands.info)


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", type=Path, metavar="FILE", help=".npz, .npy or (with Pillow) an image")
    source.add_argument("--random", type=_whole, metavar="SEED", help="random values from this seed")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.npz", help="write the outputs; else print a summary"
    )
    parser.add_argument("--raw", action="store_true", help="values are in the model's own types, in and out")
    _add_scaling(parser)
    parser.set_defaults(command=commands.run)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--runs", type=_positive, default=50, metavar="N", help="timed runs, at least (50)")
    parser.add_argument(
        "--min-time", type=_seconds, default=1.0, metavar="S", help="seconds of timed runs, at least (1)"
    )
    parser.add_argument("--warmup", type=_whole, default=10, metavar="N", help="runs before, at least (10)")
    parser.add_argument(
        "--warmup-time", type=_seconds, default=0.5, metavar="S", help="seconds of warm-up, at least (0.5)"
    )
    parser.add_argument("--input", type=Path, metavar="FILE", help="values to run on; else random ones")
    parser.add_argument(
        "--random", type=_whole, default=0, metavar="SEED", help="seed of the random values (0)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write JSON to this file; - prints it instead of the table"
    )
    parser.add_argument("--fail-above-ms", type=_limit, metavar="MS", help="exit 3 when the median is above")
    _add_scaling(parser)
    parser.set_defaults(command=commands.bench)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", nargs="?")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=commands.doctor)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="CPU threads (1)")
    parser.add_argument(
        "--backend", default="auto", metavar="NAME", help="auto, ai-edge-litert, tflite-runtime, tensorflow"
    )
    parser.add_argument(
        "--kernels",
        default="auto",
        choices=KERNELS,
        help="auto: XNNPACK, or builtin kernels where it refuses the model",
    )


def _add_scaling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mean",
        type=float,
        help="image pixels become (pixel - mean) / std (0); leave both out for a model of raw pixels",
    )
    parser.add_argument("--std", type=_limit, help="see --mean (255)")


def _whole(text: str) -> int:
    return _number(int, text, 0, "a whole number from 0 on")


def _positive(text: str) -> int:
    return _number(int, text, 1, "a whole number from 1 on")


def _seconds(text: str) -> float:
    return _number(float, text, 0, "a number of seconds from 0 on")


def _limit(text: str) -> float:
    return _number(float, text, sys.float_info.min, "a number above 0")


def _number(kind: Callable[[str], _Number], text: str, low: float, wanted: str) -> _Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {wanted}, got '{text}'")
    return value
