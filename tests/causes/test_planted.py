"""Each fault, planted in a model of its own, is the first cause named, and its number is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.ir import Array, DType, Model, Value
from edgec.ops import Builder, Padding
from edgec.ops.conv import Conv2DAttributes, DepthwiseConv2DAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.quantize.parameters import MIN_SCALE
from edgec.recipes.evaluate import outputs_of
from edgec.recipes.metrics import sqnr_db
from edgec.recipes.recipe import Recipe
from edgec.recipes.workbench import Interface
from tests.causes.planted import PLAIN, causes, dense, kinds, quantized, uniform
from tests.support.ir_graphs import make_model

SAMPLES = np.random.default_rng(1).uniform(-1, 1, (512, 8)).astype(np.float32)
FRESH = SAMPLES[:32]
"""Judged on samples that ranges were taken from: then nothing saturates, and one fault is alone."""

PHOTOS = np.random.default_rng(2).uniform(-1, 1, (64, 8, 8, 3)).astype(np.float32)

ROWS = np.random.default_rng(3).normal(size=(8, 8)).astype(np.float32)


def healthy() -> Model:
    def body(b: Builder, x: Value) -> Value:
        return dense(b, b.op("relu", [dense(b, x, ROWS, np.full(8, 0.3))]), ROWS)

    return make_model(body, (1, 8))


def test_a_healthy_model_has_no_cause() -> None:
    """Nothing is wrong: no finder speaks, so a name always means something."""
    assert causes(quantized(healthy(), SAMPLES, FRESH)) == ()


class TestSharedScale:
    """A head that joins boxes of up to 500 with scores of at most 1."""

    @staticmethod
    def head() -> Model:
        def body(b: Builder, x: Value) -> Value:
            boxes = b.op("mul", [dense(b, x, ROWS), b.constant(np.float32(100))])
            return b.op("concatenation", [boxes, b.op("logistic", [x])], ConcatenationAttributes(1))

        return make_model(body, (1, 8))

    def test_it_is_first_with_the_gain_of_the_smaller_part(self) -> None:
        """In one scale of about 8 a step, a score rounds to 0: its own SQNR is 0 dB. On its own scale of
        1/256 it has 8 bits. The output as a whole hides that, for boxes are all there is in its SQNR."""
        model, fresh = self.head(), FRESH
        forced = quantized(model, SAMPLES, fresh, interface=Interface(output_type=DType.INT8))
        found = causes(forced)
        assert kinds(found)[0] == "shared-scale concat"
        assert found[0].where == "node 'concatenation'"
        assert "the smaller has 1 of 256 levels" in found[0].what
        assert "'logistic' (0" in found[0].what
        scores = 1 / (1 + np.exp(-fresh.astype(np.float64)))
        rounded = np.rint(scores * 256) / 256
        own = 10 * np.log10((scores**2).sum() / ((scores - rounded) ** 2).sum())
        (output,) = outputs_of(forced.model, forced.evaluation.data.samples)
        (shared,) = sqnr_db([output[:, 0, 8:]], [scores])
        assert found[0].gain_db == pytest.approx(own - shared, abs=3)
        assert found[0].gain_db > 30

    def test_a_head_that_was_recovered_is_named_all_the_same(self) -> None:
        """With the output type left open the join is in float: the number is what that wins."""
        made = quantized(self.head(), SAMPLES, FRESH)
        assert made.heads
        found = causes(made)
        assert kinds(found)[0] == "shared-scale concat"
        assert found[0].tried.startswith("joined in float, as it is now")
        assert found[0].next_step.startswith("Nothing more is needed")
        assert found[0].gain_db is not None
        assert found[0].gain_db > 30

    def test_inside_a_model_the_outputs_tell(self) -> None:
        """What the join feeds computes with both parts: the gain is that of the output."""

        def body(b: Builder, x: Value) -> Value:
            large = b.op("mul", [x, b.constant(np.float32(500))])
            joined = b.op("concatenation", [large, b.op("logistic", [x])], ConcatenationAttributes(1))
            return dense(b, joined, np.hstack([ROWS / 1e4, ROWS]))

        made = quantized(make_model(body, (1, 8)), SAMPLES, FRESH)
        found = causes(made)
        assert kinds(found)[0] == "shared-scale concat"
        assert found[0].tried == "kept the join in float, and what reads it"
        assert found[0].gain_db is not None
        assert found[0].gain_db > 30, (
            "a sigmoid of 0 or 1 step of 3.9 says nothing; in float all of it is there"
        )

    def test_heads_of_several_levels_are_followed_to_the_output(self) -> None:
        """As in YOLOX: each level joins its parts, then levels are joined and transposed."""

        def body(b: Builder, x: Value) -> Value:
            levels: list[Value] = []
            for factor in (100, 200):
                boxes = b.op("mul", [dense(b, x, ROWS), b.constant(np.float32(factor))])
                level = b.op("concatenation", [boxes, b.op("logistic", [x])], ConcatenationAttributes(1))
                levels.append(b.reshape(level, (1, 16, 1)))
            return b.transpose(b.op("concatenation", levels, ConcatenationAttributes(2)), (0, 2, 1))

        model = make_model(body, (1, 8))
        found = causes(quantized(model, SAMPLES, FRESH, interface=Interface(output_type=DType.INT8)))
        named = [cause for cause in found if cause.kind == "shared-scale concat"]
        assert [cause.where for cause in named] == ["node 'concatenation'", "node 'concatenation_1'"]
        assert all(cause.gain_db is not None and cause.gain_db > 30 for cause in named)

    def test_parts_alike_are_no_cause(self) -> None:
        """Ranges within a factor of eight lose less than three bits."""

        def body(b: Builder, x: Value) -> Value:
            return b.op("concatenation", [dense(b, x, ROWS), b.op("tanh", [x])], ConcatenationAttributes(1))

        made = quantized(make_model(body, (1, 8)), SAMPLES, FRESH)
        assert "shared-scale concat" not in kinds(causes(made))


def image(b: Builder, x: Value, weights: Array, bias: Array) -> Value:
    attributes = Conv2DAttributes(Padding.SAME)
    operands = [x, b.constant(weights.astype(np.float32)), b.constant(bias.astype(np.float32))]
    return b.op("conv_2d", operands, attributes)


def unequal(spread: float) -> Model:
    """conv, relu, depthwise, conv: half of the channels between are `spread` times smaller.

    What reads them is as much larger, so that all channels matter alike in the output: the DFQ paper's case.
    """

    def body(b: Builder, x: Value) -> Value:
        random = np.random.default_rng(5)
        size = np.where(np.arange(8) < 5, 1 / spread, 1.0)
        first = random.normal(0, 0.3, (8, 3, 3, 3)) * size[:, None, None, None]
        y = b.op("relu", [image(b, x, first, 0.3 * size)])
        taps = b.constant(random.normal(0, 0.3, (1, 3, 3, 8)).astype(np.float32) + np.float32(0.2))
        zeros = b.constant(np.zeros(8, np.float32))
        y = b.op("depthwise_conv_2d", [y, taps, zeros], DepthwiseConv2DAttributes(Padding.SAME))
        return image(b, y, random.normal(0, 0.3, (4, 3, 3, 8)) / size, np.zeros(4))

    return make_model(body, (1, 8, 8, 3))


class TestChannelSpread:
    """Channels of one tensor that are far apart in size."""

    def test_it_is_first_with_what_equalizing_wins(self) -> None:
        """The model with `--repair equalize`, run on the same samples, is that much better."""
        model, calibration, fresh = unequal(100), PHOTOS, PHOTOS[:16]
        made = quantized(model, calibration, fresh)
        found = causes(made)
        assert kinds(found)[0] == "channel spread"
        assert "half of its channels stay below 1/" in found[0].what
        assert found[0].next_step == "Use --repair equalize."
        repaired = quantized(model, calibration, fresh, Recipe(calibrator="minmax", repairs=("equalize",)))
        figures = [item.evaluation.score(item.model).worst_sqnr_db for item in (made, repaired)]
        assert found[0].gain_db == pytest.approx(figures[1] - figures[0], abs=0.01)
        assert found[0].gain_db > 10

    def test_equal_channels_are_no_cause(self) -> None:
        made = quantized(unequal(1), PHOTOS, PHOTOS[:16])
        assert "channel spread" not in kinds(causes(made))


class TestWeightSpread:
    """--per-tensor weights: one scale for filters of one large tap and filters of many small ones."""

    SAMPLES = np.random.default_rng(2).uniform(0, 1, (64, 8, 8, 8)).astype(np.float32)

    @staticmethod
    def model() -> Model:
        """Five means over 72 taps and three single taps: results are alike, weights 72 times apart."""

        def body(b: Builder, x: Value) -> Value:
            weights = np.random.default_rng(5).uniform(0.5, 1.5, (8, 3, 3, 8)) / 72
            weights[5:] = 0
            weights[range(5, 8), 1, 1, range(3)] = 1
            return image(b, x, weights, np.zeros(8))

        return make_model(body, (1, 8, 8, 8))

    def test_it_is_first_with_what_a_scale_for_each_channel_wins(self) -> None:
        """A weight of 1/72 is 1 or 2 of 127: it loses its size. With a scale of its own it has 7 bits."""
        per_tensor = Recipe(calibrator="minmax", repairs=(), per_axis=False)
        samples = self.SAMPLES, self.SAMPLES[:16]
        made = quantized(self.model(), *samples, per_tensor)
        cause = causes(made)[0]
        assert cause.kind == "channel spread in weights"
        assert "half of the channels use 3 of 127 levels or fewer" in cause.what
        assert cause.tried == "gave weights a scale for each channel"
        assert cause.next_step == "Leave --per-tensor out."
        per_axis = quantized(self.model(), *samples)
        figures = [item.evaluation.score(item.model).worst_sqnr_db for item in (made, per_axis)]
        assert cause.gain_db == pytest.approx(figures[1] - figures[0], abs=0.01)
        assert cause.gain_db > 5

    def test_a_scale_for_each_channel_is_no_cause(self) -> None:
        made = quantized(self.model(), self.SAMPLES, self.SAMPLES[:16])
        assert "channel spread in weights" not in kinds(causes(made))


def half_dead(dead: int) -> Model:
    def body(b: Builder, x: Value) -> Value:
        bias = np.where(np.arange(8) < dead, -100.0, 0.3)
        y = b.op("relu", [dense(b, x, ROWS, bias)])
        return dense(b, y, ROWS)

    return make_model(body, (1, 8))


class TestDeadChannels:
    """A bias of -100 keeps a ReLU shut for good."""

    def fused(self, dead: int) -> Model:
        from edgec.passes.fuse import FUSE_ACTIVATIONS

        return FUSE_ACTIVATIONS.run(half_dead(dead)).model

    def test_they_are_counted_without_a_number(self) -> None:
        """Six of sixteen channels: pruning them changes no output, so there is no gain to measure."""
        made = quantized(self.fused(6), SAMPLES, FRESH)
        (cause,) = causes(made)
        assert cause.kind == "dead channels"
        assert cause.what == "6 of 16 channels are zero on all samples, 6 of them here"
        assert cause.gain_db is None

    def test_living_channels_are_no_cause(self) -> None:
        made = quantized(self.fused(0), SAMPLES, FRESH)
        assert causes(made) == ()


class TestTinyRanges:
    """Values around the least scale of an activation, of which 255 steps make a range."""

    @staticmethod
    def model(size: float) -> Model:
        def body(b: Builder, x: Value) -> Value:
            return dense(b, dense(b, x, ROWS * size), ROWS / size)

        return make_model(body, (1, 8))

    def test_it_is_first_with_what_float_wins(self) -> None:
        """The tensor spans some 13 levels instead of 256, which costs 26 dB: float gives them back."""
        made = quantized(self.model(MIN_SCALE), SAMPLES, FRESH)
        found = causes(made)
        assert kinds(found)[0] == "tiny-range tensor"
        assert found[0].where == "tensor 'fully_connected'"
        assert "have 13 of 256 levels" in found[0].what
        now = made.evaluation.score(made.model).worst_sqnr_db
        usual = quantized(self.model(1.0), SAMPLES, FRESH)
        assert found[0].gain_db is not None
        assert found[0].gain_db + now >= usual.evaluation.score(usual.model).worst_sqnr_db - 1

    def test_an_output_has_no_number(self) -> None:
        """Nothing behind it could be kept in float: the output is what it is."""

        def body(b: Builder, x: Value) -> Value:
            return dense(b, x, ROWS * MIN_SCALE)

        made = quantized(make_model(body, (1, 8)), SAMPLES, FRESH)
        (cause,) = [cause for cause in causes(made) if cause.kind == "tiny-range tensor"]
        assert cause.gain_db is None

    def test_usual_ranges_are_no_cause(self) -> None:
        made = quantized(self.model(1e-3), SAMPLES, FRESH)
        assert "tiny-range tensor" not in kinds(causes(made))


def stem(scale: float) -> Model:
    """A first layer as trained on inputs `scale` times those of 0..1, with a bias of its usual size."""

    def body(b: Builder, x: Value) -> Value:
        random = np.random.default_rng(5)
        y = b.op("relu", [image(b, x, random.normal(0, 0.3, (8, 3, 3, 3)) / scale, random.normal(0, 0.3, 8))])
        return image(b, y, random.normal(0, 0.2, (4, 3, 3, 8)), np.zeros(4))

    return make_model(body, (1, 8, 8, 3))


def pixels(count: int, seed: int) -> Array:
    return uniform(count, 8, 8, 3, seed=seed, low=0, high=1)


class TestWrongNormalization:
    """Samples of 0..1 for a model of 0..255, and the reverse."""

    @pytest.mark.parametrize(
        ("scale", "change", "words"),
        [
            (255.0, lambda x: x, "values * 255"),
            (255.0, lambda x: 2 * x - 1, "values * 127.5 + 127.5"),
            (1.0, lambda x: 255 * x, "values / 255"),
        ],
        ids=["divided", "centred", "not divided"],
    )
    def test_it_is_first_with_what_the_right_one_wins(
        self, scale: float, change: Callable[[Array], Array], words: str
    ) -> None:
        """The number is that of right samples: a model calibrated with these against the one there is."""
        made = quantized(stem(scale), change(pixels(64, 1)), change(pixels(16, 2)))
        found = causes(made)
        assert kinds(found)[0] == "wrong normalization"
        assert found[0].where == "input 'x0'"
        assert found[0].tried == f"calibrated with {words}, and judged on such"
        right = quantized(stem(scale), scale * pixels(64, 1), scale * pixels(16, 2))
        figures = [right.evaluation.score(item.model).worst_sqnr_db for item in (made, right)]
        assert found[0].gain_db == pytest.approx(figures[1] - figures[0], abs=1.0)
        assert found[0].gain_db > 15

    def test_labelled_data_may_be_right_already(self) -> None:
        """Calibrated on 0..1, judged on 0..255: these samples are not multiplied once more."""
        made = quantized(stem(255.0), pixels(64, 1), 255 * pixels(16, 2))
        (cause,) = [cause for cause in causes(made) if cause.kind == "wrong normalization"]
        right = quantized(stem(255.0), 255 * pixels(64, 1), 255 * pixels(16, 2))
        figures = [item.evaluation.score(item.model).worst_sqnr_db for item in (made, right)]
        assert cause.gain_db == pytest.approx(figures[1] - figures[0], abs=1.0)

    def test_fitted_repairs_are_left_out_of_the_comparison(self) -> None:
        """Biases corrected for pixels of 0..255 are wrong for 0..1: with that repair it is found, too."""
        corrected = Recipe(calibrator="minmax", repairs=("bias",))
        made = quantized(stem(1.0), 255 * pixels(64, 1), 255 * pixels(16, 2), corrected)
        assert kinds(causes(made))[0] == "wrong normalization"

    def test_raw_pixels_are_suspected_without_a_number(self) -> None:
        """Their scale is built into the model: calibrating with other samples cannot undo a wrong std."""
        fixed = Interface(fixed_ranges={"x0": (0.0, 255.0)})
        made = quantized(stem(1.0), 255 * pixels(64, 1), 255 * pixels(16, 2), interface=fixed)
        (cause,) = [cause for cause in causes(made) if cause.kind == "wrong normalization"]
        assert (cause.gain_db, cause.tried) == (None, "")

    def test_unknown_scales_are_suspected_without_a_number(self) -> None:
        """Values up to 9000 are no pixels: nothing is known to divide them by."""
        made = quantized(stem(1.0), 9000 * pixels(64, 1), 9000 * pixels(16, 2))
        (cause,) = [cause for cause in causes(made) if cause.kind == "wrong normalization"]
        assert (cause.gain_db, cause.tried) == (None, "")
        assert cause.next_step == "Check mean and std against the model's training."

    @pytest.mark.parametrize("scale", [1.0, 255.0])
    def test_the_right_normalization_is_no_cause(self, scale: float) -> None:
        made = quantized(stem(scale), scale * pixels(64, 1), scale * pixels(16, 2))
        assert "wrong normalization" not in kinds(causes(made))


class TestTooFewSamples:
    """Ranges that depend on which samples there are."""

    def test_halves_that_disagree_have_the_number_of_half_the_samples(self) -> None:
        """Heavy tails: each sample reaches elsewhere. Leaving every second one out costs what is shown."""
        random = np.random.default_rng(4)
        rows = (random.standard_t(1.5, (6, 8))).astype(np.float32)
        fresh = (random.standard_t(1.5, (64, 8))).astype(np.float32)
        made = quantized(healthy(), rows, fresh)
        (cause,) = [cause for cause in causes(made) if cause.kind == "too few samples"]
        half = quantized(healthy(), rows[::2], fresh)
        figures = [item.evaluation.score(item.model).worst_sqnr_db for item in (half, made)]
        lost = figures[1] - figures[0]
        assert cause.gain_db == (pytest.approx(lost, abs=0.05) if lost >= 0.5 else None)

    def test_enough_alike_samples_are_no_cause(self) -> None:
        made = quantized(healthy(), SAMPLES, FRESH)
        assert "too few samples" not in kinds(causes(made))


def test_causes_are_ranked_by_their_number() -> None:
    """Wrong samples that repeat: the number first, what has none last."""
    rows = 255 * pixels(64, 1)
    rows[32:] = rows[0]
    found = causes(quantized(stem(1.0), rows, 255 * pixels(16, 2), PLAIN))
    assert kinds(found)[0] == "wrong normalization"
    assert kinds(found)[-1] == "duplicate samples"
    numbers = [cause.gain_db for cause in found if cause.gain_db is not None]
    assert numbers == sorted(numbers, reverse=True)
