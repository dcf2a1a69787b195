"""Find and read board files: by name from the boards that edgec knows, or by path for one's own board."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ValidationError

from edgec.diagnostics import CompileError, Diagnostic
from edgec.targets.model import Cpu, Feature, Memory, Precision, Profile, Target

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PACKAGED = Path(__file__).parent / "boards"  # in a wheel
_CHECKOUT = Path(__file__).parents[2] / "targets"  # in a source tree
_TABLES: dict[str, type[BaseModel]] = {"": Target, "cpu": Cpu, "memory": Memory}
_WORDS: dict[str, tuple[str, ...]] = {
    "profile": get_args(Profile),
    "precisions": get_args(Precision),
    "features": get_args(Feature),
    "arch": get_args(Cpu.model_fields["arch"].annotation),
}

_PLAIN = {"extra_forbidden": "there is no such key", "missing": "this key is missing"}


def boards_folder() -> Path:
    """Return the folder of the board files: inside the package when installed, else the checkout's."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def list_targets() -> tuple[str, ...]:
    """Return the names of the known boards: `generic` first, the rest in alphabetical order."""
    names = (path.stem for path in boards_folder().glob("*.toml"))
    return tuple(sorted(names, key=lambda name: (name != "generic", name)))


def load_target(name_or_path: str | os.PathLike[str]) -> Target:
    """Return the board of that name, or the one that a `.toml` path describes.

    Raises:
        CompileError: E0401 unknown name, E0402 unreadable file, E0403 not TOML, E0404 a field is wrong
            (every wrong field is reported, not only the first).
    """
    text = os.fspath(name_or_path)
    if text.endswith(".toml") or "/" in text or os.sep in text:
        return _read(Path(text))
    if text not in list_targets():
        raise CompileError(_unknown_name(text))
    return _read(boards_folder() / f"{text}.toml")


def _unknown_name(name: str) -> Diagnostic:
    known = list_targets()
    return Diagnostic(
        "E0401",
        f"--target {name}",
        "there is no target of this name",
        f"Known targets: {', '.join(known)}",
        f"{_nearest(name, known)}Give the path of a .toml file to describe a board of your own.",
    )


def _read(path: Path) -> Target:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CompileError(_unreadable(path, error.strerror or str(error))) from error
    except UnicodeDecodeError as error:
        raise CompileError(_unreadable(path, "it is not UTF-8 text")) from error
    except tomllib.TOMLDecodeError as error:  # its message ends with "(at line L, column C)"
        what = "this is not valid TOML"
        raise CompileError(
            Diagnostic("E0403", str(path), what, str(error), "See docs/targets.md.")
        ) from error
    try:
        return Target.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise CompileError(_wrong_field(path, detail) for detail in found) from error


def _unreadable(path: Path, why: str) -> Diagnostic:
    next_step = f"Give the path of a .toml file, or one of: {', '.join(list_targets())}."
    return Diagnostic("E0402", str(path), "cannot read this target file", why, next_step)


def _wrong_field(path: Path, detail: ErrorDetails) -> Diagnostic:
    """Turn one of pydantic's errors into a diagnostic that names the field and the word that was meant."""
    location = tuple(str(part) for part in detail["loc"])
    field = ".".join(location) or "the file"
    where = f"{path}{_line(path, location)}: {field}"
    what = _PLAIN.get(detail["type"], detail["msg"].removeprefix("Value error, "))
    return Diagnostic("E0404", where, what, next_step=_next_step(detail))


def _next_step(detail: ErrorDetails) -> str:
    location = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        table = _TABLES.get(".".join(location[:-1]), Target)
        return f"{_nearest(location[-1], table.model_fields)}Known keys: {', '.join(table.model_fields)}."
    if detail["type"] == "literal_error":
        words = next((_WORDS[part] for part in reversed(location) if part in _WORDS), ())
        return _nearest(str(detail["input"]), words).strip()
    if detail["type"] == "missing":
        return f"Add a line `{location[-1]} = …`."
    return "" if isinstance(detail["input"], dict) else f"It is {detail['input']!r} now."


def _nearest(word: str, known: Iterable[str]) -> str:
    found: Sequence[str] = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean '{found[0]}'? " if found else ""


def _line(path: Path, location: tuple[str, ...]) -> str:
    """Return ":12" for a key or a table heading (tomllib keeps no positions), or nothing."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if text.startswith("["):
            table = (text.strip("[] "),)
        key = text.partition("=")[0].strip().strip("\"'")
        if location and location in (table, (*table, key), (*table, key, *location[-1:])):
            return f":{number}"
    return ""
