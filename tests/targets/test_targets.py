"""Boards: the known ones are complete and true, one's own are read with errors that help."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from edgec.diagnostics import CompileError
from edgec.targets import Target, list_targets, load_target, targets_table
from edgec.targets import load as load_module
from edgec.targets.table import targets_markdown

VALID = """\
name = "my-board"
description = "A board of one's own"
profile = "tflm"
dynamic_shapes = false
precisions = ["int8"]

[cpu]
arch = "armv7e-m"
core = "Cortex-M4"
cores = 1
clock_mhz = 64

[memory]
ram_kib = 256
tensor_arena_kib = 128
"""


def _board(tmp_path: Path, old: str = "", new: str = "") -> Path:
    assert old in VALID
    path = tmp_path / "my_board.toml"
    path.write_text(VALID.replace(old, new) if old else VALID)
    return path


def _errors(path: Path | str) -> list[str]:
    with pytest.raises(CompileError) as caught:
        load_target(path)
    return [str(diagnostic) for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize("name", list_targets())
def test_every_known_board_is_valid_and_sourced(name: str) -> None:
    """A board's file has its name, and each carries the links that its facts came from."""
    target = load_target(name)
    assert target.name == name
    assert target.sources


def test_generic_is_listed_first() -> None:
    """It is the default target, so a reader meets it first; the others follow in alphabetical order."""
    assert list_targets()[0] == "generic"
    assert list(list_targets()[1:]) == sorted(list_targets()[1:])


@pytest.mark.parametrize(
    ("name", "core", "dotprod", "fp16"),
    [
        ("rpi3", "Cortex-A53", False, False),  # Armv8.0
        ("rpi4", "Cortex-A72", False, False),  # Armv8.0
        ("rpi5", "Cortex-A76", True, True),  # Armv8.2 with SDOT and half precision
    ],
)
def test_int8_dot_products_exist_only_on_the_pi_5(name: str, core: str, dotprod: bool, fp16: bool) -> None:
    """What a report says about int8 speed rests on this fact (Arm's reference manuals of the three cores)."""
    target = load_target(name)
    assert (target.cpu.core, target.has("dotprod"), target.has("fp16")) == (core, dotprod, fp16)


def test_the_microcontroller_has_an_arena_budget_and_static_shapes() -> None:
    """STM32H743: 1 MiB RAM in blocks, the largest (AXI SRAM) 512 KiB; TFLM has no hybrid kernels."""
    target = load_target("cortex-m7")
    assert target.profile == "tflm"
    assert (target.memory.ram_kib, target.memory.flash_kib, target.memory.tensor_arena_kib) == (
        1024,
        2048,
        512,
    )
    assert not target.dynamic_shapes
    assert not {"dynamic", "float16"} & set(target.precisions)


def test_a_board_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is read as a file, also a relative one; facts not given are absent, not invented."""
    target = load_target(_board(tmp_path))
    assert (target.name, target.cpu.clock_mhz, target.memory.flash_kib) == ("my-board", 64, None)
    monkeypatch.chdir(tmp_path)
    assert load_target("./my_board.toml") == target
    assert load_target("my_board.toml") == target


def test_targets_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_target(_board(tmp_path)).cpu.cores = 2


def test_an_unknown_name_suggests_the_nearest() -> None:
    (text,) = _errors("rpi6")
    assert text.startswith("E0401 --target rpi6: there is no target of this name. Known targets: generic, ")
    assert "Did you mean 'rpi" in text


def test_a_name_near_nothing_suggests_nothing() -> None:
    (text,) = _errors("toaster")
    assert "Did you mean" not in text
    assert "Give the path of a .toml file" in text


def test_a_missing_file(tmp_path: Path) -> None:
    (text,) = _errors(tmp_path / "no.toml")
    assert text.startswith(
        f"E0402 {tmp_path}/no.toml: cannot read this target file. No such file or directory."
    )


def test_a_binary_file(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_bytes(b"\xff\xfe\x00TFL3")
    (text,) = _errors(tmp_path / "model.toml")
    assert "cannot read this target file. it is not UTF-8 text" in text


def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    (text,) = _errors(_board(tmp_path, 'profile = "tflm"', "profile = tflm"))
    assert text.startswith(f"E0403 {tmp_path}/my_board.toml: this is not valid TOML.")
    assert "line 3" in text


WRONG = {
    'profile = "tflm"': [
        (
            'profile = "tflmm"',
            ":3: profile: Input should be 'litert_xnnpack' or 'tflm'. Did you mean 'tflm'?",
        ),
        ("", ": profile: this key is missing. Add a line `profile = …`."),
    ],
    "clock_mhz = 64": [
        (
            "clock = 64",
            ":11: cpu.clock: there is no such key. Did you mean 'clock_mhz'? Known keys: arch, core,",
        ),
        ('clock_mhz = "64"', ":11: cpu.clock_mhz: Input should be a valid integer. It is '64' now."),
        ("clock_mhz = 0", ":11: cpu.clock_mhz: Input should be greater than 0. It is 0 now."),
    ],
    "dynamic_shapes = false": [
        ("dynamic_shape = false", ":4: dynamic_shape: there is no such key. Did you mean 'dynamic_shapes'?"),
        ("dynamic_shapes = 0", ":4: dynamic_shapes: Input should be a valid boolean. It is 0 now."),
    ],
    'precisions = ["int8"]': [
        ('precisions = ["int4"]', ":5: precisions.0: Input should be 'float32', 'float16', 'dynamic',"),
        ("precisions = []", ":5: precisions: Tuple should have at least 1 item"),
    ],
    "tensor_arena_kib = 128": [
        ("tensor_arena_kib = 512", ":13: memory: tensor_arena_kib 512 is more than ram_kib 256."),
    ],
    "my-board": [("My Board", ":1: name: String should match pattern")],
}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [(old, new, expected) for old, cases in WRONG.items() for new, expected in cases],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Where (file, line, field), what, and the word that was meant."""
    path = _board(tmp_path, old, new)
    assert any(text.startswith(f"E0404 {path}{expected}") for text in _errors(path)), _errors(path)


def test_all_wrong_fields_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\ncolour = "red"\n')
    fields = {text.split(": ")[1] for text in _errors(path)}
    assert fields == {"description", "profile", "cpu", "dynamic_shapes", "precisions", "colour"}


def test_the_packaged_boards_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a wheel the boards lie inside the package; the folder of a checkout is not looked at then."""
    (tmp_path / "my-board.toml").write_text(VALID)
    monkeypatch.setattr(load_module, "_PACKAGED", tmp_path)
    assert list_targets() == ("my-board",)
    assert load_target("my-board").profile == "tflm"


def test_the_table_speaks_in_words(tmp_path: Path) -> None:
    """One row per board: counts with their units, nothing where a fact is not known."""
    (row,) = targets_table([load_target(_board(tmp_path))])
    assert astuple(row) == (
        "my-board",
        "A board of one's own",
        "1 × Cortex-M4 at 64 MHz",
        "",
        "256 KiB RAM, 128 KiB arena",
        "tflm",
        "int8 (weights int8, int4)",
    )
    assert tuple(row.target for row in targets_table()) == list_targets()


def test_the_markdown_table_has_a_line_per_board() -> None:
    lines = targets_markdown().splitlines()
    assert len(lines) == 2 + len(list_targets())
    assert len({line.count(" | ") for line in lines}) == 1, "every line has the same number of cells"
    assert "1 MiB RAM, 2 MiB flash, 512 KiB arena" in targets_markdown()


def test_a_target_can_be_built_in_python() -> None:
    """Strictness is about files; the model itself accepts what TOML can say."""
    facts = {"name": "x", "description": "x", "profile": "tflm", "dynamic_shapes": False}
    target = Target.model_validate({**facts, "precisions": ["int8"], "cpu": {"arch": "any"}})
    assert target.memory.ram_kib is None
