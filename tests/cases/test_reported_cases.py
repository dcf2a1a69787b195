"""Bugs that people reported against model converters do not happen here.

`pytest tests/cases -k "float-"` runs one mode. Cases whose feature comes with a later issue are in `LATER`:
they have to fail, so the table cannot go stale.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgec
from edgec.diagnostics import CompileError
from edgec.kernels import KernelSet, Runner
from tests.cases.file_checks import TfliteFile, check_file
from tests.cases.reported import CASES, ReportedCase, all_cases, assert_close, case, output_sqnr, run, sqnr_db

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CASES.is_dir(), reason="the reported cases are not beside this checkout"),
]

LATER = {
    "edgetpu-partial-map": "there is no edgetpu target yet",
}
"""Cases that do not hold yet, and why."""


def of_mode(*modes: str) -> pytest.MarkDecorator:
    """Parametrize over the cases of these modes; those in LATER must fail (reports in tests of their own)."""
    found = [item for item in all_cases() if item.mode in modes]
    return pytest.mark.parametrize(
        "reported", [pytest.param(item, id=f"{item.mode}-{item.id}", marks=later(item)) for item in found]
    )


def later(reported: ReportedCase) -> list[pytest.MarkDecorator]:
    if reported.id not in LATER or reported.mode == "report":
        return []
    return [pytest.mark.xfail(strict=True, reason=LATER[reported.id])]


def compile_int8(reported: ReportedCase, **choices: object) -> edgec.Compiled:
    choices = {"calibration": reported.calibration, "verify": False} | choices
    return edgec.compile(reported.model, precision="int8", **choices)


@of_mode("float", "float-or-refuse", "report", "size")
@pytest.mark.parametrize("io_layout", ["source", "channels-last"])
def test_float_values(reported: ReportedCase, io_layout: str) -> None:
    """Every sample within the case's tolerance with XNNPACK and without, in either I/O layout."""
    made = edgec.compile(reported.model, io_layout=io_layout, verify=False, verify_each=True)
    assert [info.name for info in made.report.inputs] == [tensor.name for tensor in reported.inputs]
    assert [info.name for info in made.report.outputs] == [tensor.name for tensor in reported.outputs]
    if io_layout == "source":
        ports = zip(
            [*made.report.inputs, *made.report.outputs], [*reported.inputs, *reported.outputs], strict=True
        )
        for info, tensor in ports:
            assert len(info.shape) == len(tensor.shape)
            assert all(dim in (-1, size) for dim, size in zip(info.shape, tensor.shape, strict=True))
    compared = reported.checks.get("compare_outputs", [tensor.name for tensor in reported.outputs])
    expected = [{name: sample[name] for name in compared} for sample in reported.samples("expected.npz")]
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        assert_close(reported, run(made, reported, reported.samples(), kernels), expected)
    if io_layout == "channels-last" and reported.mode.startswith("float"):
        check_file(made, reported)


@of_mode("int8")
def test_int8_accuracy(reported: ReportedCase) -> None:
    """Every output reaches the case's SQNR on all kernel sets, and the file's structure is as demanded."""
    made = compile_int8(reported)
    check_file(made, reported)
    if reported.id == "int8-head-shared-scale":
        assert_rows_survive(made, reported)
        return
    for kernels in KernelSet:
        for got, limit in zip(output_sqnr(made, reported, kernels), reported.min_sqnr_db, strict=True):
            assert got >= limit, f"{kernels}: {got:.1f} dB, {limit} wanted"


def assert_rows_survive(made: edgec.Compiled, reported: ReportedCase) -> None:
    """Boxes (0..640) and scores (0..1) share an output: each keeps its own SQNR."""
    got, expected = run(made, reported, reported.samples()), reported.samples("expected.npz")
    for part, (first, last) in reported.checks["rows"].items():  # type: ignore[attr-defined]
        rows = [[sample["head"][:, first:last] for sample in samples] for samples in (got, expected)]
        assert sqnr_db(*rows) >= reported.checks[f"min_sqnr_db_{part}"]  # type: ignore[operator]


@of_mode("int8-given", "int8-given-or-refuse")
def test_given_quantization_is_kept(reported: ReportedCase) -> None:
    made = edgec.compile(reported.model, verify=False)
    check_file(made, reported)
    assert_close(reported, run(made, reported, reported.samples()), reported.samples("expected.npz"))


def test_softmax_rows_sum_to_one() -> None:
    reported = case("int8-fixed-scales")
    target, slack = reported.checks["softmax_sum"]  # type: ignore[misc]
    for sample in run(compile_int8(reported), reported, reported.samples()):
        assert abs(sample["soft"].sum() - target) <= slack


@pytest.mark.parametrize("batch", [1, 4])
def test_dynamic_batch_takes_the_size_it_is_given(batch: int) -> None:
    """Batch 1 is the default; --input-shape gives another, and no shape arithmetic is left."""
    reported = case("dynamic-batch")
    label = "" if batch == 1 else f"_batch{batch}"
    made = edgec.compile(reported.model, input_shapes={"x": (batch, 3, 8, 8)}, verify=False)
    got = run(made, reported, reported.samples(f"inputs{label}.npz"))
    assert_close(reported, got, reported.samples(f"expected{label}.npz"))
    check_file(made, reported)


def test_duplicate_node_names_lose_no_node() -> None:
    reported = case("names-duplicate-empty")
    made = edgec.compile(reported.folder / "model_dup.onnx", verify=False)
    assert_close(reported, run(made, reported, reported.samples()), reported.samples("expected.npz"))


def save_with_weights_beside(folder: Path, location: str = "weights/net.bin") -> Path:
    """Save the case's model with its weights in a file of their own; the stored one holds them inside."""
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    model = onnx.load(case("external-data").model)
    onnx.save_model(model, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_external_data_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported, model = case("external-data"), save_with_weights_beside(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    made = edgec.compile(model, verify=False)
    assert_close(reported, run(made, reported, reported.samples()), reported.samples("expected.npz"))


def test_missing_external_data_names_the_file(tmp_path: Path) -> None:
    model = save_with_weights_beside(tmp_path)
    (tmp_path / "weights" / "net.bin").unlink()
    with pytest.raises(CompileError, match=r"E0107.*weights/net\.bin.*missing"):
        edgec.compile(model)


def test_external_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    model = save_with_weights_beside(tmp_path)
    proto = onnx.load(model, load_external_data=False)
    for tensor in proto.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = "../weights/net.bin"
    inner = tmp_path / "inner" / "model.onnx"
    inner.parent.mkdir()
    inner.write_bytes(proto.SerializeToString())
    with pytest.raises(CompileError, match=r"E0106.*outside the model's folder"):
        edgec.compile(inner)


def test_ir_version_and_opset_of_the_future_are_refused_with_both_numbers() -> None:
    """The refusal names the number found and the highest known; opset 22 compiles."""
    reported = case("conv-same-lower")
    model = onnx.load(reported.model)
    model.opset_import[0].version = 22
    made = edgec.compile(model, verify=False)
    assert_close(reported, run(made, reported, reported.samples()), reported.samples("expected.npz"))
    model.opset_import[0].version = 99
    with pytest.raises(CompileError, match=rf"opset 99.*up to {onnx.defs.onnx_opset_version()}"):
        edgec.compile(model)
    model.opset_import[0].version, model.ir_version = 22, 99
    with pytest.raises(CompileError, match=rf"IR version 99.*up to {onnx.IR_VERSION}"):
        edgec.compile(model)


def test_calibration_in_another_layout_is_transposed_and_said() -> None:
    """Never reshaped in silence: the graph shows that the input is NCHW; same file, and a note says so."""
    reported = case("int8-calib-layout")
    other = compile_int8(reported, calibration=reported.folder / "calibration_nhwc.npz")
    assert other.tflite == compile_int8(reported).tflite
    assert any("transposed to fit" in item.what and "[1,3,8,8]" in item.what for item in other.diagnostics)


def test_float64_calibration_gives_the_same_file() -> None:
    reported = case("int8-calib-layout")
    other = compile_int8(reported, calibration=reported.folder / "calibration_f64.npz")
    assert output_sqnr(other, reported)[0] >= reported.min_sqnr_db[0]


def test_calibration_range_is_in_the_report() -> None:
    """Pixels of 0..255 for a normalized model cannot be known to be wrong, but the range can be seen."""
    reported = case("int8-calib-layout")
    made = compile_int8(reported, calibration=reported.folder / "calibration_raw255.npz")
    quantization = made.report.quantization
    assert quantization is not None
    (image,) = [tensor for tensor in quantization.tensors if tensor.name == reported.inputs[0].name]
    assert image.maximum > 200


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_interface_types(dtype: str) -> None:
    """Both ports are of the type asked for, and the results reach the case's SQNR."""
    reported = case("int8-io-types")
    made = compile_int8(reported, input_type=dtype, output_type=dtype)
    assert {info.dtype for info in [*made.report.inputs, *made.report.outputs]} == {dtype}
    assert output_sqnr(made, reported)[0] >= reported.min_sqnr_db[0]


def test_uint8_is_int8_moved_by_128() -> None:
    reported = case("int8-io-types")
    signed, unsigned = (compile_int8(reported, input_type=t, output_type=t).report for t in ("int8", "uint8"))
    ports = zip([*signed.inputs, *signed.outputs], [*unsigned.inputs, *unsigned.outputs], strict=True)
    for one, other in ports:
        assert one.scale == other.scale
        assert one.zero_point is not None
        assert other.zero_point == one.zero_point + 128


def test_dense_rows_keep_their_precision_on_a_microcontroller() -> None:
    """8 dB is what one scale for all rows gives; the target's kernels decide which scheme is used."""
    reported = case("int8-dense-rows")
    made = compile_int8(reported, target="cortex-m7")
    assert output_sqnr(made, reported)[0] >= reported.checks["min_sqnr_db_single_scale"]  # type: ignore[operator]


def test_microcontroller_int8_needs_calibration_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = case("mcu-no-hybrid")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompileError, match=r"E0301.*calibration"):
        edgec.compile(reported.model, target="cortex-m7", precision="int8")
    made = compile_int8(reported, target="cortex-m7")
    assert set(TfliteFile(made.tflite).dtypes.values()) <= {"int8", "int32"}
    assert output_sqnr(made, reported, KernelSet.REFERENCE)[0] >= reported.min_sqnr_db[0]


def test_operators_that_a_microcontroller_lacks_are_named() -> None:
    """Before anything is deployed: the message names the node and the operator."""
    with pytest.raises(CompileError) as refusal:
        edgec.compile(case("mcu-missing-op").model, target="cortex-m7", verify=False)
    text = str(refusal.value)
    assert "topk_v2" in text
    assert "cortex-m7" in text or "TFLite Micro" in text


def test_arena_estimate() -> None:
    """Not below what the largest node alone needs, and within twice that plus 16 KiB."""
    reported = case("mcu-arena")
    least = int(reported.checks["arena_lower_bound_int8"])  # type: ignore[call-overload]
    arena = compile_int8(reported, target="cortex-m7").report.arena_bytes
    assert arena is not None
    assert least <= arena <= 2 * least + 16 * 1024


@pytest.mark.xfail(strict=True, reason=LATER["edgetpu-partial-map"])
def test_edgetpu_mapping_is_predicted() -> None:
    edgec.compile(case("edgetpu-partial-map").model, target="edgetpu")


def test_int16_without_kernels_is_rewritten() -> None:
    """What has no int16 kernel is expressed by what has: the file runs within the case's 40 dB."""
    reported = case("int16x8-unsupported")
    made = edgec.compile(reported.model, precision="int16x8", calibration=reported.calibration)
    assert made.report.worst_output is not None
    assert made.report.worst_output.sqnr_db >= 40
    assert made.report.quantization is not None
    assert made.report.quantization.float_ops == ()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_pruned_weights_are_zero_in_the_file(precision: str) -> None:
    reported = case("pruned-size")
    made = edgec.compile(
        reported.model, precision=precision, calibration=reported.calibration, prune=0.8, verify=False
    )
    file = TfliteFile(made.tflite)
    weights = [file.data(n.inputs[1]) for n in file.nodes if n.kind in ("CONV_2D", "FULLY_CONNECTED")]
    zeros, total = sum(int((w == 0).sum()) for w in weights), sum(w.size for w in weights)
    assert zeros / total >= float(reported.checks["sparsity"]) - 0.005  # type: ignore[arg-type]


def test_pruned_file_compresses() -> None:
    reported = case("pruned-size")
    dense = len(gzip.compress(compile_int8(reported).tflite))
    pruned = len(gzip.compress(compile_int8(reported, prune=0.8).tflite))
    assert pruned / dense <= float(reported.checks["gzip_ratio_max"])  # type: ignore[arg-type]


def test_pruned_source_gives_its_own_values() -> None:
    reported = case("pruned-size")
    made = edgec.compile(reported.folder / "model_pruned.onnx", verify=False)
    got = run(made, reported, reported.samples())
    assert_close(reported, got, reported.samples("expected_pruned.npz"))


def test_delegate_and_builtin_kernels_agree() -> None:
    """A rank-7 result, which delegates may refuse: the file runs either way."""
    reported = case("delegate-fails")
    made = edgec.compile(reported.model, verify=False)
    feeds = [np.asarray(reported.samples()[0][tensor.name]) for tensor in reported.inputs]
    one, other = (
        Runner(made.tflite, kernels=k).run(feeds)[0] for k in (KernelSet.XNNPACK, KernelSet.BUILTIN)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
