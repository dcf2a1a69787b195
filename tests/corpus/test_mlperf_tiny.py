"""MLPerf Tiny networks in int8 are at least as right as the reference int8 files beside them.

The sources are the benchmark's float files. Where the corpus has labelled data, right answers are counted on
samples that nobody calibrated on. For visual wake words and anomaly detection it has none:
there the outputs are compared with the float network's on photos and recordings.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import edgec

TOOLS = str(Path(__file__).resolve().parents[2] / "tools")
if TOOLS not in sys.path:
    sys.path.append(TOOLS)

from corpus_data import DEFAULT_CORPUS, MODELS, Split  # noqa: E402
from scoring import Axes, Outputs, RealModel, Score, samples_of, score  # noqa: E402

pytestmark = pytest.mark.corpus


def compiled(net: str, split: Split) -> bytes:
    """Compile the float file with default options; every operator inside is integer."""
    (samples,) = split.calibration
    source = MODELS[f"{net}_fp32"].file(DEFAULT_CORPUS)
    made = edgec.compile(source, precision="int8", calibration={"in0": samples[:, None]}, verify=False)
    assert made.report.quantization is not None and not made.report.quantization.float_ops
    return made.tflite


def outputs(content: bytes, split: Split) -> list[Outputs]:
    model = RealModel(content, Axes())
    return [model.run(sample) for sample in samples_of(split.evaluation)]


def ours_and_reference(net: str) -> tuple[Score, Score, Score]:
    """Return the scores of our int8 file, of the reference's and of the float file, all against the last."""
    entry = MODELS[f"{net}_fp32"]
    split = entry.split(DEFAULT_CORPUS)
    expected = outputs(entry.file(DEFAULT_CORPUS).read_bytes(), split)
    reference = (DEFAULT_CORPUS / "refs" / f"{net}_int8.tflite").read_bytes()
    ours, theirs = (outputs(content, split) for content in (compiled(net, split), reference))
    return tuple(score(expected, found, entry.classes, split.labels) for found in (ours, theirs, expected))


@pytest.mark.parametrize("net", ["mlperf_resnet8", "mlperf_resnet_large", "mlperf_kws"])
def test_answers_are_floats_more_often_than_the_references(net: str) -> None:
    """Image classification on 2000 CIFAR-10 test images, keyword spotting on 398 recordings.

    Which of the answers that differ from float's are right is chance, as the images are those that float is
    in doubt about; how many differ is not. So these may not be more than the reference has, and the right
    answers among n that differ not fewer than float's by more than two standard errors, 2 sqrt(n).
    """
    ours, reference, floats = ours_and_reference(net)
    assert ours.agreement is not None and reference.agreement is not None
    assert ours.agreement >= reference.agreement
    assert ours.top1 is not None and floats.top1 is not None
    count = len(MODELS[f"{net}_fp32"].split(DEFAULT_CORPUS).evaluation[0])
    differing = round((1 - ours.agreement) * count)
    assert (floats.top1 - ours.top1) * count <= 2 * differing**0.5


@pytest.mark.parametrize("net", ["mlperf_vww96", "mlperf_ad01"])
def test_outputs_are_not_further_from_float_than_the_references(net: str) -> None:
    """No labels here. The reference was calibrated on other data, so half a decibel either way is no news."""
    ours, reference, _ = ours_and_reference(net)
    assert ours.median_db >= reference.median_db - 0.5


def test_anomaly_scores_rank_recordings_as_float_does() -> None:
    """The detector's answer is the reconstruction error: it has to rise and fall with float's."""
    entry = MODELS["mlperf_ad01_fp32"]
    split = entry.split(DEFAULT_CORPUS)
    errors = [
        [
            float(np.square(found[0] - sample[0]).mean())
            for found, sample in zip(run, samples_of(split.evaluation), strict=True)
        ]
        for run in (
            outputs(entry.file(DEFAULT_CORPUS).read_bytes(), split),
            outputs(compiled("mlperf_ad01", split), split),
        )
    ]
    assert np.corrcoef(errors)[0, 1] > 0.99
