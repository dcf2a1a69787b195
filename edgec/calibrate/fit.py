"""Whether one row of an array is a sample of an input, and how to turn it into one.

EXACT       the input's shape, with or without its leading batch axis of 1
PERMUTED    channels-last data for a channels-first input of known layout, or the reverse
UNIT_AXES   the same but for axes of length 1, which never change the order of elements
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.samples import Array, InputSpec
from edgec.diagnostics import Diagnostic

CHANNELS_TO_FIRST = (2, 0, 1)
CHANNELS_TO_LAST = (1, 2, 0)


class FitKind(IntEnum):
    """How close a row is to the input; smaller is closer."""

    EXACT = 0
    PERMUTED = 1
    UNIT_AXES = 2


@dataclass(frozen=True, slots=True)
class Fit:
    """A way from row to input: permute the three image axes (if any), then reshape to the input's shape."""

    kind: FitKind
    permutation: tuple[int, int, int] | None = None


def fit_shape(spec: InputSpec, row: tuple[int, ...]) -> Fit | None:
    """Return how a row of this shape becomes the input, or None when it cannot without guessing."""
    if row == spec.shape or (spec.shape[:1] == (1,) and row == spec.shape[1:]):
        return Fit(FitKind.EXACT)
    permutation = _permutation(spec, row)
    if permutation is None or _channels(row, permutation) == 1:  # moving an axis of length 1 moves no element
        return Fit(FitKind.UNIT_AXES) if _without_units(row) == _without_units(spec.shape) else None
    if spec.layout is not None and permutation == _expected_permutation(spec):
        return Fit(FitKind.PERMUTED, permutation)
    return None


def explain_misfit(spec: InputSpec, shape: tuple[int, ...], array: str, where: str) -> Diagnostic:
    """Say why an array `[samples, ...]` of this shape does not feed the input."""
    what = (
        f"array '{array}' is {problems.shape_text(shape)}; "
        f"input '{spec.name}' is {problems.shape_text(spec.shape)}"
    )
    permutation = _permutation(spec, shape[1:]) if spec.layout is None else None
    if permutation is not None:
        return Diagnostic(problems.LAYOUT, where, f"{what}: {_mismatch_text(permutation)}", *_LAYOUT_HELP)
    return Diagnostic(problems.SHAPE, where, what, _shape_reason(spec, shape), _shape_help(spec))


def conversion_note(
    spec: InputSpec, fit: Fit, shape: tuple[int, ...], array: str, where: str
) -> Diagnostic | None:
    """Record what `adapt` does to rows, if it does anything the user should know."""
    what = (
        f"array '{array}' {problems.shape_text(shape)}, input '{spec.name}' {problems.shape_text(spec.shape)}"
    )
    if fit.permutation is not None:
        return problems.note(
            problems.CONVERTED, where, f"{what}: {_mismatch_text(fit.permutation)}; transposed to fit"
        )
    if fit.kind is FitKind.UNIT_AXES:
        return problems.note(problems.CONVERTED, where, f"{what}: axes of length 1 adapted")
    return None


def adapt(spec: InputSpec, fit: Fit, row: Array) -> Array:
    """Return the row in the input's shape; the dtype stays."""
    if fit.permutation is not None:
        row = row.reshape(row.shape[-3:]).transpose(fit.permutation)
    return row.reshape(spec.shape)


def explain_dtype(spec: InputSpec, dtype: np.dtype[np.generic], array: str, where: str) -> Diagnostic | None:
    """Say why values of this dtype cannot feed the input; None when they can."""
    what = f"array '{array}' is {dtype}; input '{spec.name}' is {spec.dtype}"
    if dtype.hasobject:
        return Diagnostic(
            problems.DTYPE,
            where,
            f"array '{array}' holds Python objects",
            "They are stored as pickles, which run code when loaded, so they are never read.",
            "Save a plain numeric array: np.stack(samples).",
        )
    if dtype.kind not in "fiub":
        return Diagnostic(problems.DTYPE, where, what, "Only real numbers feed a model.", _DTYPE_HELP)
    if dtype.kind == "f" and spec.dtype.kind != "f":
        why = "Rounding floats would hide a wrong file or a wrong input."
        return Diagnostic(problems.DTYPE, where, what, why, _DTYPE_HELP)
    return None


def cast(spec: InputSpec, values: Array, where: str) -> Array:
    """Return a fresh array of the input's dtype; refuse integers that it cannot hold."""
    if spec.dtype.kind in "iub" and not np.can_cast(values.dtype, spec.dtype) and values.size:
        _check_integers(spec, int(values.min()), int(values.max()), where)
    with np.errstate(over="ignore", invalid="ignore"):  # infinities are reported with the sample's name
        return np.array(values, dtype=spec.dtype, order="C")


_LAYOUT_HELP = (
    "The layout of the input is not known, so the data is not transposed on a guess.",
    "Transpose the array to the input's layout and save it again.",
)
_DTYPE_HELP = "Save the array in the input's dtype."


def _permutation(spec: InputSpec, row: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return the move of the channel axis that makes the row fit, layout known or not."""
    core = row[1:] if len(row) == 4 and row[0] == 1 else row
    if len(core) != 3 or len(spec.shape) != 4 or spec.shape[0] != 1 or core == spec.shape[1:]:
        return None
    for permutation in (CHANNELS_TO_FIRST, CHANNELS_TO_LAST):
        if tuple(core[axis] for axis in permutation) == spec.shape[1:]:
            return permutation
    return None


def _channels(row: tuple[int, ...], permutation: tuple[int, int, int]) -> int:
    return row[-1] if permutation == CHANNELS_TO_FIRST else row[-3]


def _expected_permutation(spec: InputSpec) -> tuple[int, int, int]:
    return CHANNELS_TO_FIRST if spec.layout == "nchw" else CHANNELS_TO_LAST


def _mismatch_text(permutation: tuple[int, int, int]) -> str:
    if permutation == CHANNELS_TO_FIRST:
        return "channels-last data for a channels-first input"
    return "channels-first data for a channels-last input"


def _without_units(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _shape_reason(spec: InputSpec, shape: tuple[int, ...]) -> str:
    if fit_shape(spec, shape) is not None:
        return "It looks like one sample without the samples axis."
    if len(shape) - 1 not in (len(spec.shape), len(spec.shape) - 1):
        left = max(len(shape) - 1, 0)
        return f"The first axis counts samples, which leaves {left} axes for {len(spec.shape)}."
    return "The first axis counts samples; the rest must be the input's shape."


def _shape_help(spec: InputSpec) -> str:
    rest = [str(size) for size in (spec.shape[1:] if spec.shape[:1] == (1,) else spec.shape)]
    return f"Save it as [{','.join(['samples', *rest])}], or pin the input with --input-shape."


def _check_integers(spec: InputSpec, low: int, high: int, where: str) -> None:
    least, most = 0, 1
    if spec.dtype.kind != "b":
        limits = np.iinfo(spec.dtype.name)
        least, most = limits.min, limits.max
    if least <= low and high <= most:
        return
    raise problems.fail(
        problems.VALUES,
        where,
        f"values {low}..{high} do not fit input '{spec.name}'",
        f"{spec.dtype} holds {least}..{most}.",
        "Check that the array is the one this input wants.",
    )
