"""A recipe: every choice that decides how a float model becomes integers; a small TOML file repeats it.

    schema_version = 1
    precision = "int8"
    calibrator = "mse"
    repairs = ["equalize", "bias"]
    int16_nodes = ["/head/cls/Conv"]

Same model, same samples, same recipe, same version of edgec: same bytes.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from edgec.diagnostics import CompileError, Diagnostic

SCHEMA_VERSION = 1
MAX_FILE_BYTES = 1 << 20
"""No recipe of a real model comes near it: 10,000 node names."""

Calibrator = Literal["auto", "minmax", "percentile", "mse", "entropy", "average"]
Repair = Literal["absorb", "equalize", "rounding", "bias"]
Scheme = Literal["int8", "int16x8"]

CALIBRATORS: tuple[Calibrator, ...] = get_args(Calibrator)
REPAIRS: tuple[Repair, ...] = get_args(Repair)
"""In the order they are applied: what changes the float model comes before what compensates its rounding."""

_FILE = "E0611"
_FIELD = "E0612"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The choices of one quantization.

    `int16_nodes` and `float_nodes` are islands: nodes, by name, that keep 16-bit or float activations.
    `per_axis=False` gives every weight tensor one scale, as old microcontroller runtimes want it.
    """

    precision: Scheme = "int8"
    calibrator: Calibrator = "minmax"
    repairs: tuple[Repair, ...] = ()
    per_axis: bool = True
    int16_nodes: tuple[str, ...] = ()
    float_nodes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = [name for name in REPAIRS if name in self.repairs]
        if len(known) != len(self.repairs):
            raise ValueError(f"repairs {self.repairs} are not distinct names of {REPAIRS}")
        object.__setattr__(self, "repairs", tuple(known))  # their order is fixed, so it is no choice

    @property
    def digest(self) -> str:
        """Name of the recipe by its content."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def with_repair(self, name: Repair) -> Recipe:
        """Return the recipe with one repair more."""
        return replace(self, repairs=tuple({*self.repairs, name}))

    def without_repair(self, name: Repair) -> Recipe:
        """Return the recipe with one repair less."""
        return replace(self, repairs=tuple(one for one in self.repairs if one != name))

    def __str__(self) -> str:
        parts = [self.precision, self.calibrator, *(f"+{name}" for name in self.repairs)]
        parts += [] if self.per_axis else ["per-tensor"]
        islands = {"int16": self.int16_nodes, "float": self.float_nodes}
        parts += [f"+{len(nodes)} {kind}" for kind, nodes in islands.items() if nodes]
        return " ".join(parts)

    def to_toml(self) -> str:
        """Return the file's text; it says what it is for whoever finds it."""
        lines = [
            "# How edgec quantized a model: `edgec compile MODEL --recipe THIS_FILE --calibration DATA`",
            "# makes the same file again.",
            f"schema_version = {SCHEMA_VERSION}",
        ]
        lines += [f"{name} = {_toml(value)}" for name, value in asdict(self).items()]
        return "\n".join(lines) + "\n"


DEFAULT_RECIPE = Recipe(repairs=("bias",))
"""What an integer compile does unless told otherwise: the repair that costs least and helps most models."""


def read_recipe(path: Path) -> Recipe:
    """Return the recipe of a recipe file, or the one that the manifest of a compile holds.

    CompileError E0611 (unreadable) or E0612 (every wrong field).
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise CompileError(_unreadable(path, f"it is larger than {MAX_FILE_BYTES >> 20} MiB"))
        found = tomllib.loads(_of_manifest(text.decode()))
    except OSError as error:
        raise CompileError(_unreadable(path, error.strerror or str(error))) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CompileError(_unreadable(path, f"it is not TOML: {error}")) from None
    except (ValueError, RecursionError) as error:
        raise CompileError(_unreadable(path, str(error))) from None
    return _recipe(path, found)


def _of_manifest(text: str) -> str:
    """Return the recipe inside a manifest; any other text as it is."""
    if not text.lstrip().startswith("{"):
        return text
    manifest: object = json.loads(text)
    match manifest:
        case {"options": {"recipe": str(recipe)}}:
            return recipe
        case _:
            raise ValueError("it is JSON, but no manifest of a model that was calibrated")


def _recipe(path: Path, found: dict[str, object]) -> Recipe:
    wrong: list[Diagnostic] = []
    if found.pop("schema_version", None) != SCHEMA_VERSION:
        what = "has another schema_version, or none"
        wrong.append(_wrong(path, "schema_version", what, f"This version of edgec reads {SCHEMA_VERSION}."))
    names = [field.name for field in fields(Recipe)]
    values: dict[str, object] = {}
    for name, value in found.items():
        if name not in names:
            wrong.append(_wrong(path, name, "there is no such key", f"Known keys: {', '.join(names)}."))
            continue
        problem = _problem(name, value)
        if problem:
            wrong.append(_wrong(path, name, *problem))
        values[name] = tuple(value) if isinstance(value, list) else value
    if wrong:
        raise CompileError(wrong)
    return Recipe(**values)  # pyright: ignore[reportArgumentType]


_WORDS: dict[str, tuple[str, ...]] = {
    "precision": get_args(Scheme),
    "calibrator": CALIBRATORS,
    "repairs": REPAIRS,
}


def _problem(name: str, value: object) -> tuple[str, str] | None:
    """Return what is wrong with a field's value and what it may be, or None."""
    if name == "per_axis":
        return None if isinstance(value, bool) else (f"{value!r} is not true or false", "")
    if name in ("repairs", "int16_nodes", "float_nodes"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return f"{value!r} is not a list of names", ""
        if len(set(value)) != len(value):
            return "holds a name twice", ""
        words = value if name == "repairs" else []
    else:
        words = [value]
    strange = [word for word in words if word not in _WORDS[name]]
    if strange:
        return f"{strange[0]!r} is not a choice", f"Choices: {', '.join(_WORDS[name])}."
    return None


def _toml(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_string, value))}]"
    return _string(str(value))


def _string(text: str) -> str:
    """Return a basic string: JSON's but for surrogate pairs, which TOML has not, and a bare DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _unreadable(path: Path, why: str) -> Diagnostic:
    return Diagnostic(
        _FILE,
        str(path),
        "cannot read this recipe",
        why,
        "A compile with --max-drop writes one; so has the manifest of a calibrated model.",
    )


def _wrong(path: Path, field: str, what: str, next_step: str = "") -> Diagnostic:
    return Diagnostic(_FIELD, f"{path}: {field}", what, next_step=next_step)
