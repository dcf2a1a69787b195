"""An audit finds what is planted in the data, by name, and finds nothing in good data."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgec.calibrate.audit import Audit, audit
from edgec.calibrate.audit_console import print_audit
from edgec.calibrate.preprocess import Preprocess
from edgec.calibrate.samples import Array, InputSpec
from edgec.calibrate.specs import specs_of
from edgec.calibrate.verdict import Grade
from edgec.diagnostics import CompileError
from edgec.ir import DType, Graph, Model, Port, TensorType
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes

SIDE = 16
SPEC = InputSpec("image", (1, SIDE, SIDE, 3), np.dtype(np.float32), "nhwc")


def scenes(count: int, seed: int = 0) -> Array:
    """Return random images in 0..1, all different: blocks of 2x2 pixels."""
    blocks = np.random.default_rng(seed).uniform(0, 1, (count, 8, 8, 3))
    return blocks.repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)


def small_model(scale: float = 1.0) -> Model:
    """Return conv → relu for inputs in 0..1; its weights and bias are of the usual size over `scale`."""
    random = np.random.default_rng(1)
    graph = Graph()
    x = graph.add_input("image", TensorType(SPEC.shape))
    build = Builder(graph)
    weights = build.constant(random.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32) / np.float32(scale))
    bias = build.constant(random.normal(0, 0.5, 8).astype(np.float32))
    y = build.op("conv_2d", [x, weights, bias], Conv2DAttributes(), name="stem")
    graph.set_outputs([build.op("relu", [y], name="out")])
    output = graph.outputs[0]
    return Model(graph, [Port("image", SPEC.shape, DType.FLOAT32)], [Port("out", output.shape, output.dtype)])


def texts(found: Audit) -> str:
    return "\n".join(f"{reason.grade} {reason.what} {reason.advice}" for reason in found.verdict.reasons)


def test_good_data_has_no_reasons() -> None:
    """120 different scenes that suit the model: good, and nothing to do."""
    found = audit(scenes(120), [SPEC], model=small_model())
    assert found.verdict.grade is Grade.GOOD, texts(found)
    assert found.verdict.reasons == found.equal == found.similar == found.constant == found.outliers == ()
    assert found.stability.tensors == 3 and found.stability.median < 0.1


def test_values_per_channel_are_those_of_the_data() -> None:
    """Computed by NumPy over all samples at once."""
    data = scenes(20) * np.array([1, 2, 3], np.float32) - np.array([0, 1, 0], np.float32)
    (item,) = audit(data, [SPEC]).inputs
    assert (item.name, item.shape, item.dtype) == ("image", SPEC.shape, "float32")
    for index, channel in enumerate(item.channels):
        values = data[..., index].astype(np.float64)
        expected = values.min(), values.max(), values.mean(), values.std()
        assert (channel.low, channel.high, channel.mean, channel.std) == pytest.approx(expected, rel=1e-6)
    assert (item.low, item.high) == (data.min(), data.max())


def test_equal_similar_and_constant_samples_are_named() -> None:
    """Row 5 repeats row 2, row 7 is row 3 slightly brighter with a little noise, row 9 is black."""
    data = scenes(20)
    data[5] = data[2]
    noise = np.random.default_rng(3).normal(0, 0.002, data[3].shape)
    data[7] = data[3] * 1.05 + noise
    data[9] = 0
    found = audit({"image": data}, [SPEC])
    where = "arrays in memory row"
    assert found.equal == ((f"{where} 2", f"{where} 5"),)
    assert found.similar == ((f"{where} 3", f"{where} 7"),)
    assert found.constant == (f"{where} 9",)
    assert "1 sample repeats others: arrays in memory row 2 = arrays in memory row 5" in texts(found)


def test_figures_on_a_plain_ground_are_not_called_alike() -> None:
    """Small bars in different places on black, as digits are: most of such an image says nothing."""
    data = np.zeros((20, SIDE, SIDE, 3), np.float32)
    for index in range(20):
        data[index, index % 8 + 2 : index % 8 + 6, 6 + index // 8 : 8 + index // 8] = 1
    assert audit(data, [SPEC]).similar == ()


def test_an_outlier_is_named_with_the_ranges_it_stretches(tmp_path: Path) -> None:
    """One file is ten times as bright: input, convolution and relu all get their range from it."""
    data = scenes(100)
    data[42] *= 10
    path = tmp_path / "data.npy"
    np.save(path, data)
    found = audit(path, [SPEC], model=small_model())
    assert [row.sample for row in found.outliers] == [f"{path} row 42"]
    (row,) = found.outliers
    assert row.tensors == 3 and row.shrink > 0.7
    assert f"'{path} row 42' alone stretches the range of" in texts(found)


def test_outliers_of_images_are_named_by_file(tmp_path: Path) -> None:
    """As the user knows them; without a model the input alone tells."""
    images = pytest.importorskip("PIL.Image")
    for index, scene in enumerate(scenes(30)):
        images.fromarray((scene * 90 + 10).astype(np.uint8)).save(tmp_path / f"{index:02}.png")
    images.fromarray((scenes(1, 9)[0] * 250).astype(np.uint8)).save(tmp_path / "flash.png")
    found = audit(tmp_path, specs_of(tmp_path))
    assert [row.sample for row in found.outliers] == ["flash.png"]
    assert found.count == 31 and found.inputs[0].dtype == "uint8"


def test_halves_that_differ_are_unsteady() -> None:
    """Even samples reach 1, odd ones 0.2: the common range is five times what one half knows."""
    data = scenes(100)
    data[1::2] *= 0.2
    found = audit(data, [SPEC], model=small_model())
    assert found.stability.worst > 0.5
    assert found.verdict.grade is Grade.POOR
    assert "the two halves of the samples disagree about ranges by" in texts(found)


@pytest.mark.parametrize(("count", "grade"), [(4, Grade.POOR), (50, Grade.USABLE), (100, Grade.GOOD)])
def test_few_samples_are_said_to_be_few(count: int, grade: Grade) -> None:
    assert audit(scenes(count), [SPEC]).verdict.grade is grade


def test_an_outlier_does_not_make_the_others_look_empty() -> None:
    """One sample 500 times as strong is an outlier; the other 29 still show what they showed."""
    found = audit(np.concatenate([scenes(29), 500 * scenes(1, seed=1)]), [SPEC])
    assert found.constant == ()
    assert "row 29" in found.outliers[0].sample


def test_repeated_samples_do_not_count() -> None:
    """100 rows, 10 different ones."""
    found = audit(np.tile(scenes(10), (10, 1, 1, 1)), [SPEC])
    assert found.verdict.grade is Grade.POOR
    assert "10 distinct samples are few" in texts(found)


def test_pixels_of_0_to_255_for_a_model_of_0_to_1_are_suspected() -> None:
    """And the reverse; each is told what to do. Data that suits is not suspected."""
    pixels = scenes(100) * 255
    found = audit(pixels, [SPEC], model=small_model())
    assert found.verdict.grade is Grade.USABLE  # a suspicion, not a proof
    assert "look too large for the model: the first layer 'stem' answers with" in texts(found)
    assert "divide by 255" in texts(found)
    assert audit(pixels, [SPEC], model=small_model(255)).verdict.grade is Grade.GOOD
    small = texts(audit(scenes(100), [SPEC], model=small_model(255)))
    assert "look too small for the model" in small and "pixels in 0..255" in small


def test_a_model_that_scales_pixels_itself_is_understood() -> None:
    """x / 127.5 - 1 in the graph: data in 0..1 comes out as all but constant -1."""
    inner = small_model()
    graph = Graph()
    x = graph.add_input("image", TensorType(SPEC.shape))
    build = Builder(graph)
    scaled = build.op("mul", [x, build.constant(1 / 127.5)])
    x = build.op("sub", [scaled, build.constant(1.0)], name="scaled")
    stem = next(iter(inner.graph))
    y = build.op("conv_2d", [x, stem.operand(1), stem.operand(2)], stem.attributes, name="stem")
    graph.set_outputs([y])
    model = Model(graph, inner.inputs, [Port("stem", y.shape, y.dtype)])
    assert audit(scenes(100) * 255, [SPEC], model=model).verdict.grade is Grade.GOOD
    assert "is all but constant (-0.996)" in texts(audit(scenes(100), [SPEC], model=model))


def test_a_guess_about_preprocessing_is_a_reason(tmp_path: Path) -> None:
    """What nobody stated is part of the verdict, and stating it removes it."""
    images = pytest.importorskip("PIL.Image")
    for index, scene in enumerate(scenes(3)):
        images.fromarray((scene * 255).astype(np.uint8)).save(tmp_path / f"{index}.png")
    assert "nothing states how pixels become inputs" in texts(audit(tmp_path, [SPEC]))
    stated = audit(tmp_path, [SPEC], preprocess=Preprocess(mean=(0.0,), std=(255.0,)))
    assert "nothing states" not in texts(stated)


def test_inputs_are_found_from_data_alone(tmp_path: Path) -> None:
    """Without a model: arrays by name without labels, functions and lists by their first sample."""
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((5, 4), np.float32), y=np.zeros(5, np.int64), names=np.array(["a"]))
    assert [(s.name, s.shape) for s in specs_of(path)] == [("x", (1, 4))]
    assert specs_of(np.zeros((3, 2, 2), np.int8))[0].shape == (1, 2, 2)
    assert specs_of(lambda: iter([{"a": np.zeros((1, 3))}]))[0].shape == (1, 3)
    assert specs_of([np.zeros((1, 3))])[0].name == "in0"
    with pytest.raises(CompileError, match="E0301 generator: can be read only once"):
        specs_of(item for item in [1])
    with pytest.raises(CompileError, match=r"E0301 .*nowhere: there is no such file or folder"):
        specs_of(tmp_path / "nowhere")


def test_an_audit_prints_on_one_screen_and_survives_json() -> None:
    """All that matters is there; names cannot act on the terminal."""
    data = scenes(20)
    data[5] = data[2]
    spec = InputSpec("im\x1bage", SPEC.shape, SPEC.dtype, "nhwc")
    found = audit({"im\x1bage": data}, [spec])
    console = Console(width=100, record=True, file=io.StringIO())
    print_audit(console, found)
    shown = console.export_text()
    assert shown.startswith("USABLE 20 samples from arrays in memory")
    for text in (
        "equal",
        "arrays in memory row 2, arrays in memory row 5",
        "im\\x1bage 2",
        "distinct samples",
    ):
        assert text in shown
    assert "\x1b[" not in shown and len(shown.splitlines()) < 30
    assert json.loads(json.dumps(found.to_dict()))["count"] == 20
