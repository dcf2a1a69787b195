"""Real trained models compile right: float to rounding, no transpose, one partition; int8 integer-only."""

from __future__ import annotations

import numpy as np
import pytest

import edgec
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from tests.corpus.models import DATA, MODELS, OTHERS, RealModel, cifar, cifar_normalized

pytestmark = pytest.mark.corpus
_ALL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.file)


def compiled(model: RealModel, precision: str) -> edgec.Compiled:
    return edgec.compile(
        model.path,
        target="rpi4",
        precision=precision,
        calibration=model.samples(),
        input_shapes=model.input_shapes,
        verify_each=True,
    )


@_ALL
def test_float_equals_the_source(model: RealModel) -> None:
    """SQNR of 90 dB on every output: float32 rounding and nothing else."""
    report = compiled(model, "float32").report
    assert report.verification is not None
    for output in report.verification.outputs:
        assert output.sqnr_db >= 90, output
    assert report.passed
    assert report.transposes == 0, report.transpose_sites
    assert report.partitions is not None
    assert (report.partitions.count, report.partitions.breakers) == (1, ())


@pytest.mark.parametrize("model", OTHERS, ids=lambda model: model.file)
def test_every_other_model_equals_the_source(model: RealModel) -> None:
    """Audio, recurrent, attention and control flow too: float32 rounding and nothing else."""
    report = edgec.compile(
        model.path, input_shapes=model.input_shapes, input_values=model.input_values, verify_each=True
    ).report
    assert report.passed
    assert report.verification is not None
    assert min(output.sqnr_db for output in report.verification.outputs) >= 90


@_ALL
def test_int8_is_integer_only_on_every_kernel_set(model: RealModel) -> None:
    """No float tensor inside, and XNNPACK, builtin and reference kernels all run it."""
    from ai_edge_litert.interpreter import Interpreter

    made = compiled(model, "int8")
    details = Interpreter(model_content=made.tflite).get_tensor_details()
    assert {np.dtype(detail["dtype"]).name for detail in details} <= {"int8", "int32", "int64"}
    feeds = [np.zeros(tensor.shape, tensor.dtype) for tensor in made.report.inputs]
    for kernels in KernelSet:
        outputs = Runner(made.tflite, kernels=kernels).run(feeds)
        assert [output.shape for output in outputs] == [tensor.shape for tensor in made.report.outputs]


def top1(made: edgec.Compiled, images: Array, labels: Array) -> float:
    """Return the share of NCHW samples whose largest output is the label."""
    (tensor,) = made.report.inputs
    runner = Runner(made.tflite, threads=2)
    right = 0
    for image, label in zip(images, labels, strict=True):
        x = image[None].transpose(0, 2, 3, 1) if tensor.layout == "nhwc" else image[None]
        if tensor.scale is not None and tensor.zero_point is not None:
            x = np.clip(np.rint(x / tensor.scale) + tensor.zero_point, -128, 127)
        right += int(runner.run([x.astype(tensor.dtype)])[0].argmax() == label)
    return right / len(labels)


def by_name(file: str) -> RealModel:
    return next(model for model in MODELS if model.file == file)


def test_mnist_top1() -> None:
    """int8 within one point of float on 2000 labelled digits."""
    data = np.load(DATA / "mnist2000.npz")
    images, model = data["x"][:, None].astype(np.float32), by_name("cls_mnist_cntk")
    drop = top1(compiled(model, "float32"), images, data["y"]) - top1(
        compiled(model, "int8"), images, data["y"]
    )
    assert drop <= 0.01


def test_cifar_top1() -> None:
    """int8 within one point of float on 2000 labelled images, calibrated on the calibration file."""
    data = np.load(DATA / "cifar10_jpg_test.npz")
    images = cifar_normalized(data["x"].astype(np.float32) / 255)
    path = by_name("ic_mobilenet_cifar10_alibaba").path
    accuracies = [
        top1(
            edgec.compile(path, precision=precision, calibration={"actual_input_1": cifar(1000)}),
            images,
            data["y"],
        )
        for precision in ("float32", "int8")
    ]
    assert accuracies[0] - accuracies[1] <= 0.01
