"""Numbers in plain words."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import pytest

from edgec.reports import words
from edgec.reports.model import Gate, MeasuredRecipe, Partitions, PixelFeed, Tolerance, TriedRecipe


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
