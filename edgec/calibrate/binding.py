"""Match arrays with model inputs and stream them as samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.arrays import Column
from edgec.calibrate.fit import (
    Fit,
    adapt,
    cast,
    conversion_note,
    explain_dtype,
    explain_misfit,
    fit_shape,
)
from edgec.calibrate.preprocess import HOW_TO_SAY, Preprocess
from edgec.calibrate.samples import (
    Array,
    InputSpec,
    Sample,
    SampleDescription,
    SampleSet,
    channel_axis,
    file_digest,
)
from edgec.diagnostics import CompileError, Diagnostic


@dataclass(frozen=True, slots=True)
class Binding:
    """One array feeding one input; `normalize` holds the settings to apply to its pixels, if any."""

    spec: InputSpec
    column: Column
    fit: Fit
    normalize: Preprocess | None

    def tensor(self, row: Array, where: str) -> Array:
        """Return one row as the input's tensor."""
        values = adapt(self.spec, self.fit, row)
        if self.normalize is not None:
            values = self.normalize.normalize(values, channel_axis(self.spec) or 0)
        return cast(self.spec, values, where)


@dataclass(frozen=True, slots=True)
class ArrayReader:
    """Rows of arrays, one array per input, in their order."""

    where: str
    bindings: tuple[Binding, ...]
    count: int
    total: int
    repeatable: bool = True

    @property
    def description(self) -> SampleDescription:
        """Where the samples come from."""
        names = ", ".join(f"'{binding.column.name}'" for binding in self.bindings)
        which = "all rows" if self.count == self.total else f"first {self.count} of {self.total} rows"
        return SampleDescription(self.where, self.count, f"{which} of {names}")

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return f"{self.where} row {index}"

    def samples(self) -> Iterator[Sample]:
        """Yield the samples from the first on."""
        streams = [binding.column.rows() for binding in self.bindings]
        for index in range(self.count):
            where = self.name(index)
            yield {
                binding.spec.name: binding.tensor(next(stream), where)
                for binding, stream in zip(self.bindings, streams, strict=True)
            }

    def identity(self) -> str | None:
        """Return the digest of the arrays' files, or None for arrays in memory, and how rows are adapted."""
        paths = [binding.column.path for binding in self.bindings]
        files = [path for path in paths if path is not None]
        if len(files) < len(paths):
            return None
        how = [f"{b.column.name} {b.fit!r} {b.normalize!r}" for b in self.bindings]
        return "\n".join([file_digest(dict.fromkeys(files)), *how])


def array_samples(
    columns: Sequence[Column],
    inputs: Sequence[InputSpec],
    where: str,
    preprocess: Preprocess | None,
    limit: int | None,
) -> SampleSet:
    """Return the samples in arrays named as the inputs, or `in0`, `in1`, … in the inputs' order.

    Raises `CompileError` with every input that no array feeds.
    """
    chosen, notes = _choose(columns, inputs, where)
    pairs = list(zip(inputs, chosen, strict=True))
    misfits = [misfit for spec, column in pairs if (misfit := _misfit(spec, column, where)) is not None]
    if misfits:
        raise CompileError(misfits)
    bindings = [_bind(spec, column, where, preprocess, notes) for spec, column in pairs]
    total = _row_count(bindings, where)
    count = total if limit is None else min(limit, total)
    return SampleSet(ArrayReader(where, tuple(bindings), count, total), inputs, notes)


def by_name_or_position(names: Sequence[str], inputs: Sequence[InputSpec]) -> list[str | None]:
    """Return for each input the given name that is its own or its position's (`in0`), or None."""
    wanted = [(spec.name, f"in{index}") for index, spec in enumerate(inputs)]
    return [next((name for name in pair if name in names), None) for pair in wanted]


def _choose(
    columns: Sequence[Column], inputs: Sequence[InputSpec], where: str
) -> tuple[list[Column], list[Diagnostic]]:
    named = {column.name: column for column in columns}
    names = by_name_or_position(list(named), inputs)
    if len(inputs) == 1 and names[0] is None:
        names = [_only_fitting(columns, inputs[0], where).name]
    missing = [spec for spec, name in zip(inputs, names, strict=True) if name is None]
    if missing:
        raise CompileError(_missing(spec, columns, where) for spec in missing)
    used = [name for name in names if name is not None]
    return [named[name] for name in used], _ignored_note(
        [name for name in named if name not in used], used, where
    )


def _only_fitting(columns: Sequence[Column], spec: InputSpec, where: str) -> Column:
    """Return the array that fits a single input best, whatever its name."""
    if not columns:
        raise problems.fail(
            problems.EMPTY, where, "holds no arrays", next_step=f"Save one array named '{spec.name}'."
        )
    fits = [(column, fit_shape(spec, column.shape[1:])) for column in columns if _usable(spec, column)]
    closest = min((fit.kind for _, fit in fits if fit), default=None)
    best = [column for column, fit in fits if fit and fit.kind == closest]
    # An array alone, or alone in the other layout, has its misfit explained when it is bound.
    swapped = [
        column for column in columns if explain_misfit(spec, column.shape, "", "").code == problems.LAYOUT
    ]
    for choice in (best, [] if best else swapped, columns):
        if len(choice) == 1:
            return choice[0]
    what = f"{len(best) or 'no'} arrays fit {spec}: {_listing(best or columns)}"
    raise problems.fail(
        problems.BINDING,
        where,
        what,
        "None has the input's name.",
        f"Name the right one '{spec.name}' or 'in0'.",
    )


def _usable(spec: InputSpec, column: Column) -> bool:
    return len(column.shape) > 0 and explain_dtype(spec, column.dtype, column.name, "") is None


def _missing(spec: InputSpec, columns: Sequence[Column], where: str) -> Diagnostic:
    return Diagnostic(
        problems.BINDING,
        where,
        f"no array for {spec}",
        f"The arrays are {_listing(columns) or 'none'}.",
        "Name the arrays as the model's inputs, or in0, in1, ... in their order.",
    )


def _listing(columns: Sequence[Column]) -> str:
    return ", ".join(
        f"'{column.name}' {column.dtype}{problems.shape_text(column.shape)}" for column in columns
    )


def _ignored_note(ignored: list[str], used: list[str], where: str) -> list[Diagnostic]:
    if not ignored:
        return []
    others = ", ".join(f"'{name}'" for name in ignored)
    return [problems.note(problems.IGNORED, where, f"uses {', '.join(map(repr, used))} and ignores {others}")]


def _misfit(spec: InputSpec, column: Column, where: str) -> Diagnostic | None:
    wrong_dtype = explain_dtype(spec, column.dtype, column.name, where)
    if wrong_dtype is not None:
        return wrong_dtype
    if column.shape and fit_shape(spec, column.shape[1:]) is not None:
        return None
    return explain_misfit(spec, column.shape, column.name, where)


def _bind(
    spec: InputSpec, column: Column, where: str, preprocess: Preprocess | None, notes: list[Diagnostic]
) -> Binding:
    fit = fit_shape(spec, column.shape[1:])
    assert fit is not None, "misfits were reported before"
    converted = conversion_note(spec, fit, column.shape, column.name, where)
    normalize, value_notes = array_normalization(spec, column.dtype, column.name, where, preprocess)
    notes += [*([converted] if converted else []), *value_notes]
    return Binding(spec, column, fit, normalize)


def array_normalization(
    spec: InputSpec, dtype: np.dtype[np.generic], array: str, where: str, preprocess: Preprocess | None
) -> tuple[Preprocess | None, list[Diagnostic]]:
    """Decide whether stated mean and std apply to an array, and say what was decided.

    They apply to whole-number pixels of an image input; a float array is taken as normalized already.
    """
    if spec.dtype.kind != "f":
        return None, []
    if preprocess is not None and preprocess.normalizes and len(spec.shape) == 4:
        if dtype.kind == "f":
            what = f"mean and std are not applied to the {dtype} array '{array}'"
            return None, [
                problems.note(problems.AS_GIVEN, where, what, "Floats are taken as normalized already.")
            ]
        _check_channels(spec, preprocess, where)
        what = f"mean and std are applied to array '{array}'"
        return preprocess, [problems.note(problems.NORMALIZED, where, what), *preprocess.unit_warnings(where)]
    if dtype.kind in "iu":
        extent = ", 0..255" if dtype == np.uint8 else ""
        what = f"{dtype} array '{array}' is used as it is{extent}; no normalization was applied"
        return None, [problems.note(problems.AS_GIVEN, where, what, next_step=HOW_TO_SAY)]
    return None, []


def _check_channels(spec: InputSpec, preprocess: Preprocess, where: str) -> None:
    axis = channel_axis(spec)
    if axis is not None:
        preprocess.check_channels(spec.shape[axis], where)
    elif max(len(preprocess.mean or ()), len(preprocess.std or ())) > 1:
        raise problems.fail(
            problems.PREPROCESS,
            where,
            f"mean and std per channel, but the channel axis of {spec} is not known",
            next_step="Normalize the array before saving it.",
        )


def _row_count(bindings: Sequence[Binding], where: str) -> int:
    counts = {binding.column.shape[0] for binding in bindings}
    if len(counts) > 1:
        listing = _listing([binding.column for binding in bindings])
        raise problems.fail(
            problems.COUNT,
            where,
            f"arrays hold different numbers of samples: {listing}",
            "Row i of every array is sample i.",
            "Save as many rows for every input.",
        )
    if counts == {0}:
        raise problems.fail(
            problems.EMPTY, where, "holds no samples", next_step="Save at least one row per input."
        )
    return counts.pop()
