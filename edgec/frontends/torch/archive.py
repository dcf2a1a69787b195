"""What a PyTorch file is, and whether torch can open it safely; found out without torch and without pickle.

models/*.json, serialized_exported_program.json ─▶ exported program
constants.pkl beside code/ ──────────────────────▶ TorchScript
any other pickle ────────────────────────────────▶ refused: weights, or Python objects that would run code
"""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO

from edgec.diagnostics import CompileError, Diagnostic

_OLD_PROGRAM = "serialized_exported_program.json"
_PAYLOADS = ("_weights_config.json", "_constants_config.json")
_TARGETS = ("torch.ops.", "_operator.", "math.")
_FUNCTIONS = {"floor", "ceiling", "sqrt", "log", "exp"}
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
_CALL_OF_RESULT = re.compile(r"[)\]]\s*\(")
_NAMED = re.compile(r"\b(Symbol|Float)\('[\w.+-]+'", re.ASCII)
_EXPRESSION = re.compile(r"(?:[\w\s+\-*/%(),<>=!&|~]|(?<=\d)\.)*", re.ASCII)
_WEIGHT_TYPES = ("torch._utils ", "torch ", "collections ", "torch.storage ", "torch.nn.parameter ", "numpy")

SAVE = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"


class Kind(StrEnum):
    """What torch programs are held as."""

    EXPORTED = "exported program"
    SCRIPT = "TorchScript"
    MODULE = "module"


def inspect(file: BinaryIO, where: str) -> Kind:
    """Return what an archive holds; CompileError (E0102, E0116, E0125): damaged, no program, unsafe."""
    try:
        with zipfile.ZipFile(file) as archive:
            return _kind(archive, where)
    except zipfile.BadZipFile as error:
        if zipfile.is_zipfile(file):
            what, why = "this is a damaged zip archive", f"{error}."
            raise CompileError(Diagnostic("E0102", where, what, why, "Copy the file again.")) from None
        raise CompileError(_no_program(where, "It is a pickle.")) from None


def _kind(archive: zipfile.ZipFile, where: str) -> Kind:
    names = archive.namelist()
    if any("/data/aotinductor/" in f"/{name}" for name in names):
        why = "It holds native code for one machine; the program that it was made from is not in it."
        step = f"Save the program itself: {SAVE}."
        raise CompileError(Diagnostic("E0116", where, "is an AOTInductor package", why, step))
    if any(_is_program(name) for name in names):
        _refuse_unsafe(archive, where)
        return Kind.EXPORTED
    if any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names):
        return Kind.SCRIPT
    pickles = [name for name in names if name.rsplit("/", 1)[-1] == "data.pkl"]
    raise CompileError(_no_program(where, _contents(archive.read(pickles[0])) if pickles else ""))


def _is_program(name: str) -> bool:
    """Whether a member is a program; the archive's own folder comes first (TorchScript code lies deeper)."""
    return name == _OLD_PROGRAM or (name.split("/")[1:2] == ["models"] and not name.endswith("/"))


def _no_program(where: str, why: str) -> Diagnostic:
    return Diagnostic(
        "E0116",
        where,
        "holds pickled weights or objects, not a program",
        f"{why} Reading a pickle can run any code in it, so it was not opened.".strip(),
        "In Python, build the model, load its weights (torch.load(..., weights_only=True)) and call "
        f"edgec.compile(model, example_inputs=(example,)); or save the program: {SAVE}.",
    )


def _contents(pickle: bytes) -> str:
    """Say what a pickle would make, by its list of classes: nothing is made."""
    try:
        named = [str(value) for code, value, _ in pickletools.genops(pickle) if code.name == "GLOBAL"]
    except (ValueError, IndexError, UnicodeDecodeError):
        return "Its pickle is damaged."
    others = [name.replace(" ", ".") for name in named if not name.startswith(_WEIGHT_TYPES)]
    if others:
        return f"It is a pickled object of class {others[0]}."
    return "It is a state dict: tensors by name, without the computation."


def _refuse_unsafe(archive: zipfile.ZipFile, where: str) -> None:
    """Refuse an exported program that could run code: by pickle, by an expression, or by what it calls."""
    names = [name.casefold() for name in archive.namelist()]
    reason = "It has two members of one name." if len(set(names)) < len(names) else ""
    for name in archive.namelist():
        if reason:
            break
        if name.endswith(_PAYLOADS):
            reason = _unsafe_payload(_json(archive, name, where))
        elif _is_program(name):
            reason = _unsafe_program(_json(archive, name, where))
    if reason:
        what = "holds more than a computation and its tensors"
        why = f"{reason} Reading that could run code in the file."
        step = "Export the model again without custom objects, or export it to ONNX where it was made."
        raise CompileError(Diagnostic("E0125", where, what, why, step))


def _json(archive: zipfile.ZipFile, name: str, where: str) -> object:
    try:
        return json.loads(archive.read(name))
    except (ValueError, RecursionError, zipfile.BadZipFile) as error:
        what, why = f"its member '{name}' is damaged", f"{error}."
        raise CompileError(Diagnostic("E0102", where, what, why, "Save the model again.")) from None


def _unsafe_payload(config: object) -> str:
    pickled = any(key == "use_pickle" and value is not False for key, value in _entries(config))
    objects = any(
        key == "path_name" and not str(value).startswith(("weight_", "tensor_"))
        for key, value in _entries(config)
    )
    return "It keeps Python or C++ objects among its constants." if pickled or objects else ""


def _unsafe_program(program: object) -> str:
    for key, value in _entries(program):
        if key == "target" and isinstance(value, str) and not value.startswith(_TARGETS):
            return f"It calls '{value[:60]}', which is no operator."
        if key == "expr_str" and not _is_arithmetic(str(value)):
            return f"'{str(value)[:60]}' is no arithmetic of sizes."
    return ""


def _is_arithmetic(text: str) -> bool:
    """Whether a size expression consists of numbers, symbols and sympy's functions: torch evaluates it.

    `Mul(Symbol('s0', integer=True), Integer(2))` does; calls of Python's own functions or of what a call
    returns, and attributes, do not. Sympy's classes begin with a capital, and no function of Python's does.
    """
    plain = _NAMED.sub(r"\1(x", text)
    called = _CALL.findall(plain)
    if not _EXPRESSION.fullmatch(plain) or "__" in text or _CALL_OF_RESULT.search(plain):
        return False
    return all(name in _FUNCTIONS or name[0].isupper() for name in called)


def _entries(data: object) -> Iterator[tuple[str, object]]:
    """Yield every key and value in nested JSON."""
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from item.items()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
