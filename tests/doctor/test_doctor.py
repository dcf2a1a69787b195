"""Known faults are found, explained and mended without changing a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.diagnostics import CompileError
from edgec.doctor import Diagnosis, examine, mend
from edgec.doctor.finding import Finding
from edgec.emit import emit
from edgec.emit.options import schema
from edgec.frontends.tflite import load_tflite
from edgec.kernels import KernelSet, Runner
from tests.conftest import CORPUS
from tests.frontends.tflite.test_memory import in_sequence, int8_svdf_file, integers
from tests.support.ir_graphs import conv, make_model, ramp
from tests.support.tflite_files import FileBuilder, quantization, table


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def conv_bytes(**settings: bool) -> bytes:
    return emit(make_model(lambda b, x: conv(b, x), (1, 5, 5, 3)), **settings).to_bytes()


def only(diagnosis: Diagnosis, fault: str) -> Finding:
    (found,) = [finding for finding in diagnosis.findings if finding.fault == fault]
    return found


def int8_conv(axis: int) -> bytes:
    """A per-axis convolution whose bias names `axis`."""
    file = FileBuilder()
    x = file.tensor((1, 4, 4, 2), "int8", quantization=quantization([0.5], [1]))
    scales = quantization([0.1, 0.2, 0.3], [0, 0, 0])
    w = file.constant(np.arange(6, dtype=np.int8).reshape(3, 1, 1, 2), quantization=scales)
    bias = quantization([0.05, 0.1, 0.15], [0, 0, 0], axis)
    b = file.constant(np.array([1, 2, 3], np.int32), quantization=bias)
    y = file.tensor((1, 4, 4, 3), "int8", quantization=quantization([1.0], [0]))
    options = table("Conv2DOptions", padding=1, strideW=1, strideH=1)
    file.operator("CONV_2D", [x, w, b], [y], options, version=3)
    return file.to_bytes([x], [y])


def test_what_edgec_writes_is_healthy(tmp_path: Path) -> None:
    """No finding, and LiteRT runs it."""
    diagnosis = examine(written(tmp_path / "a.tflite", conv_bytes()))
    assert diagnosis.findings == ()
    assert diagnosis.refusal == ""
    assert diagnosis.is_healthy


def test_a_quantized_dimension_out_of_range_is_set_to_zero(tmp_path: Path) -> None:
    """LiteRT refuses the file before; after, it computes what the right file computes."""
    path, out = written(tmp_path / "old.tflite", int8_conv(axis=3)), tmp_path / "new.tflite"
    before = examine(path)
    finding = only(before, "quantized_dimension")
    assert finding.what == "its scales belong to axis 3 of [3]"
    assert "quantized_dimension must be in range" in before.refusal
    after = mend(path, out)
    assert after.is_healthy
    x = np.arange(-16, 16, dtype=np.int8).reshape(1, 4, 4, 2)
    expected = Runner(int8_conv(axis=0), kernels=KernelSet.REFERENCE).run([x])[0]
    np.testing.assert_array_equal(Runner(str(out), kernels=KernelSet.REFERENCE).run([x])[0], expected)


def test_an_axis_that_no_scale_fits_is_reported_and_left(tmp_path: Path) -> None:
    """Three scales for a tensor of four: nobody can know where they belong."""
    file = FileBuilder()
    w = file.constant(np.zeros(4, np.int32), quantization=quantization([1.0, 2.0, 3.0], [0, 0, 0], 2))
    y = file.tensor((4,), "int32")
    file.operator("NEG", [w], [y], table("NegOptions"))
    finding = only(examine(written(tmp_path / "a.tflite", file.to_bytes([], [y]))), "quantized_dimension")
    assert not finding.can_be_mended


def test_unaligned_data_is_aligned(tmp_path: Path) -> None:
    """The plain packer puts data anywhere; the mended file has every vector at a multiple of 16."""
    raw = int8_conv(axis=0)
    path, out = written(tmp_path / "a.tflite", raw), tmp_path / "b.tflite"
    assert only(examine(path), "unaligned_buffers").where == "2 buffers"
    assert mend(path, out).is_healthy
    fixed = out.read_bytes()
    model = schema().Model.GetRootAs(fixed, 0)
    starts = [b._tab.Vector(b._tab.Offset(4)) for b in map(model.Buffers, range(1, model.BuffersLength()))]
    assert starts
    assert all(start % 16 == 0 for start in starts)


def test_data_behind_the_flatbuffer_moves_inside(tmp_path: Path) -> None:
    """MCUs do not look behind it; the numbers stay."""
    path, out = written(tmp_path / "a.tflite", conv_bytes(external=True)), tmp_path / "b.tflite"
    assert only(examine(path), "external_buffers").where == "2 buffers"
    assert mend(path, out).is_healthy
    x = ramp(1, 5, 5, 3)
    np.testing.assert_array_equal(Runner(str(out)).run([x])[0], Runner(conv_bytes()).run([x])[0])


def test_orphan_tensors_go_and_everything_else_is_renumbered(tmp_path: Path) -> None:
    """One tensor before, one between: inputs, outputs, operands and the signature still mean the same."""
    file = FileBuilder()
    file.tensor((9, 9), name="nobody")
    x = file.tensor((1, 4), name="x")
    file.constant(np.ones(100, np.float32), name="unread")
    y = file.tensor((1, 4), name="y")
    file.operator("TANH", [x], [y])
    signature = table("SignatureDef", signatureKey="serving_default", subgraphIndex=0)
    signature.inputs = [table("TensorMap", name="image", tensorIndex=x)]
    signature.outputs = [table("TensorMap", name="score", tensorIndex=y)]
    file.model.signatureDefs = [signature]
    path, out = written(tmp_path / "a.tflite", file.to_bytes([x], [y])), tmp_path / "b.tflite"
    finding = only(examine(path), "orphan_tensors")
    assert finding.what == "2 tensors are read by nothing (nobody, unread)"
    assert mend(path, out).is_healthy
    model = load_tflite(out).table
    assert [tensor.name for tensor in model.subgraphs[0].tensors] == [b"x", b"y"]
    assert model.signatureDefs[0].outputs[0].tensorIndex == 1
    data = ramp(1, 4)
    np.testing.assert_array_equal(Runner(str(out)).run([data])[0], Runner(str(path)).run([data])[0])


def test_orphans_stay_where_a_memory_plan_counts_them(tmp_path: Path) -> None:
    """An offline plan lists every tensor by number, so taking one away would shift the rest."""
    file = FileBuilder()
    x, y = file.tensor((1, 4)), file.tensor((1, 4))
    file.tensor((9,), name="nobody")
    file.operator("TANH", [x], [y])
    file.model.metadata = [table("Metadata", name="OfflineMemoryAllocation", buffer=0)]
    path, out = written(tmp_path / "a.tflite", file.to_bytes([x], [y])), tmp_path / "b.tflite"
    assert not only(examine(path), "orphan_tensors").can_be_mended
    mend(path, out)
    assert len(load_tflite(out).table.subgraphs[0].tensors) == 3


def test_versions_are_lowered_to_what_the_operators_need(tmp_path: Path) -> None:
    """A float add says all it does in version 1; two adds on one code need the higher of the two."""
    file = FileBuilder()
    x, y = file.tensor((1, 4)), file.tensor((1, 4))
    file.operator("ADD", [x, x], [y], table("AddOptions"), version=5)
    path, out = written(tmp_path / "a.tflite", file.to_bytes([x], [y])), tmp_path / "b.tflite"
    finding = only(examine(path), "operator_version")
    assert finding.what == "it is marked version 5, and 1 says all that it does"
    assert mend(path, out).is_healthy
    assert load_tflite(out).table.operatorCodes[0].version == 1


def test_a_filled_first_buffer_is_emptied_and_its_constant_kept(tmp_path: Path) -> None:
    """A constant that lived there gets a buffer of its own."""
    file = FileBuilder()
    file.model.buffers[0] = table("Buffer", data=np.frombuffer(np.float32([1, 2, 3, 4]).tobytes(), np.uint8))
    x, c, y = file.tensor((1, 4)), file.tensor((4,), name="c"), file.tensor((1, 4))
    file.operator("ADD", [x, c], [y], table("AddOptions"))
    path, out = written(tmp_path / "a.tflite", file.to_bytes([x], [y])), tmp_path / "b.tflite"
    assert only(examine(path), "first_buffer").can_be_mended
    assert mend(path, out).is_healthy
    got = Runner(str(out)).run([np.zeros((1, 4), np.float32)])[0]
    np.testing.assert_array_equal(got, np.array([[1, 2, 3, 4]], np.float32))


def test_a_scalar_without_has_rank_gets_it(tmp_path: Path) -> None:
    """Readers take an empty shape for an unknown one otherwise."""
    file = FileBuilder()
    x, c, y = file.tensor((1, 4)), file.constant(np.float32(2), hasRank=False), file.tensor((1, 4))
    file.operator("MUL", [x, c], [y], table("MulOptions"))
    path, out = written(tmp_path / "a.tflite", file.to_bytes([x], [y])), tmp_path / "b.tflite"
    assert only(examine(path), "has_rank").where == "tensor 't1'"
    assert mend(path, out).is_healthy


def test_codes_above_127_are_written_in_both_fields(tmp_path: Path) -> None:
    """A code that the old field cannot hold is 127 there, which old readers know as "look further"."""
    file = FileBuilder()
    x, y = file.tensor((1, 4)), file.tensor((1, 4))
    file.operator("GELU", [x], [y], table("GeluOptions"), deprecatedBuiltinCode=0)
    path, out = written(tmp_path / "a.tflite", file.to_bytes([x], [y])), tmp_path / "b.tflite"
    assert only(examine(path), "operator_code").what == "its old code is 0 instead of 127"
    assert mend(path, out).is_healthy


def test_a_damaged_file_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """The doctor mends known faults; it does not guess."""
    path, out = written(tmp_path / "a.tflite", conv_bytes()[:300]), tmp_path / "b.tflite"
    with pytest.raises(CompileError, match="E0102"):
        mend(path, out)
    assert not out.exists()


def test_mending_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """What is mended is healthy, so there is nothing left to change."""
    path = written(tmp_path / "a.tflite", int8_conv(axis=3))
    mend(path, tmp_path / "b.tflite")
    mend(tmp_path / "b.tflite", tmp_path / "c.tflite")
    assert (tmp_path / "b.tflite").read_bytes() == (tmp_path / "c.tflite").read_bytes()


def test_an_int8_state_becomes_int16_with_the_same_values(tmp_path: Path) -> None:
    """LiteRT writes behind the state before; after, it says what TFLM says of both files.

    The state stays below 127 steps here, so the narrow one saturates nowhere: equal bits.
    """
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    path, out = written(tmp_path / "old.tflite", int8_svdf_file("int8")), tmp_path / "new.tflite"
    before = examine(path)
    finding = only(before, "svdf_state")
    assert "TFLite Micro runs this form" in finding.why
    assert finding.can_be_mended
    assert mend(path, out).is_healthy
    feeds = integers()
    micro = [runtime.Interpreter.from_file(str(file)) for file in (path, out)]
    for feed, result in zip(feeds, in_sequence(out.read_bytes(), feeds, "BUILTIN_REF"), strict=True):
        for interpreter in micro:
            interpreter.set_input(feed, 0)
            interpreter.invoke()
            np.testing.assert_array_equal(interpreter.get_output(0), result)
    assert len(np.unique(result)) > 2


NOT_FOR_LITERT = {"vela": "ethos-u", "edgetpu": "edgetpu-custom-op"}
"""Files for an accelerator: the operator they consist of is in no runtime here."""

FILES = sorted((CORPUS / "refs").glob("*.tflite")) if CORPUS.is_dir() else []


@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_of_others_loads_after_mending(path: Path, tmp_path: Path) -> None:
    """Nothing that can be mended is left, and LiteRT runs the file unless it is for an accelerator."""
    after = mend(path, tmp_path / path.name)
    assert [finding for finding in after.findings if finding.can_be_mended] == []
    needed = next((operator for word, operator in NOT_FOR_LITERT.items() if word in path.stem), "")
    assert needed in after.refusal
    assert needed or not after.refusal


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["tflm_person_detect", "tflm_keyword_scrambled_8bit"])
def test_files_that_litert_refuses_are_whole_after_mending(name: str, tmp_path: Path) -> None:
    """Refused or crashed on before; healthy and compiled bit for bit after."""
    path, out = CORPUS / "refs" / f"{name}.tflite", tmp_path / "b.tflite"
    assert ("signal" if "keyword" in name else "quantized_dimension") in examine(path).refusal
    assert mend(path, out).is_healthy
    report = edgec.compile(out).report
    assert report.verification is not None
    assert all(output.max_abs_error == 0 for output in report.verification.outputs)
