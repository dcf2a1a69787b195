"""Samples from the user's own Python: `module:function`, or a callable.

The function takes no arguments and returns or yields, sample by sample, a dict of arrays named as the
inputs, an array (one input) or a list of arrays in the inputs' order. It may also return everything at once:
an array, or a dict of arrays, whose first axis counts samples.
"""

from __future__ import annotations

import importlib
import itertools
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.arrays import memory_columns
from edgec.calibrate.binding import array_normalization, array_samples, by_name_or_position
from edgec.calibrate.fit import Fit, adapt, cast, conversion_note, explain_dtype, explain_misfit, fit_shape
from edgec.calibrate.preprocess import Preprocess
from edgec.calibrate.samples import Array, InputSpec, Sample, SampleDescription, SampleSet, channel_axis
from edgec.diagnostics import CompileError, Diagnostic

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_reference(text: str) -> bool:
    """Return whether the text has the form `package.module:function`."""
    return _REFERENCE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class FunctionReader:
    """Samples of a callable, called anew for every pass."""

    where: str
    function: Callable[[], object]
    inputs: tuple[InputSpec, ...]
    preprocess: Preprocess | None
    limit: int | None
    count: int = 0
    repeatable: bool = False

    @property
    def description(self) -> SampleDescription:
        """Where the samples come from."""
        return SampleDescription(self.where, self.count, "called anew for every pass")

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return f"{self.where} sample {index}"

    def samples(self) -> Iterator[Sample]:
        """Yield the samples from the first on."""
        count = 0
        for count, item in enumerate(self.items(self.call()), 1):
            yield self.convert(item, count - 1)
        if count != self.count:
            raise problems.fail(
                problems.CHANGED,
                self.where,
                f"gave {self.count} samples, then {count}",
                "It is called once for every pass over the data.",
                "Return the same samples on every call.",
            )

    def identity(self) -> None:
        """Nothing but its samples tells what a function does."""

    def call(self) -> object:
        """Call the function; what it raises becomes a diagnostic."""
        with _user_code(self.where):
            return self.function()

    def items(self, result: object) -> Iterator[object]:
        """Yield what the function returned or goes on to yield, at most `limit` items."""
        if not isinstance(result, Iterable):
            what = f"returned {type(result).__name__}"
            raise problems.fail(problems.FUNCTION, self.where, what, next_step=_FUNCTION_HELP)
        with _user_code(self.where):
            yield from itertools.islice(result, self.limit)

    def convert(self, item: object, index: int) -> Sample:
        """Return one item as a sample."""
        arrays = _named_arrays(item, self.inputs, self.name(index))
        return {
            spec.name: self._tensor(spec, array, index)
            for spec, array in zip(self.inputs, arrays, strict=True)
        }

    def notes(self, item: object) -> Iterator[Diagnostic]:
        """Say what is adapted, judged by the first item."""
        for spec, array in zip(self.inputs, _named_arrays(item, self.inputs, self.where), strict=True):
            shape = (self.count, *array.shape)
            found = conversion_note(spec, _fit(spec, array, self.where), shape, spec.name, self.where)
            _, value_notes = array_normalization(spec, array.dtype, spec.name, self.where, self.preprocess)
            yield from [*([found] if found else []), *value_notes]

    def _tensor(self, spec: InputSpec, array: Array, index: int) -> Array:
        where = self.name(index)
        values = adapt(spec, _fit(spec, array, where), array)
        settings, _ = array_normalization(spec, array.dtype, spec.name, where, self.preprocess)
        if settings is not None:
            values = settings.normalize(values, channel_axis(spec) or 0)
        return cast(spec, values, where)


def function_samples(
    function: Callable[[], object] | str,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess | None,
    limit: int | None,
    where: str = "",
) -> SampleSet:
    """Return the samples of `module:function` (found from the current folder) or of a callable.

    What it yields is run through once now, to count and check it; only its first item is remembered. `where`
    names it in messages; by default its own name does.
    """
    if not where:
        name = getattr(function, "__qualname__", "calibration function")
        where = function if isinstance(function, str) else name
    call = _load(function) if isinstance(function, str) else function
    reader = FunctionReader(where, call, tuple(inputs), preprocess, limit)
    result = reader.call()
    if isinstance(result, (np.ndarray, Mapping)):
        return array_samples(memory_columns(result), inputs, where, preprocess, limit)
    return _counted(reader, result)


def first_item(function: Callable[[], object] | str) -> object:
    """Return the first sample of `module:function` or of a callable, as it gives it."""
    where = function if isinstance(function, str) else "calibration function"
    call = _load(function) if isinstance(function, str) else function
    reader = FunctionReader(where, call, (), None, 1)
    result = reader.call()
    if isinstance(result, np.ndarray):
        result = [result[:1]] if len(result) else []
    elif isinstance(result, Mapping):
        result = [{name: np.asarray(values)[:1] for name, values in result.items()}]
    for item in reader.items(result):
        return item
    raise problems.fail(problems.EMPTY, where, "gave no samples", next_step=_FUNCTION_HELP)


_FUNCTION_HELP = "Return or yield, sample by sample, a dict of arrays named as the inputs, or one array."


def _counted(reader: FunctionReader, result: object) -> SampleSet:
    first: object = None
    count = 0
    for count, item in enumerate(reader.items(result), 1):
        reader.convert(item, count - 1)
        first = item if count == 1 else first
    if count == 0:
        raise problems.fail(problems.EMPTY, reader.where, "gave no samples", next_step=_FUNCTION_HELP)
    reader = replace(reader, count=count)
    return SampleSet(reader, reader.inputs, tuple(reader.notes(first)))


def _load(reference: str) -> Callable[[], object]:
    module_name, _, function_name = reference.partition(":")
    with _user_code(reference):
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
    function: object = getattr(module, function_name, None)
    if not callable(function):
        what = f"module '{module_name}' has no function '{function_name}'"
        raise problems.fail(problems.FUNCTION, reference, what, next_step="Check the name after the colon.")
    return function


def _named_arrays(item: object, inputs: Sequence[InputSpec], where: str) -> list[Array]:
    """Return one array per input, in the inputs' order."""
    if isinstance(item, Mapping):
        names = by_name_or_position([str(name) for name in item], inputs)
        missing = [str(spec) for spec, name in zip(inputs, names, strict=True) if name is None]
        if missing:
            what = f"gives {', '.join(map(repr, item)) or 'nothing'}, but not {', '.join(missing)}"
            raise problems.fail(problems.BINDING, where, what, next_step=_FUNCTION_HELP)
        return [_as_array(item[name], where) for name in names]
    if isinstance(item, (list, tuple)) and all(hasattr(part, "shape") for part in item):
        parts: Sequence[object] = item
    else:
        parts = [item]
    if len(parts) != len(inputs):
        what = f"gives {len(parts)} arrays for {len(inputs)} inputs"
        raise problems.fail(problems.BINDING, where, what, next_step=_FUNCTION_HELP)
    return [_as_array(part, where) for part in parts]


def _as_array(value: object, where: str) -> Array:
    try:
        return np.asarray(value)
    except Exception as error:  # foreign array types raise their own
        what = f"gives {type(value).__name__} that is no array: {problems.cause_text(error)}"
        raise problems.fail(problems.FUNCTION, where, what, next_step=_FUNCTION_HELP) from None


def _fit(spec: InputSpec, array: Array, where: str) -> Fit:
    wrong_dtype = explain_dtype(spec, array.dtype, spec.name, where)
    if wrong_dtype is not None:
        raise CompileError(wrong_dtype)
    fit = fit_shape(spec, array.shape)
    if fit is None:
        raise CompileError(explain_misfit(spec, (1, *array.shape), spec.name, where))
    return fit


@contextmanager
def _user_code(where: str) -> Iterator[None]:
    """Run the user's code with the current folder importable; what it raises becomes a diagnostic."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    except CompileError:
        raise
    except ModuleNotFoundError as error:
        raise _no_module(where, error) from None
    except (Exception, SystemExit) as error:
        what = f"raised {problems.cause_text(error)}{_raised_at(error)}"
        raise problems.fail(
            problems.FUNCTION, where, what, next_step="Correct the function and run again."
        ) from None
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _no_module(where: str, error: ModuleNotFoundError) -> CompileError:
    what = f"there is no module '{error.name}'"
    if error.name != where.partition(":")[0].partition(".")[0]:
        what += _raised_at(error)
        return problems.fail(problems.FUNCTION, where, what, next_step="Install what your function imports.")
    why = "It was looked for in the current folder and where Python has its own."
    step = "Check the name before the colon, or run in the folder of the file."
    return problems.fail(problems.FUNCTION, where, what, why, step)


def _raised_at(error: BaseException) -> str:
    """Return ` (file.py line 3)` for the innermost frame of the user's code, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    folder = Path.cwd()
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    return f" ({Path(own[-1].filename).name} line {own[-1].lineno})" if own else ""
