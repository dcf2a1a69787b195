"""Real models that take raw pixels answer at least as well as those that take normalized ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.calibrate.pixels import pixel_inputs
from edgec.calibrate.preprocess import Preprocess
from edgec.calibrate.samples import InputSpec
from edgec.compile import Compiled
from edgec.kernels import Runner
from edgec.verify.source import OnnxRuntimeSource

TOOLS = str(Path(__file__).resolve().parents[2] / "tools")
if TOOLS not in sys.path:
    sys.path.append(TOOLS)

from corpus_data import DEFAULT_CORPUS, MODELS  # noqa: E402

pytestmark = pytest.mark.corpus

CENTRED = Preprocess(mean=(127.0,), std=(128.0,))
HALVED_BGR = Preprocess(mean=(127.5,), std=(127.5,), color="bgr")
IMAGENET = Preprocess(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
CASES = {
    "cls_efficientnet_lite0": CENTRED,
    "face_ultraface_rfb320": CENTRED,
    "face_yunet_2026may": Preprocess(mean=(0.0,), std=(1.0,), color="bgr"),
    "ocr_textline_cls": HALVED_BGR,
    "ic_mobilenet_cifar10_alibaba": IMAGENET,
}
ALLOWED_DB = 0.5
"""Another rounding of the same model moves its SQNR on a few samples by this much in either direction."""


def sqnr_db(made: Compiled, expected: list[list[np.ndarray]], fed: list[np.ndarray]) -> float:
    """Return the median output's SQNR over all samples."""
    runner, found = Runner(made.tflite), list[float]()
    results = [[np.array(array) for array in runner.run([array])] for array in fed]
    for index, info in enumerate(made.report.outputs):
        real = np.stack([sample[index] for sample in results]).astype(np.float64)
        if info.scale is not None:
            real = (real - info.zero_point) * info.scale
        wanted = np.stack([sample[index] for sample in expected]).astype(np.float64)
        if wanted.ndim == 5 and info.layout == "nhwc":
            wanted = wanted.transpose(0, 1, 3, 4, 2)
        found.append(10 * np.log10((wanted**2).sum() / max(((wanted - real) ** 2).sum(), 1e-30)))
    return float(np.median(found))


@pytest.mark.parametrize("name", CASES)
def test_raw_pixels_lose_nothing(name: str) -> None:
    """int8 calibrated on the same samples; one is fed normalized values, the other their pixels."""
    entry, how = MODELS[name], CASES[name]
    split = entry.split(DEFAULT_CORPUS).limited(40, 24)
    (calibration,), (evaluation,) = split.calibration, split.evaluation
    chosen = {"precision": "int8", "calibration": {"in0": calibration}, "preprocess": how, "repairs": ()}
    chosen |= {"observer": "minmax", "output_type": "int8", "verify": False, "use_cache": False}
    chosen |= {"input_shapes": entry.input_shapes}
    source = entry.file(DEFAULT_CORPUS)
    plain = edgec.compile(source, **chosen)
    raw = edgec.compile(source, raw_pixels=True, **chosen)
    (info,) = plain.report.inputs
    shape = (1, 3, info.shape[1], info.shape[2])
    (pixels,) = pixel_inputs([InputSpec(info.name, shape, np.dtype(np.float32), "nchw")], how)
    samples = [row.reshape(shape) for row in evaluation]
    bytes_in = [pixels.pixels(x).round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1) for x in samples]
    grid = [np.rint(x.transpose(0, 2, 3, 1) / np.float32(info.scale)) + info.zero_point for x in samples]
    expected = [OnnxRuntimeSource(source).run({info.name: x}) for x in samples]
    theirs = sqnr_db(plain, expected, [array.clip(-128, 127).astype(np.int8) for array in grid])
    ours = sqnr_db(raw, expected, bytes_in)
    assert ours >= theirs - ALLOWED_DB
    assert raw.report.inputs[0].dtype == "uint8"
