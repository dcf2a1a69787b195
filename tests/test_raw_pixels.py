"""--raw-pixels from end to end: the compiled model takes uint8 pixels and answers as the source does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from PIL import Image

import edgec
from edgec.calibrate.preprocess import Preprocess
from edgec.cli import main
from edgec.compile import Compiled
from edgec.diagnostics import CompileError
from edgec.ir import Array
from edgec.kernels import Runner
from edgec.options import CompileOptions
from edgec.reports.console import summary
from edgec.reports.markdown import render_markdown
from edgec.reports.model import PixelFeed
from tests.support.onnx_models import graph_model, run_onnxruntime

SIZE = 16
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w0": RNG.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32),
    "b0": RNG.normal(0, 0.1, 8).astype(np.float32),
    "w1": RNG.normal(0, 0.2, (4, 8, 3, 3)).astype(np.float32),
    "b1": RNG.normal(0, 0.1, 4).astype(np.float32),
}
CASES = {
    "centred": Preprocess(mean=(127.0,), std=(128.0,), color="rgb"),
    "halved": Preprocess(mean=(127.5,), std=(127.5,), color="rgb"),
    "bgr": Preprocess(mean=(0.0,), std=(1.0,), color="bgr"),
    "imagenet": Preprocess(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), color="rgb"),
    "imagenet bgr": Preprocess(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395), color="bgr"),
}


def network(padded: bool, divisor: float = 1.0) -> onnx.ModelProto:
    """Two convolutions over a 3-channel image; the first pads by one where `padded`."""
    pads = [1, 1, 1, 1] if padded else [0, 0, 0, 0]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c"], name="first", pads=pads),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w1", "b1"], ["y"], name="second"),
    ]
    constants = {**WEIGHTS, "w0": WEIGHTS["w0"] / np.float32(divisor)}
    return graph_model(nodes, {"x": np.zeros((1, 3, SIZE, SIZE), np.float32)}, ["y"], constants=constants)


def photos(count: int, seed: int) -> Array:
    """Smooth RGB pictures [n, H, W, 3] that reach 0 and 255."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(-40, 295, (count, 5, 5, 3))
    fine = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)[:, :SIZE, :SIZE]
    return np.clip(fine + random.normal(0, 10, fine.shape), 0, 255).astype(np.uint8)


def as_source(rgb: Array, how: Preprocess) -> Array:
    """Return RGB pixels as the source model takes them: NCHW, normalized, in its order of colors."""
    ordered = rgb[..., ::-1] if how.color == "bgr" else rgb
    return np.ascontiguousarray(how.normalize(ordered, 3).transpose(0, 3, 1, 2))


def answers(made: Compiled, images: Array, how: Preprocess, *, raw: bool) -> Array:
    """Return a model's integers for images: fed raw, or normalized and quantized as its input says."""
    (info,), runner = made.report.inputs, Runner(made.tflite)
    fed = images
    if not raw:
        x = as_source(images, how).transpose(0, 2, 3, 1)
        fed = np.clip(np.rint(x / np.float32(info.scale)) + info.zero_point, -128, 127).astype(np.int8)
    return np.concatenate([runner.run([image[None]])[0].astype(int) for image in fed])


def sqnr_db(reference: Array, found: Array) -> float:
    return float(10 * np.log10((reference**2).sum() / ((reference - found) ** 2).sum()))


@pytest.mark.parametrize("padded", [False, True], ids=["valid", "same"])
@pytest.mark.parametrize("case", CASES)
def test_int8_from_raw_pixels_is_as_good(case: str, padded: bool) -> None:
    """Against the source on preprocessed pixels, raw pixels lose nothing: neither on the whole nor anywhere.

    Where int8 without folding has the same steps in its input (a whole mean, samples from 0 to 255), both
    give the same integers but for one step; elsewhere it rounds every normalized pixel, pixels need not.
    """
    how = CASES[case]
    model = network(padded, 100.0 if how.std == (1.0,) else 1.0)
    calibration, fresh = as_source(photos(32, 1), how), photos(16, 2)
    chosen = {"precision": "int8", "calibration": calibration, "preprocess": how, "observer": "minmax"}
    chosen |= {"output_type": "int8", "repairs": (), "use_cache": False}
    plain = edgec.compile(model, **chosen)
    raw = edgec.compile(model, raw_pixels=True, **chosen)
    reference = np.concatenate(
        [run_onnxruntime(model, {"x": as_source(fresh[i : i + 1], how)})[0] for i in range(len(fresh))]
    ).transpose(0, 2, 3, 1)
    folded, normalized = answers(raw, fresh, how, raw=True), answers(plain, fresh, how, raw=False)
    (ours,), (theirs,) = raw.report.outputs, plain.report.outputs
    assert ours.scale == pytest.approx(theirs.scale, rel=0.02)
    real = [(q - info.zero_point) * info.scale for q, info in ((folded, ours), (normalized, theirs))]
    errors = [float(np.abs(each - reference).max()) for each in real]
    assert errors[0] <= errors[1] + ours.scale
    if case in ("centred", "bgr"):
        assert np.abs(folded - normalized).max() <= (0 if case == "centred" else 1)
    assert sqnr_db(reference, real[0]) >= sqnr_db(reference, real[1]) - 0.2
    assert raw.report.verification is not None
    assert raw.report.verification.outputs[0].sqnr_db > 30


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_float_models_take_pixels_exactly(case: str, precision: str) -> None:
    """In float every fold is exact, half steps included: verification against the source holds."""
    how = CASES[case]
    made = edgec.compile(network(True), precision=precision, preprocess=how, raw_pixels=True)
    assert made.report.passed
    (info,) = made.report.inputs
    assert info.dtype == "uint8"
    fresh = photos(1, 3)
    (reference,) = run_onnxruntime(network(True), {"x": as_source(fresh, how)})
    (ours,) = Runner(made.tflite).run([fresh])
    assert sqnr_db(reference.transpose(0, 2, 3, 1), ours) > (90 if precision == "float32" else 50)


def test_verification_would_notice_a_wrong_fold() -> None:
    """The oracle has its own preprocessing: with channels in the other order the answers are far apart."""
    how = CASES["imagenet bgr"]
    made = edgec.compile(network(False), preprocess=how, raw_pixels=True)
    fresh = photos(1, 3)
    (reference,) = run_onnxruntime(network(False), {"x": as_source(fresh, how)})
    (wrong,) = Runner(made.tflite).run([np.ascontiguousarray(fresh[..., ::-1])])
    assert sqnr_db(reference.transpose(0, 2, 3, 1), wrong) < 20


def test_reports_and_manifest_say_what_to_feed(tmp_path: Path) -> None:
    """The manifest has the facts, the pages the sentence, the options what makes the file again."""
    how = Preprocess(mean=(0.0,), std=(1.0,), color="bgr", resize="crop", crop_fraction=0.875)
    made = edgec.compile(network(False), preprocess=how, raw_pixels=True)
    path = made.save(tmp_path / "m.tflite")
    manifest = json.loads(path.with_name("m.manifest.json").read_text())
    feed = {"color": "rgb", "width": SIZE, "height": SIZE, "resize": "crop 0.875, bilinear", "subtract": 0}
    assert manifest["inputs"][0]["pixels"] == feed
    assert manifest["outputs"][0]["pixels"] is None
    assert manifest["options"]["raw_pixels"] is True
    assert manifest["options"]["preprocess"].splitlines() == [
        "mean = [0.0]",
        "std = [1.0]",
        'color = "bgr"',
        'resize = "crop"',
        "crop_fraction = 0.875",
    ]
    sentence = "uint8 pixels 0..255, RGB, 16 x 16, resize crop 0.875, bilinear; nothing to subtract"
    assert sentence in render_markdown(made.report)
    assert made.report.inputs[0].pixels == PixelFeed(**feed)
    assert summary(made.report, {})


def test_int8_pixels_are_128_less() -> None:
    """For buffers that are int8 anyway: pixel - 128, without the conversion in the model."""
    how, fresh = CASES["centred"], photos(4, 3)
    chosen = {"precision": "int8", "calibration": as_source(photos(16, 1), how), "preprocess": how}
    chosen |= {"raw_pixels": True, "observer": "minmax", "repairs": (), "output_type": "int8"}
    unsigned = edgec.compile(network(True), **chosen)
    signed = edgec.compile(network(True), input_type="int8", **chosen)
    assert "QUANTIZE" in unsigned.report.ops
    assert "QUANTIZE" not in signed.report.ops
    (info,) = signed.report.inputs
    assert (info.dtype, info.zero_point, info.scale) == ("int8", 127 - 128, 1 / 128)
    assert info.pixels is not None
    assert info.pixels.subtract == 128
    moved = (fresh.astype(int) - 128).astype(np.int8)
    np.testing.assert_array_equal(
        answers(signed, moved, how, raw=True), answers(unsigned, fresh, how, raw=True)
    )


def test_labelled_data_is_fed_as_pixels_too() -> None:
    """--eval judges the model that will be used: its samples become pixels, their labels stay."""
    how = CASES["imagenet"]
    images = photos(24, 1)
    flat = graph_model(
        [
            helper.make_node("Conv", ["x", "w0", "b0"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["y"]),
        ],
        {"x": np.zeros((1, 3, SIZE, SIZE), np.float32)},
        ["y"],
        constants={name: WEIGHTS[name] for name in ("w0", "b0")},
    )
    labels = [
        int(run_onnxruntime(flat, {"x": as_source(images[i : i + 1], how)})[0].argmax()) for i in range(24)
    ]
    made = edgec.compile(
        flat,
        precision="int8",
        calibration=as_source(images, how),
        preprocess=how,
        raw_pixels=True,
        max_drop=5.0,
        evaluation={"x": images, "labels": np.asarray(labels)},
        use_cache=False,
    )
    (gate,) = made.report.gates
    assert gate.passed, "the float model is right on all of them by construction"


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"precision": "int16x8"}, "int16x8 models cannot take pixels"),
        ({"precision": "int8", "input_type": "float32"}, "pixels are no float32 inputs"),
        ({"precision": "float32", "input_type": "float32"}, "pixels are no float32 inputs"),
    ],
)
def test_other_element_types_are_refused(choices: dict[str, str], words: str) -> None:
    with pytest.raises(CompileError) as caught:
        CompileOptions(raw_pixels=True, **choices)  # pyright: ignore[reportArgumentType]
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.what[: len(words)]) == ("E0617", words)
    assert problem.next_step


def test_channels_first_inputs_that_need_a_convolution_are_refused() -> None:
    """--io-layout source keeps NCHW, and padding sees the means: the message names the way out."""
    choices = {"preprocess": CASES["imagenet"], "raw_pixels": True, "io_layout": "source"}
    with pytest.raises(CompileError) as caught:
        edgec.compile(network(True), **choices)
    (problem,) = caught.value.diagnostics
    assert problem.code == "E0617"
    assert problem.next_step == "Leave --io-layout out."
    assert edgec.compile(network(False), **choices).report.passed, "without padding there is no need"


def test_microcontrollers_take_pixels_less_128() -> None:
    """TFLM reads no uint8: the message names the form it reads, which then compiles."""
    how = CASES["centred"]
    chosen = {"calibration": as_source(photos(8, 1), how), "preprocess": how, "raw_pixels": True}
    chosen |= {"precision": "int8", "target": "cortex-m7"}
    with pytest.raises(CompileError) as caught:
        edgec.compile(network(True), **chosen)
    (problem,) = caught.value.diagnostics
    assert problem.code == "E0617"
    assert "--input-type int8" in problem.next_step
    made = edgec.compile(network(True), input_type="int8", **chosen)
    assert made.report.inputs[0].zero_point == 127 - 128


def test_a_quantized_source_is_refused() -> None:
    """Its weights are integers for its own input scale."""
    how = CASES["centred"]
    first = edgec.compile(network(True), precision="int8", calibration=as_source(photos(8, 1), how))
    with pytest.raises(CompileError) as caught:
        edgec.compile(first.tflite, precision="int8", preprocess=how, raw_pixels=True)
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.what) == ("E0617", "the source model is quantized already")


def test_command_line(tmp_path: Path) -> None:
    """The flags of the help text: a folder of photos, BGR, resized, compiled for raw pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, image in enumerate(photos(4, 1)):
        Image.fromarray(np.repeat(image, 2, axis=1)).save(folder / f"{index}.png")
    onnx.save(network(True, 100.0), tmp_path / "m.onnx")
    flags = ["--int8", "--calibration", str(folder), "--mean", "0", "--std", "1", "--color", "bgr"]
    flags += ["--resize", "crop", "--raw-pixels", "--no-cache", "-o", str(tmp_path / "m.tflite")]
    done = CliRunner().invoke(main, ["compile", str(tmp_path / "m.onnx"), *flags])
    assert done.exit_code == 0, done.output
    assert "uint8 pixels 0..255, RGB, 16 x 16, resize crop" in " ".join(done.output.split())
    manifest = json.loads((tmp_path / "m.manifest.json").read_text())
    assert (manifest["inputs"][0]["dtype"], manifest["inputs"][0]["scale"]) == ("uint8", 1.0)


def test_command_line_without_mean_stops(tmp_path: Path) -> None:
    """Pixels / 255 is guessed for calibration, with a warning; it is not built into a model."""
    onnx.save(network(True), tmp_path / "m.onnx")
    done = CliRunner().invoke(main, ["compile", str(tmp_path / "m.onnx"), "--raw-pixels"])
    assert done.exit_code == 1
    assert "E0617" in done.output
    assert not (tmp_path / "m.generic.float32.tflite").exists()
