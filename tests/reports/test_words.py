"""Numbers in plain words."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import pytest

from edgec.reports import words
from edgec.reports.explanation import LayerCheck, TensorHistogram
from edgec.reports.model import (
    Accuracy,
    Gate,
    MeasuredRecipe,
    Partitions,
    PixelFeed,
    RepairGain,
    Tolerance,
    TriedRecipe,
)


def test_what_to_feed_an_input_of_pixels() -> None:
    """Everything that a device has to do, and that it has to do nothing else."""
    feed = PixelFeed("rgb", 224, 192, "crop 0.875, bilinear", 0)
    assert words.pixel_feed(feed) == (
        "uint8 pixels 0..255, RGB, 224 x 192, resize crop 0.875, bilinear; "
        "nothing to subtract, nothing to divide"
    )
    feed = PixelFeed("gray", 28, 28, None, 128)
    assert words.pixel_feed(feed) == ("int8 pixels -128..127, grey, 28 x 28; subtract 128, nothing to divide")


def test_which_recipe_was_chosen() -> None:
    """The gain is against the first; where the first stayed there is none to speak of."""
    first, better = MeasuredRecipe("int8 minmax", 0.0, False), MeasuredRecipe("int8 mse", 3.14, True)
    assert words.chosen_recipe((first, better)) == "int8 mse: 3.1 dB less noise than int8 minmax, 2 tried"
    stays = (replace(first, chosen=True), replace(better, chosen=False))
    assert words.chosen_recipe(stays) == "int8 minmax, the best of 2 tried"


def test_costs_of_a_search_are_relative() -> None:
    """Costs only compare recipes of one search, so the cheapest is 1."""
    trials = [TriedRecipe("a", 0.5, 30.0, 100, 4.0), TriedRecipe("b", 0.1, 40.0, 100, 5.0)]
    assert [cost for _, cost in words.relative_costs(trials)] == ["1.00x", "1.25x"]
    assert words.relative_costs([]) == []


@pytest.mark.parametrize(
    ("sqnr_db", "expected"),
    [
        (math.inf, "every element is equal to the source"),
        (120.0, "matches up to float rounding: the error is 0.0001% of the signal"),
        (40.0, "very close: the error is 1% of the signal"),  # 10 ** (-40 / 20)
        (39.9, "close: the error is 1.01% of the signal"),
        (20.0, "noticeably different: the error is 10% of the signal"),
        (0.0, "far from the source: the error is 100% of the signal"),
        (math.nan, "cannot be judged: an output is not a number"),
    ],
)
def test_a_verdict_turns_decibels_into_a_share(samples: ModuleType, sqnr_db: float, expected: str) -> None:
    assert words.verdict(samples.check("y", sqnr_db)) == expected


def test_a_failed_output_says_so_first(samples: ModuleType) -> None:
    assert words.verdict(samples.check("y", 40.0, passed=False)).startswith(
        "outside the tolerance; very close"
    )


def test_the_headline_never_claims_what_was_not_checked(samples: ModuleType) -> None:
    """Each state has its own words: unchecked, exact, matching, not matching, gate not met."""
    report = samples.FLOAT
    assert words.headline(report) == "float32 model, not compared with the source; 0 transposes"
    assert words.headline(samples.EXACT) == "float32 output matches the source exactly; 0 transposes"
    far = replace(report, verification=samples.verified(samples.check("y", 3.0, passed=False)))
    assert words.headline(far) == "float32 output does NOT match the source at 3.0 dB; 0 transposes"
    two = samples.verified(samples.check("a", 50.0), samples.check("b", 3.0, passed=False))
    assert words.headline(replace(report, verification=two)).startswith(
        "float32 outputs do NOT all match the source at 3.0"
    )
    gated = replace(
        report, partitions=Partitions("XNNPACK", 1, 3, 3), gates=(Gate("max-size", 1, 2, "bytes", False),)
    )
    assert words.headline(gated).endswith("0 transposes; 1 XNNPACK partition; gate max-size is not met")


@pytest.mark.parametrize(
    ("sqnr_db", "state", "words_of_it"),
    [
        (120.0, "OK", "int8 output matches the source at 120.0 dB"),  # no worse than reordered float sums
        (41.3, "OK", "int8 output is very close to the source: 41.3 dB"),
        (31.0, "OK", "int8 output is close to the source: 31.0 dB"),
        (20.0, "OK", "int8 output is noticeably different from the source: 20.0 dB"),
        (19.9, "POOR", "int8 output is far from the source: 19.9 dB"),
        (-2.6, "POOR", "int8 output is far from the source: -2.6 dB"),
        (math.nan, "POOR", "int8 output is not a number"),
    ],
)
def test_where_nothing_is_demanded_the_distance_speaks(
    samples: ModuleType, sqnr_db: float, state: str, words_of_it: str
) -> None:
    """An error of a tenth of the signal and more is no match, even if nobody set a limit."""
    checked = replace(samples.verified(samples.check("y", sqnr_db)), tolerance=Tolerance())
    report = replace(samples.FLOAT, precision="int8", verification=checked)
    assert (words.state(report), words.headline(report)) == (state, f"{words_of_it}; 0 transposes")
    gated = replace(report, gates=(Gate("max drop (top1)", 1.0, 0.5, "points", True),))
    assert words.state(gated) == "OK"  # the user's own measure decides


def test_a_repair_beyond_measure_has_no_number() -> None:
    """A bias corrected to the last bit has infinite SQNR."""
    assert (
        words.repair(RepairGain("bias", 3, math.inf)) == "bias: 3 nodes better, the median one beyond measure"
    )


def test_a_unit_may_be_missing() -> None:
    """A metric of the user's own has none."""
    found = Accuracy("eval:map50", "80 labelled samples of test.npz", "", 0.3123, 0.32, 0.0077)
    assert words.accuracy(found) == "eval:map50 0.3123, float 0.32 (80 labelled samples of test.npz)"
    assert words.gate(Gate("max drop", 0.01, 0.0077, "", True)) == "max drop: 0.0077, limit 0.01"


def test_what_a_histogram_clips() -> None:
    """Ten bins from -1 to 4, a range of 0..3: two bins on each side are outside, with 6 of 100 values."""
    histogram = TensorHistogram("t", "activations", -1.0, 4.0, 0.0, 3.0, (1, 2, *[15] * 6, 2, 1))
    assert words.bins_outside(histogram) == [True, True, *[False] * 6, True, True]
    assert words.clipped(histogram) == "6.25% clipped"  # 6 / (6 + 6 * 15)


def test_nodes_by_their_share_of_the_noise() -> None:
    """Two kernels of one node were measured together: it is listed once. Not measured is not listed."""
    layers = [
        LayerCheck("a", "conv_2d", 30.0, 0.2),
        LayerCheck("b", "add", 28.0, 0.8),
        LayerCheck("b", "mul", 27.0, 0.8),
        LayerCheck("c", "add", 27.0),
    ]
    assert words.noisiest(layers) == [("b", 0.8), ("a", 0.2)]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 B"), (999, "999 B"), (34_560, "34.6 kB"), (999_900, "1 MB"), (102_400_000, "102 MB")],
)
def test_sizes(number: int, expected: str) -> None:
    assert words.size(number) == expected


def test_small_words(samples: ModuleType) -> None:
    assert words.count(None) == "unknown"
    assert words.count(6_200_000) == "6.2 M"
    assert (words.plural(1, "node"), words.plural(0, "node")) == ("1 node", "0 nodes")
    assert words.shape((1, -1, 3)) == "1 × ? × 3"
    assert words.shape(()) == "scalar"
    assert words.seconds(0.0123) == "12.3 ms"
    assert words.real_value(0.5, -3) == "0.5 × (q + 3)"
    assert words.real_value(None, None) == "as is"
    assert words.partitions(Partitions("XNNPACK", 1, 31, 31)) == "1 XNNPACK partition with all 31 nodes"
    assert words.size_change(replace(samples.FLOAT, size_bytes=240_000)) == "100% larger than the source"
    assert words.size_change(replace(samples.FLOAT, size_bytes=120_100)) == "as large as the source"


def test_tolerances() -> None:
    assert words.tolerance(Tolerance(1e-4, 1e-5)) == "|error| ≤ 1e-05 + 0.0001 × |source|"
    assert words.tolerance(Tolerance(min_sqnr_db=20)) == "SQNR ≥ 20 dB"
    assert words.tolerance(Tolerance()) == "none, the numbers are for information"
