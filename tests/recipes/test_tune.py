"""What the user left open is decided by held-out samples, and by nothing that could be chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.calibrate.data import InputSpec, SampleSet, open_samples
from edgec.recipes.gains import is_better, noise_of
from edgec.recipes.journal import Memory
from edgec.recipes.metrics import Floats
from edgec.recipes.recipe import Recipe
from edgec.recipes.tune import MOST_SAMPLES, Open, Tried, Tuning, split, tune

START, ROUNDED = Recipe(repairs=("bias",)), Recipe(repairs=("rounding",))
EVERYTHING = Open(calibrator=True, repairs=True)
ROOT = Path(__file__).resolve().parents[2]
SAMPLE, DIGITS = ROOT / "samples" / "digits_cnn.onnx", ROOT / "calibration_data" / "digits"


def _noise(level_db: float, outputs: int = 1, spread_db: float = 0.0) -> Floats:
    """Noise of 16 samples at one level; `spread_db` apart from sample to sample."""
    swing = np.where(np.arange(16) % 2, spread_db, -spread_db)
    return np.tile(10 ** ((level_db + swing) / 10)[:, None], (1, outputs))


def _measure(gain_db: Callable[[Recipe], float]) -> Callable[[Recipe], Floats]:
    return lambda recipe: _noise(-20.0 - gain_db(recipe))


def _shaky(gain_db: float) -> Floats:
    """Noise that is so much below -20 dB in all, but 6 dB more or less from sample to sample."""
    noise = _noise(0.0, spread_db=6.0)
    return noise * _noise(-20.0 - gain_db).sum() / noise.sum()


def test_the_best_of_all_wins() -> None:
    """Three choices that each win are found together, one after the other."""

    def gain(recipe: Recipe) -> float:
        return (
            4.0 * ("rounding" in recipe.repairs)
            + 2.0 * (recipe.calibrator == "mse")
            + 1.0 * ("equalize" in recipe.repairs)
        )

    found = tune(START, EVERYTHING, _measure(gain), 100)
    assert found.recipe == Recipe(
        calibrator="mse", repairs=("equalize", "rounding")
    )  # rounding corrects biases, too
    best = next(item for item in found.tried if item.recipe == found.recipe)
    assert best.gain_db == pytest.approx(7.0)  # 4 + 2 + 1, against the recipe it started from


def test_few_samples_are_never_clipped() -> None:
    """With 31 samples a large value seen once may be common elsewhere, whatever the judges among them say."""
    clipping = _measure(lambda recipe: 6.0 * (recipe.calibrator == "mse"))
    assert tune(START, EVERYTHING, clipping, 31).recipe.calibrator == "minmax"
    assert tune(START, EVERYTHING, clipping, 32).recipe.calibrator == "mse"


def test_the_note_says_what_was_won() -> None:
    """Against what, on how many samples; and nothing about 0.0 dB where the first recipe stays."""
    better = tune(
        START, Open(repairs=True), _measure(lambda recipe: 2.0 * ("rounding" in recipe.repairs)), 100
    )
    assert "2.0 dB less noise than those of int8 minmax +bias, on 16 held-out samples" in str(better.note())
    stays = tune(START, Open(calibrator=True), _measure(lambda recipe: 0.0), 100)
    assert "No other has surely less noise at the outputs, on 16 held-out samples" in str(stays.note())


def test_what_usually_helps_has_nothing_to_prove() -> None:
    """Rounding stays where judges cannot tell it from biases alone; what it loses has to be sure."""
    assert tune(START, EVERYTHING, _measure(lambda recipe: 0.0), 100).recipe == ROUNDED

    def rounding(noise: Floats) -> Recipe:
        def measure(recipe: Recipe) -> Floats:
            return noise if recipe == ROUNDED else _noise(-20.0 if recipe == START else 0.0)

        return tune(START, EVERYTHING, measure, 100).recipe

    assert rounding(_shaky(-0.5)) == ROUNDED
    assert rounding(_noise(-19.5)) == START


def test_auto_wins_by_the_figure_where_it_is_affordable() -> None:
    """It clips where samples agree already, so judges need not be sure of it; but they have to be for it."""
    better = _measure(lambda recipe: 0.2 * (recipe.calibrator == "auto"))
    assert tune(START, EVERYTHING, better, 100).recipe == replace(ROUNDED, calibrator="auto")
    assert tune(START, EVERYTHING, better, 100, auto=False).recipe == ROUNDED
    assert tune(START, EVERYTHING, better, 31).recipe == ROUNDED


def test_chosen_things_stay_as_chosen() -> None:
    """A calibrator that the user named is kept, though another would be better; so are repairs."""

    def gain(recipe: Recipe) -> float:
        return 3.0 * (recipe.calibrator == "mse") + 3.0 * ("rounding" in recipe.repairs)

    kept = replace(START, calibrator="percentile")
    assert tune(kept, Open(repairs=True), _measure(gain), 100).recipe.calibrator == "percentile"
    found = tune(START, Open(calibrator=True), _measure(gain), 100).recipe
    assert (found.calibrator, found.repairs) == ("mse", ("bias",))


def test_int16_activations_have_levels_to_spare() -> None:
    """With 65536 levels no range is worth clipping for and no channel worth scaling: only weights round."""
    start = replace(START, precision="int16x8")
    tried = [item.recipe for item in tune(start, EVERYTHING, _measure(lambda recipe: 0.0), 100).tried]
    assert {recipe.calibrator for recipe in tried} == {"minmax"}
    assert not any("equalize" in recipe.repairs for recipe in tried)


def test_an_output_that_loses_forbids_what_others_win() -> None:
    """Boxes 3 dB better and scores 1 dB worse is no better model, though the mean says so."""

    def measure(recipe: Recipe) -> Floats:
        rounded = "rounding" in recipe.repairs
        return np.concatenate(
            [_noise(-23.0 if rounded else -20.0), _noise(-19.0 if rounded else -20.0)], axis=1
        )

    assert tune(START, EVERYTHING, measure, 100).recipe == START


def test_calibrators_have_to_win_beyond_chance() -> None:
    """0.5 dB in the mean, won on half of the samples and lost on the other, is within two standard errors."""
    assert is_better(_shaky(0.5), _noise(-20.0))
    assert not is_better(_shaky(0.5), _noise(-20.0), certainty=2.0)
    assert is_better(_noise(-20.5), _noise(-20.0), certainty=2.0)


def test_noise_is_relative_to_the_signal_of_each_output() -> None:
    """An error of 0.1 on a signal of 1 is as much noise as one of 10 on a signal of 100: 1 %."""
    signal = np.ones((3, 2, 2), np.float32)
    found = noise_of([signal + 0.1, 100 * signal - 10], [signal, 100 * signal])
    np.testing.assert_allclose(found, 0.01, rtol=1e-5)


def test_infinite_outputs_are_no_gain() -> None:
    """Infinity minus infinity is no number: such a recipe never replaces another."""
    broken = noise_of([np.full((2, 1), np.inf, np.float32)], [np.full((2, 1), np.inf, np.float32)])
    assert not is_better(broken, _noise(-20.0)[:2])


def _digits(count: int) -> SampleSet:
    spec = InputSpec("x", (1, 4), np.dtype(np.float32))
    rows = np.arange(4 * count, dtype=np.float32).reshape(count, 1, 4)
    return open_samples({"x": rows}, [spec])


def test_split_keeps_judges_apart() -> None:
    """No sample both calibrates and judges, and one of three judges."""
    found = split(_digits(40))
    assert found is not None
    calibration, judges = ([float(sample["x"][0, 0]) for sample in part] for part in found)
    assert len(judges) == 13
    assert sorted(calibration + judges) == [4.0 * index for index in range(40)]


def test_split_takes_a_part_of_many_samples_spread_over_all() -> None:
    """Ten thousand samples are not all looked at for every recipe; the first and the last part both count."""
    found = split(_digits(10_000))
    assert found is not None
    seen = sorted(float(sample["x"][0, 0]) / 4 for part in found for sample in part)
    assert len(seen) == MOST_SAMPLES
    assert seen[0] == 0
    assert seen[-1] > 9_900


def test_too_few_samples_are_not_split() -> None:
    """Seven samples would leave five to calibrate with, and two to judge: luck."""
    assert split(_digits(7)) is None
    assert split(_digits(8)) is not None


def test_a_choice_is_remembered(tmp_path: Path) -> None:
    """What was measured once is not measured again; a damaged file is as none."""
    made = Tuning(
        (Tried(START, 0.0), Tried(START.with_repair("rounding"), 2.5)), START.with_repair("rounding"), 9
    )
    memory = Memory(tmp_path / "deep" / "tuned.json")
    assert memory.recall() is None
    memory.keep(made)
    assert memory.recall() == made
    (tmp_path / "deep" / "tuned.json").write_text('{"tried": []}')
    assert memory.recall() is None


def test_compile_chooses_and_its_recipe_repeats_it() -> None:
    """Without flags the recipe is chosen on held-out digits, and that recipe makes the same bytes."""
    made = edgec.compile(SAMPLE, precision="int8", calibration=DIGITS)
    assert made.recipe is not None
    assert any("recipes" in str(item) for item in made.diagnostics)
    again = edgec.compile(SAMPLE, precision="int8", calibration=DIGITS, recipe=made.recipe)
    assert again.tflite == made.tflite
    assert not any("recipes" in str(item) for item in again.diagnostics)


def test_random_samples_decide_nothing() -> None:
    """Noise at the input says nothing of accuracy on real data, so nothing is chosen by it."""
    made = edgec.compile(SAMPLE, precision="int8", calibration="random")
    assert made.recipe == START
