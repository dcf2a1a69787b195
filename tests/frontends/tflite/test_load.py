"""Damaged and foreign files are named, never followed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from edgec.diagnostics import CompileError, Diagnostics
from edgec.frontends.tflite import import_tflite, load_tflite
from tests.support.tflite_files import FileBuilder, pack, table


def small_file() -> FileBuilder:
    """x + 1, not yet with inputs and outputs."""
    file = FileBuilder()
    x, one, y = file.tensor((1, 4)), file.constant(np.ones(4, np.float32)), file.tensor((1, 4))
    file.operator("ADD", [x, one], [y], table("AddOptions"))
    file.graph.inputs, file.graph.outputs = np.array([x], np.int32), np.array([y], np.int32)
    return file


def refusal(model: Path | bytes) -> str:
    with pytest.raises(CompileError) as caught:
        load_tflite(model)
    return str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """The path is in the message, and what it is."""
    assert (
        refusal(tmp_path / "no.tflite")
        == f"E0101 {tmp_path}/no.tflite: there is no such file. Check the path."
    )
    assert f"E0101 {tmp_path}: is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("raw", "why"), [(b"", "The file is empty"), (b"\x08\x07" * 20, "does not carry the mark TFL3")]
)
def test_what_is_no_flatbuffer_is_said_to_be_none(raw: bytes, why: str) -> None:
    """The identifier decides, before any offset is followed."""
    assert refusal(raw).startswith("E0102 model bytes: this is not a TFLite flatbuffer")
    assert why in refusal(raw)


def test_every_truncation_is_refused() -> None:
    """A file cut anywhere is refused or, where only padding is gone, read; it never raises anything else."""
    raw = pack(small_file().model)
    refused = 0
    for length in range(0, len(raw), 3):
        try:
            load_tflite(raw[:length])
        except CompileError as error:
            refused += 1
            assert error.diagnostics[0].code in ("E0102", "E0103")
    assert refused > len(raw) // 3 * 0.9


def test_flipped_bytes_never_raise_anything_but_diagnostics() -> None:
    """Two thousand damaged files: each compiles or is refused with a code (seeded, so failures repeat)."""
    raw = pack(small_file().model)
    random_bytes = random.Random(4)
    outcomes: set[str] = set()
    for _ in range(2000):
        damaged = bytearray(raw)
        for _ in range(random_bytes.choice((1, 2, 8))):
            damaged[random_bytes.randrange(8, len(raw))] = random_bytes.randrange(256)
        try:
            import_tflite(load_tflite(bytes(damaged)), {}, Diagnostics())
            outcomes.add("compiled")
        except CompileError as error:
            outcomes.add(error.diagnostics[0].code)
    assert {"compiled", "E0102"} < outcomes


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: setattr(m, "version", 2), "is of schema version 2, not 3"),
        (lambda m: setattr(m, "subgraphs", []), "the model has no graph"),
        (lambda m: setattr(m.subgraphs[0].tensors[1], "buffer", 9), "tensor 1: names buffer 9 of 2"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 5), "names operator code 5 of 1"),
        (
            lambda m: setattr(m.subgraphs[0].operators[0], "inputs", np.array([0, 7], np.int32)),
            "operator 0, inputs: names tensor 7 of 3",
        ),
        (
            lambda m: setattr(m.subgraphs[0].operators[0], "outputs", np.array([-1], np.int32)),
            "operator 0, outputs: names tensor -1 of 3",
        ),
        (
            lambda m: setattr(m.subgraphs[0], "outputs", np.array([3], np.int32)),
            "outputs: names tensor 3 of 3",
        ),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", np.array([-4], np.int32)), "has shape [-4]"),
        (
            lambda m: setattr(m, "buffers", [*m.buffers, table("Buffer", offset=1 << 20, size=16)]),
            "buffer 2: lies outside the file",
        ),
    ],
)
def test_an_index_that_leads_nowhere_is_named(damage: object, message: str) -> None:
    """Each wrong index gets its place and the number of things there are."""
    file = small_file()
    assert callable(damage)
    damage(file.model)
    assert message in refusal(pack(file.model))


def test_all_damage_is_reported_at_once() -> None:
    """Two wrong tensors, two messages."""
    file = small_file()
    file.graph.tensors[0].buffer = file.graph.tensors[2].buffer = 9
    with pytest.raises(CompileError) as caught:
        load_tflite(pack(file.model))
    assert len(caught.value.diagnostics) == 2


def test_an_undamaged_file_is_identified(tmp_path: Path) -> None:
    """Digest and size are those of the bytes, and the same from a path."""
    raw = pack(small_file().model)
    path = tmp_path / "a.tflite"
    path.write_bytes(raw)
    loaded, direct = load_tflite(path), load_tflite(raw)
    assert loaded.sha256 == direct.sha256
    assert (loaded.name, direct.name, loaded.size_bytes) == ("a.tflite", "model", len(raw))
    assert loaded.runnable() == path
    assert direct.runnable() == raw
