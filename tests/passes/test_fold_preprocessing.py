"""Mean, std and the order of colors move into a model, which then computes the same from raw pixels."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir import Array, Model, Port, Value
from edgec.ops import Builder, Padding
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.passes.fold_preprocessing import HALF_STEP, Folded, FoldPreprocessing, pixel_ranges
from edgec.passes.pixels import PixelInput
from tests.support.ir_graphs import Body, conv, depthwise, fully_connected, kinds, make_model, ramp, run

SAME = Conv2DAttributes(Padding.SAME)
IMAGENET = PixelInput("x0", "nhwc", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
IMAGENET_BGR = PixelInput("x0", "nhwc", IMAGENET.mean[::-1], IMAGENET.std[::-1], blue_first=True)
CENTRED = PixelInput("x0", "nhwc", (127.0,) * 3, (128.0,) * 3)
CENTRED_BGR = PixelInput("x0", "nhwc", (127.0,) * 3, (128.0,) * 3, blue_first=True)
HALVED = PixelInput("x0", "nhwc", (127.5,) * 3, (127.5,) * 3)
ROUNDINGS = 3e-6
"""Of the largest output: weights are rounded to float32 once more, and sums have another order."""


def padded_conv(b: Builder, x: Value) -> Value:
    return conv(b, x, attributes=SAME)


def conv_behind_pad(b: Builder, x: Value) -> Value:
    return conv(b, b.op("pad", [x, b.constant(np.array([[0, 0], [1, 0], [1, 0], [0, 0]], np.int32))]))


def focus(b: Builder, x: Value) -> Value:
    """The first layer of YOLOX: every second pixel of every second row, four times, as channels."""
    grid = b.reshape(x, (1, 3, 2, 4, 2, 3))
    size = b.constant([1, 3, 1, 4, 1, 3])
    corners = [b.constant([0, 0, row, 0, column, 0]) for row in (0, 1) for column in (0, 1)]
    parts = [b.reshape(b.op("slice", [grid, corner, size]), (1, 3, 4, 3)) for corner in corners]
    return conv(b, b.op("concatenation", parts, ConcatenationAttributes(3)))


def two_readers(b: Builder, x: Value) -> Value:
    return b.op("add", [conv(b, x), conv(b, x)])


def flat(b: Builder, x: Value) -> Value:
    return fully_connected(b, b.reshape(x, (1, x.type.size)))


def folded(body: Body, pixels: PixelInput, slip: float = 0.0) -> tuple[Model, Folded, float]:
    """Return the model after the pass, what it says, and its largest error by the largest output.

    The model before gets normalized pixels, the model after what stands for the same pixels on the device.
    """
    shape = (1, 6, 8, pixels.channels)
    q = np.random.default_rng(5).integers(0, 256, shape).astype(np.float64)
    r = pixels.on_device(q)
    before = run(make_model(body, shape), [pixels.in_source(r)])
    model = make_model(body, shape)
    (found,) = FoldPreprocessing([pixels], slip).run_with_report(model)
    verify_ir(model)
    pairs = zip(before, run(model, [r]), strict=True)
    return model, found, max(float(np.abs(new - old).max() / np.abs(old).max()) for old, new in pairs)


@pytest.mark.parametrize("body", [conv, padded_conv, conv_behind_pad, depthwise, flat, focus])
def test_one_whole_mean_for_all_channels_changes_nothing(body: Body) -> None:
    """Scale 1/128 and zero point 127 say (pixel - 127) / 128 already, padding included: nothing changes."""
    model, found, error = folded(body, CENTRED)
    assert (found.nodes, found.front, found.slip) == ((), "", 0.0)
    assert kinds(model) == kinds(make_model(body, (1, 6, 8, 3)))
    assert error == 0


@pytest.mark.parametrize("body", [conv, depthwise, flat, focus, two_readers])
def test_numbers_of_each_channel_move_into_the_weights(body: Body) -> None:
    """Without padding the means go into the bias, the rest into the weights; no node is added."""
    model, found, error = folded(body, IMAGENET)
    assert found.nodes
    assert not found.front
    assert kinds(model) == kinds(make_model(body, (1, 6, 8, 3)))
    assert error < ROUNDINGS


@pytest.mark.parametrize("body", [conv, flat, focus, two_readers])
@pytest.mark.parametrize("pixels", [IMAGENET_BGR, CENTRED_BGR], ids=["imagenet", "centred"])
def test_blue_first_swaps_channels_of_the_weights(body: Body, pixels: PixelInput) -> None:
    """The device gives red first; what multiplied blue now stands where blue is, in each part of a focus."""
    model, found, error = folded(body, pixels)
    assert not found.front
    assert kinds(model) == kinds(make_model(body, (1, 6, 8, 3)))
    assert error < ROUNDINGS


@pytest.mark.parametrize("body", [padded_conv, conv_behind_pad])
def test_swapping_is_exact_under_padding(body: Body) -> None:
    """A zero is a zero in any order of channels: one mean and BGR need no other node."""
    _, found, error = folded(body, CENTRED_BGR)
    assert not found.front
    assert error < ROUNDINGS


@pytest.mark.parametrize("body", [padded_conv, conv_behind_pad])
@pytest.mark.parametrize("pixels", [IMAGENET, IMAGENET_BGR, HALVED], ids=["imagenet", "bgr", "halved"])
def test_means_under_padding_need_a_convolution_in_front(body: Body, pixels: PixelInput) -> None:
    """Padding puts x = 0, a pixel of each channel's mean, but r = 0 is one pixel for all of them."""
    model, found, error = folded(body, pixels)
    assert found.front == "x0/preprocess"
    assert "pads with zeros" in found.why
    assert kinds(model) == ["conv_2d", *kinds(make_model(body, (1, 6, 8, 3)))]
    assert error < ROUNDINGS


@pytest.mark.parametrize("body", [padded_conv, conv_behind_pad])
def test_half_a_step_may_slip_at_padding(body: Body) -> None:
    """With a mean of 127.5, int8 lets padded cells be off by half a step, and no others by anything.

    A cell off by 0.5/127.5 changes an output by at most that times the weights of the padded cells.
    """
    shape = (1, 6, 8, 3)
    r = HALVED.on_device(np.random.default_rng(5).integers(0, 256, shape).astype(np.float64))
    (before,) = run(make_model(body, shape), [HALVED.in_source(r)])
    model = make_model(body, shape)
    (found,) = FoldPreprocessing([HALVED], HALF_STEP).run_with_report(model)
    (after,) = run(model, [r])
    assert (found.front, found.slip) == ("", 0.5)
    error = np.abs(after - before)
    inner = error[:, 1:-1, 1:-1] if body is padded_conv else error[:, 1:, 1:]
    assert inner.max() < ROUNDINGS * np.abs(before).max()
    weights = np.abs(ramp(4, 3, 3, 3)).sum(axis=(1, 2, 3)).max()
    assert 0 < error.max() < weights * 0.5 / 127.5
    with_more = PixelInput("x0", "nhwc", (126.9, 127.5, 128.1), (127.5,) * 3)
    (found,) = FoldPreprocessing([with_more], HALF_STEP).run_with_report(make_model(body, shape))
    assert found.front, "0.6 of a step is more than rounding may cost"


def test_a_reader_without_weights_needs_the_convolution() -> None:
    """A logistic cannot take a mean; all readers get the convolution's result, also those that could."""

    def body(b: Builder, x: Value) -> list[Value]:
        return [b.op("logistic", [x]), conv(b, x)]

    model, found, error = folded(body, IMAGENET)
    assert found.why == "'logistic' (logistic) has no weights that could take them"
    assert kinds(model) == ["conv_2d", "logistic", "conv_2d"]
    assert error < ROUNDINGS


def test_groups_and_depthwise_cannot_swap() -> None:
    """A depthwise filter sees one color: its channels cannot be exchanged without those of its result."""
    _, found, error = folded(depthwise, CENTRED_BGR)
    assert found.front
    assert "does not add up the colors" in found.why
    assert error < ROUNDINGS


def test_an_input_that_is_returned_keeps_its_meaning() -> None:
    """An output must be what the source returns: normalized pixels, which the convolution makes."""

    def body(b: Builder, x: Value) -> list[Value]:
        return [x, conv(b, x)]

    model = make_model(body, (1, 6, 8, 3))
    (found,) = FoldPreprocessing([IMAGENET]).run_with_report(model)
    assert found.why == "the model returns its input"
    r = IMAGENET.on_device(np.full((1, 6, 8, 3), 200.0))
    np.testing.assert_allclose(run(model, [r])[0], IMAGENET.in_source(r), rtol=1e-5)


def test_joined_with_other_data_needs_the_convolution() -> None:
    """Channels beside the image have another meaning: they must not be scaled along."""

    def body(b: Builder, x: Value) -> Value:
        more = b.constant(ramp(1, 6, 8, 1))
        return conv(b, b.op("concatenation", [x, more], ConcatenationAttributes(3)))

    _, found, error = folded(body, IMAGENET)
    assert "concatenation" in found.why
    assert error < ROUNDINGS


def test_channels_first_inputs_are_followed_through_the_transpose() -> None:
    """--io-layout source: elements are counted, so the transpose in between does not matter."""
    pixels = PixelInput("x0", "nchw", IMAGENET_BGR.mean, IMAGENET_BGR.std, blue_first=True)

    def body(b: Builder, x: Value) -> Value:
        return conv(b, b.transpose(x, (0, 2, 3, 1)))

    shape = (1, 3, 6, 8)
    r = pixels.on_device(np.random.default_rng(5).integers(0, 256, shape).astype(np.float64))
    (before,) = run(make_model(body, shape), [pixels.in_source(r)])
    model = make_model(body, shape)
    (found,) = FoldPreprocessing([pixels]).run_with_report(model)
    assert found.nodes
    np.testing.assert_allclose(run(model, [r])[0], before, atol=ROUNDINGS * np.abs(before).max())

    def padded(b: Builder, x: Value) -> Value:
        return padded_conv(b, b.transpose(x, (0, 2, 3, 1)))

    (found,) = FoldPreprocessing([pixels]).run_with_report(make_model(padded, shape))
    assert (found.front, bool(found.why)) == ("", True), "no convolution reads channels first: refused"


def test_one_channel_may_be_anywhere() -> None:
    """A grey image is the same in both layouts; the convolution in front works on a reshape of it."""
    grey = PixelInput("x0", "nchw", (33.3,), (78.6,))

    def body(b: Builder, x: Value) -> Value:
        return padded_conv(b, b.reshape(x, (1, 6, 8, 1)))

    shape = (1, 1, 6, 8)
    r = grey.on_device(np.random.default_rng(5).integers(0, 256, shape).astype(np.float64))
    (before,) = run(make_model(body, shape), [grey.in_source(r)])
    model = make_model(body, shape)
    (found,) = FoldPreprocessing([grey]).run_with_report(model)
    assert found.front
    np.testing.assert_allclose(run(model, [r])[0], before, atol=ROUNDINGS * np.abs(before).max())


def test_other_inputs_stay_as_they_are() -> None:
    """Only inputs that are named change; a second run would fold twice, so a plain model is told from one."""

    def body(b: Builder, x: Value, y: Value) -> list[Value]:
        return [conv(b, x), conv(b, y)]

    model = make_model(body, (1, 6, 8, 3), (1, 6, 8, 3))
    found = FoldPreprocessing([IMAGENET]).run_with_report(model)
    assert [item.pixels.name for item in found] == ["x0"]
    y: Array = np.ones((1, 6, 8, 3), np.float32)
    before = run(make_model(body, (1, 6, 8, 3), (1, 6, 8, 3)), [y, y])[1]
    np.testing.assert_array_equal(run(model, [y, y])[1], before)
    assert not FoldPreprocessing([CENTRED]).run(make_model(conv, (1, 6, 8, 3))).modified


def test_ranges_follow_what_shares_a_scale() -> None:
    """Reshape, slice and concat keep the input's scale; the convolution's result has its own range."""
    model = make_model(focus, (1, 6, 8, 3))
    ranges = pixel_ranges(model, [CENTRED])
    assert set(ranges) == {"x0"} | {n.result.name for n in model.graph if n.kind != "conv_2d"}
    assert set(ranges.values()) == {(-127 / 128, 1.0)}
    assert pixel_ranges(model, []) == {}


def test_the_axes_of_the_emitted_input_count() -> None:
    """An NCHW source whose input is emitted NHWC: the port's permutation says where the channels are."""
    pixels = PixelInput("x0", "nchw", IMAGENET.mean, IMAGENET.std)
    model = make_model(conv, (1, 6, 8, 3))
    model.inputs = [Port("x0", (1, 3, 6, 8), model.inputs[0].dtype, (0, 2, 3, 1), "nchw")]
    x = np.random.default_rng(5).integers(0, 256, (1, 3, 6, 8)).astype(np.float64)
    r = pixels.on_device(x)
    (before,) = run(make_model(conv, (1, 6, 8, 3)), [pixels.in_source(r).transpose(0, 2, 3, 1)])
    FoldPreprocessing([pixels]).run(model)
    (after,) = run(model, [r.transpose(0, 2, 3, 1)])
    np.testing.assert_allclose(after, before, atol=ROUNDINGS * np.abs(before).max())
