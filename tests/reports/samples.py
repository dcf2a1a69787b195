"""Reports for the tests: a rich int8 one and a bare float32 one, with numbers that a reader can follow."""

from __future__ import annotations

import math
from dataclasses import replace

from edgec.reports.explanation import Explanation, LayerCheck, NamedCause, TensorHistogram
from edgec.reports.model import (
    Accuracy,
    Artifact,
    Breaker,
    Calibration,
    FloatOp,
    Gate,
    MeasuredRecipe,
    OutputCheck,
    Partitions,
    PrunedLayer,
    Pruning,
    Quantization,
    RepairGain,
    Report,
    ReportedDiagnostic,
    Source,
    TensorInfo,
    TensorRange,
    Tolerance,
    Tool,
    TransposeSite,
    Verification,
)

FLOAT = Report(
    tool=Tool("edgec", "0.1.0"),
    source=Source("digits.onnx", "onnx", "ab" * 32, 120_000, 17),
    artifact=Artifact("digits.generic.float32.tflite", "cd" * 32),
    target="generic",
    precision="float32",
    inputs=(TensorInfo("image", (1, 8, 8, 1), "float32", layout="nhwc"),),
    outputs=(TensorInfo("logits", (1, 10), "float32"),),
    ops={"conv_2d": 2, "fully_connected": 1},
    transposes=0,
    size_bytes=118_000,
    parameters=29_000,
    macs=640_000,
    timings={"import": 0.08, "rewrite": 0.02, "emit": 0.004, "verify": 0.31},
)


def check(name: str, sqnr_db: float, passed: bool = True) -> OutputCheck:
    return OutputCheck(name, 0.031, 0.12, sqnr_db, 0.99981, passed)


def verified(*outputs: OutputCheck) -> Verification:
    passed = all(output.passed for output in outputs)
    return Verification(Tolerance(min_sqnr_db=20.0), passed, "the calibration samples", 100, outputs)


INT8 = replace(
    FLOAT,
    artifact=Artifact("digits.rpi4.int8.tflite", "ef" * 32),
    target="rpi4",
    precision="int8",
    inputs=(TensorInfo("image", (1, 8, 8, 1), "int8", 0.00392157, -128, "nhwc"),),
    outputs=(
        TensorInfo("logits", (1, 10), "int8", 0.125, 12),
        TensorInfo("embedding", (1, 64), "int8", 0.0625, 0),
    ),
    ops={
        "conv_2d": 12,
        "depthwise_conv_2d": 9,
        "add": 4,
        "fully_connected": 1,
        "transpose": 1,
        "hard_swish": 2,
    },
    transposes=1,
    size_bytes=34_560,
    arena_bytes=45_056,
    transpose_sites=(TransposeSite("neck/Reshape_3", "the reshape needs the source's element order"),),
    partitions=Partitions(
        "XNNPACK", 3, 27, 29, (Breaker("block5/HardSwish", "hard_swish", "it has no int8 kernel"),)
    ),
    verification=verified(check("logits", 41.23), check("embedding", 36.5)),
    quantization=Quantization(
        "int8 activations (per-tensor, asymmetric), int8 weights (per-axis, symmetric)",
        Calibration("calibration_data/digits", 100, "min_max", "12" * 32),
        (
            TensorRange("image", "int8", 0.0, 1.0, 0.00392157, -128, 52.9),
            TensorRange("stem/Conv_output", "int8", -18.2, 6.4, 0.0965, 61, 38.0),
            TensorRange("block1/Add_output", "int8", -3.1, 44.0, 0.185, -111, 29.4),
            TensorRange("block5/HardSwish_output", "int8", -0.375, 5.9, 0.0246, -113, 33.1),
            TensorRange("logits", "int8", -17.5, 14.4, 0.125, 12, None),
        ),
        (FloatOp("head/Exp", "exp", "there is no int8 kernel for exp"),),
        (RepairGain("equalize", 0, 0.0), RepairGain("rounding", 11, 3.14)),
        candidates=(
            MeasuredRecipe("int8 minmax +bias", 0.0, False),
            MeasuredRecipe("int8 mse +rounding", 4.25, True),
        ),
    ),
    pruning=Pruning(
        "element",
        0.5,
        0.4987,
        (
            PrunedLayer("stem/Conv", "conv_2d", (16, 3, 3, 1), 31, 144, 31 / 144),
            PrunedLayer("head/Gemm", "fully_connected", (64, 512), 17_012, 32_768, 17_012 / 32_768),
        ),
        "int8 kernels on rpi4 do not skip zeros: the file compresses better, the latency stays.",
    ),
    gates=(Gate("max-size", 65_536, 34_560, "bytes", True), Gate("max-drop", 0.5, 0.75, "points", False)),
    timings={"import": 0.12, "rewrite": 0.05, "calibrate": 1.9, "quantize": 0.2, "emit": 0.01, "verify": 0.6},
    diagnostics=(
        ReportedDiagnostic(
            "W0301",
            "warning",
            "--calibration",
            "only 100 samples were found",
            "Ranges may be narrow.",
            "Give more.",
        ),
        ReportedDiagnostic("W0201", "note", "neck/Reshape_3", "a transpose is left", "", ""),
    ),
    command="edgec compile digits.onnx --target rpi4 --int8 --calibration calibration_data/digits",
)

LONG_NAME = "backbone/stage3/block11/expansion/pointwise/Conv2D_output_0_quantized_by_the_compiler"
EXPLAINED = replace(
    INT8,
    accuracy=Accuracy("top1", "600 labelled samples of test.npz", "points", 81.5, 82.0, 0.5),
    explanation=Explanation(
        "8 held-out samples",
        (
            LayerCheck("stem", "conv_2d", 44.0, 0.08),
            LayerCheck(LONG_NAME, "conv_2d", 21.0, 0.7),
            LayerCheck("head", "fully_connected", 33.0, 0.22),
        ),
        (NamedCause("saturation", "tensor 'stem'", "2 tensors leave it", 3.25, "widened", "Widen it."),),
        (
            TensorHistogram(LONG_NAME, "activations", -2.0, 2.0, -1.0, 1.0, (1, 9, 9, 1)),
            TensorHistogram("w", "weights", -1.0, 1.0, -1.0, 1.0, (2, 5, 5, 2)),
        ),
    ),
)
EXACT = replace(FLOAT, verification=verified(check("logits", math.inf)))

# What a hostile model may call its tensors: markup of every medium, terminal and right-to-left escapes.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b\\|c`d`",
    "in|out|`x",
    "folder\\",
    "[link](javascript:alert(1)) **bold** # x",
    "{{ 7*7 }}{% raw %}",
    "]]><!-- & &amp; -->",
    "[red]rich[/red]",
    "line\nbreak\x1b[2J\u202egnp.exe\ufffe\ud800",
    "-->http://evil.example www.evil.example",
    "1. item",
    " padded ",
    "`",
)
