"""A recipe survives its file, and a wrong file is explained field by field."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from edgec.diagnostics import CompileError
from edgec.recipes.recipe import MAX_FILE_BYTES, Recipe, read_recipe


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(calibrator="mse", repairs=("equalize", "bias"), per_axis=False),
        Recipe(int16_nodes=("a/Conv", 'quoted "name"'), float_nodes=("back\\slash", "tab\there", "\x7f")),
        Recipe(float_nodes=("名前", "emoji 🙂")),
    ],
)
def test_file_gives_the_recipe_back(tmp_path: Path, recipe: Recipe) -> None:
    """Writing and reading is the identity, whatever characters a source model uses in its names."""
    assert read_recipe(_written(tmp_path, recipe.to_toml())) == recipe


def test_file_says_what_it_is(tmp_path: Path) -> None:
    """The first line tells a person who finds the file how to use it; the rest is plain TOML."""
    text = Recipe().to_toml()
    assert "edgec compile MODEL --recipe" in text.splitlines()[0]
    assert tomllib.loads(text)["schema_version"] == 1


def test_order_of_repairs_is_no_choice() -> None:
    """Repairs have one order of application, so recipes that differ in it alone are one recipe."""
    assert Recipe(repairs=("bias", "equalize")) == Recipe(repairs=("equalize", "bias"))
    assert Recipe(repairs=("bias", "equalize")).digest == Recipe(repairs=("equalize", "bias")).digest


def test_repair_twice_is_refused() -> None:
    """A repair applied twice would be another recipe than the file seems to say."""
    with pytest.raises(ValueError, match="distinct"):
        Recipe(repairs=("bias", "bias"))


def test_every_wrong_field_is_reported(tmp_path: Path) -> None:
    """All faults of a file are found in one run, each with its place and the choices."""
    text = 'calibrator = "magic"\nper_axis = 1\nint16_nodes = "a"\nwhatever = 2\n'
    with pytest.raises(CompileError) as error:
        read_recipe(_written(tmp_path, text))
    messages = [str(item) for item in error.value.diagnostics]
    assert len(messages) == 5
    assert any("calibrator: 'magic' is not a choice. Choices: auto, minmax" in m for m in messages)
    assert any("whatever: there is no such key. Known keys: precision" in m for m in messages)
    assert any("schema_version: has another schema_version, or none" in m for m in messages)


@pytest.mark.parametrize("text", ["= broken", "\x00", "a = 1e", "[[[["])
def test_no_toml_is_explained(tmp_path: Path, text: str) -> None:
    """A damaged file gets one message with the parser's own place in it."""
    with pytest.raises(CompileError, match=r"E0611 .*it is not TOML"):
        read_recipe(_written(tmp_path, text))


def test_missing_and_huge_files_are_refused(tmp_path: Path) -> None:
    """A file that is not there, or far too large to be a recipe, costs neither a traceback nor memory."""
    with pytest.raises(CompileError, match="No such file"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(CompileError, match="larger than 1 MiB"):
        read_recipe(_written(tmp_path, "#" * (MAX_FILE_BYTES + 1)))


def test_words_of_a_recipe() -> None:
    """The one-line form names what differs from plain int8."""
    recipe = Recipe(calibrator="auto", repairs=("bias",), per_axis=False, int16_nodes=("a", "b"))
    assert str(recipe) == "int8 auto +bias per-tensor +2 int16"


def test_a_manifest_is_a_recipe(tmp_path: Path) -> None:
    """Every manifest of a calibrated model holds the recipe that made it, so that it can be made again."""
    path = tmp_path / "m.manifest.json"
    made = Recipe(calibrator="mse", repairs=("rounding",))
    path.write_text(json.dumps({"options": {"recipe": made.to_toml(), "target": "rpi4"}}))
    assert read_recipe(path) == made


@pytest.mark.parametrize("text", ["{}", '{"options": {"recipe": 3}}', "{", "[" * 3 + "{", '{"a":' * 200_000])
def test_other_json_is_no_recipe(tmp_path: Path, text: str) -> None:
    """A float model's manifest, another document, a damaged or a hostile one: named, never a traceback."""
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(CompileError, match=r"E0611 .*m\.json: cannot read this recipe"):
        read_recipe(path)
