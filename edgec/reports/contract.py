"""Frozen dataclasses to JSON and back, strictly: the one place that knows how a document is written down.

    dataclass ⇄ object (keys in field order)      tuple ⇄ array      None ⇄ null
    finite float ⇄ number                         inf, -inf, nan ⇄ "inf", "-inf", "nan"

JSON has no infinity, and an output that equals its source exactly has an SQNR of infinity. A reader accepts
unknown keys, so that a later version may add facts without breaking today's tools; a missing key is an error.
"""

from __future__ import annotations

import json
import math
import numbers
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from edgec.diagnostics import CompileError, Diagnostic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
T = TypeVar("T")

_NAMED_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    types.NoneType: "null",
}


class _MismatchError(Exception):
    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field, self.what = field, what


def to_jsonable(value: object) -> Json:
    """Return `value` in JSON types; dataclass fields keep their order, other mappings theirs."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_jsonable(item) for item in value]
    return _scalar(value)


def _scalar(value: object) -> Json:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):  # NumPy's integers too
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    raise TypeError(f"{type(value).__name__} has no place in a JSON document")


def to_json_text(value: object) -> str:
    """Return the document as text that UTF-8 can hold: two-space indent, the same bytes always."""
    text = json.dumps(to_jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)
    # A lone surrogate (a name that was not UTF-8) cannot be encoded, but JSON can spell it.
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def read_json(path: Path) -> dict[str, Json]:
    """Return the JSON object in a file.

    Raises:
        CompileError: E0504, when the file cannot be read or holds no JSON object.
    """
    try:
        data = cast(Json, json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant))
    except OSError as error:
        raise CompileError(_unreadable(path, error.strerror or str(error))) from error
    except RecursionError as error:
        raise CompileError(_unreadable(path, "it is nested too deeply")) from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise CompileError(_unreadable(path, f"it is not JSON: {error}")) from error
    if not isinstance(data, dict):
        raise CompileError(_unreadable(path, "it holds no JSON object"))
    return data


def _no_constant(word: str) -> float:
    raise ValueError(f'{word} is no JSON number (write it as "{word}")')


def _unreadable(path: Path, why: str) -> Diagnostic:
    next_step = "Give a file that `edgec compile --report` or `edgec-runtime bench` wrote."
    return Diagnostic("E0504", str(path), "cannot read this JSON document", why, next_step)


def from_jsonable(kind: type[T], data: Mapping[str, Json], file: str) -> T:
    """Return the dataclass that `data` describes.

    Raises:
        CompileError: E0505, naming `file` and the first field that is missing or of another type.
    """
    try:
        return cast(T, _read(kind, cast(Json, data), ""))
    except _MismatchError as mismatch:
        where = f"{file}: {mismatch.field or 'the document'}"
        next_step = "The file was changed or written by another version; make it again."
        raise CompileError(Diagnostic("E0505", where, mismatch.what, next_step=next_step)) from mismatch


def _read(hint: object, value: Json, where: str) -> object:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(hint), value, where)
    if origin is tuple:
        return _read_tuple(get_args(hint)[0], value, where)
    if origin in (dict, Mapping):
        return _read_mapping(get_args(hint)[1], value, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return _read_dataclass(hint, value, where)
    return _read_scalar(cast(type, hint), value, where)


def _read_dataclass(kind: type[DataclassInstance], value: Json, where: str) -> object:
    if not isinstance(value, dict):
        raise _MismatchError(where, f"must be an object, is {_shown(value)}")
    hints = get_type_hints(kind)
    found: dict[str, object] = {}
    for field in fields(kind):
        place = f"{where}.{field.name}" if where else field.name
        if field.name not in value and field.default is None:
            continue  # older versions of this schema say nothing of it, and null means nothing to say
        if field.name not in value:
            raise _MismatchError(place, "this field is missing")
        found[field.name] = _read(hints[field.name], value[field.name], place)
    return kind(**found)


def _read_tuple(item: object, value: Json, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise _MismatchError(where, f"must be a list, is {_shown(value)}")
    return tuple(_read(item, part, f"{where}[{index}]") for index, part in enumerate(value))


def _read_mapping(item: object, value: Json, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _MismatchError(where, f"must be an object, is {_shown(value)}")
    return {key: _read(item, part, f"{where}.{key}") for key, part in value.items()}


def _read_union(choices: tuple[object, ...], value: Json, where: str) -> object:
    """Read the first choice that fits; an object or list that fits none is explained by its own field."""
    reasons: list[_MismatchError] = []
    for choice in choices:
        try:
            return _read(choice, value, where)
        except _MismatchError as mismatch:
            reasons.append(mismatch)
    raise max(reasons, key=lambda reason: len(reason.field))  # the deepest is the most exact


def _read_scalar(kind: type, value: Json, where: str) -> object:
    if kind is float and isinstance(value, str) and value in _NAMED_FLOATS:
        return _NAMED_FLOATS[value]
    if kind is float and type(value) in (int, float):
        return value  # a whole number stays one, so that writing it again gives the same bytes
    if type(value) is not kind:  # not isinstance: true is not the number 1
        raise _MismatchError(where, f"must be {_KINDS[kind]}, is {_shown(value)}")
    return value


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"
