"""The structural check: whole files give their facts, damaged ones a message, never a native crash."""

from __future__ import annotations

import random
import struct
import subprocess
import sys

import numpy as np
import pytest

from edgec_runtime import ModelFileError
from edgec_runtime.flatbuffer_check import read_model, read_model_file
from edgec_runtime.op_names import op_kind, type_name

_LOAD_IN_CHILD = """
import sys
from edgec_runtime import EdgecRuntimeError, Model
for path in sys.argv[1:]:
    try:
        Model(path)
        print("loaded")
    except EdgecRuntimeError as error:
        print("refused", error)
"""


def test_facts_of_a_whole_file(difference: bytes):
    facts = read_model(difference)
    (graph,) = facts.subgraphs
    assert facts.size_bytes == len(difference)
    assert (facts.version, facts.description) == (3, "made by the tests")
    assert [tensor.name for tensor in graph.tensors] == ["tensor_a", "tensor_b", "tensor_c", "tensor_d"]
    assert (graph.inputs, graph.outputs) == ((0, 1), (2, 3))
    assert [(one.kind, one.inputs, one.outputs) for one in graph.operators] == [
        ("sub", (0, 1), (2,)),
        ("add", (2, 2), (3,)),
    ]
    assert facts.metadata == ("min_runtime_version",)
    assert facts.signatures[0].inputs == (("right", 1), ("left", 0))


def test_quantization_and_constants(int8_copy: bytes):
    """x has scale 0.5 and zero point -1; the shape operand is two int32, 8 bytes."""
    facts = read_model(int8_copy)
    x, shape, _ = facts.subgraphs[0].tensors
    assert (x.dtype, x.scale, x.zero_point, x.size_bytes) == ("int8", (0.5,), (-1,), 4)
    assert facts.is_constant(shape)
    assert not facts.is_constant(x)
    assert sum(facts.buffer_sizes) == 8


def test_names_agree_with_the_schema():
    """The tables are typed by hand; the interpreter's own schema is the reference."""
    from ai_edge_litert import schema_py_generated as schema

    for name, code in vars(schema.BuiltinOperator).items():
        if isinstance(code, int) and name.isupper() and name != "CUSTOM":  # 3.13 adds __firstlineno__
            assert op_kind(code) == name.lower()
    for name, code in vars(schema.TensorType).items():
        if isinstance(code, int) and name.isupper():
            assert type_name(code) == name.lower()
    assert op_kind(schema.BuiltinOperator.CUSTOM, "TFLite_Detection_PostProcess") == (
        "custom:TFLite_Detection_PostProcess"
    )
    assert op_kind(5000) == "builtin_5000"
    assert type_name(77) == "type_77"


@pytest.mark.parametrize("fixture", ["int8_copy", "difference", "refused_by_xnnpack"])
def test_every_truncation_is_refused(request: pytest.FixtureRequest, fixture: str):
    """Each byte of these files belongs to something reachable, up to the padding behind the last object."""
    whole: bytes = request.getfixturevalue(fixture)
    for length in range(len(whole) - 4):
        with pytest.raises(ModelFileError):
            read_model(whole[:length])


def test_truncated_weights_are_refused(convolution: bytes):
    """A download cut anywhere in the 590 kB of weights."""
    for length in np.linspace(8, len(convolution) - 5, 60).astype(int):
        with pytest.raises(ModelFileError):
            read_model(memoryview(convolution)[:length])


def test_truncated_files_never_crash_the_interpreter(saved, int8_copy: bytes, difference: bytes):
    """Loaded in one child process: whatever the check lets through must also load without a native crash."""
    paths = []
    for number, whole in enumerate((int8_copy, difference)):
        for length in range(0, len(whole), 7):
            paths.append(saved(whole[:length], f"{number}_{length}.tflite"))
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_IN_CHILD, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["refused"] * len(paths)


def test_random_damage_is_a_message_or_facts(difference: bytes, int8_copy: bytes):
    """Flipped bytes may leave a readable file; nothing but a ModelFileError may come out otherwise."""
    generator = random.Random(0)
    refused = 0
    for whole in (difference, int8_copy):
        for _ in range(1500):
            damaged = bytearray(whole)
            for _ in range(generator.randint(1, 4)):
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            try:
                read_model(damaged)
            except ModelFileError:
                refused += 1
    assert refused > 500


def test_random_damage_to_structure_does_not_crash_info(saved, difference: bytes, command):
    """The command as a user runs it: exit 0 or 1 with words, no traceback."""
    generator = random.Random(1)
    for number in range(6):
        damaged = bytearray(difference)
        for _ in range(20):
            damaged[generator.randrange(8, len(damaged))] = generator.randrange(256)
        done = command("info", saved(bytes(damaged), f"{number}.tflite"))
        assert done.returncode in (0, 1)
        assert "Traceback" not in done.stderr


def test_offset_outside_names_what_is_outside(difference: bytes):
    damaged = bytearray(difference)
    struct.pack_into("<I", damaged, 0, 10_000_000)
    with pytest.raises(
        ModelFileError, match=r"the model table lies at bytes 10000000 to .* the file ends at"
    ):
        read_model(damaged)


def test_file_errors_carry_the_path(saved, difference: bytes):
    path = saved(difference[:100])
    with pytest.raises(ModelFileError, match=r"model\.tflite: .* truncated or damaged"):
        read_model_file(path)


def test_indices_into_nowhere_are_refused(new_model):
    """Offsets are whole here, but an operator names tensor 7 of 2: a kernel would read beyond the array."""
    model = new_model()
    x, y = model.tensor("x", [2]), model.tensor("y", [2])
    model.operator("ABS", [7], [y])
    with pytest.raises(
        ModelFileError, match=r"inputs of operators\[0\] of subgraphs\[0\] names tensor 7, but there are 2"
    ):
        read_model(model.build([x], [y]))


def test_negative_shapes_are_refused(new_model):
    model = new_model()
    x = model.tensor("x", [2, -3])
    with pytest.raises(
        ModelFileError, match=r"tensors\[0\] of subgraphs\[0\] has the negative shape \[2, -3\]"
    ):
        read_model(model.build([x], [x]))


def test_data_behind_the_flatbuffer_must_exist(new_model):
    """Files over 2 GB keep weights behind the flatbuffer; cut there, the offsets inside are still whole."""
    model = new_model()
    x = model.tensor("x", [2])
    weights = model.constant("w", np.zeros(2, np.float32))
    buffer = model.model.buffers[-1]
    buffer.data, buffer.offset, buffer.size = None, 4096, 8
    content = model.build([x], [weights])
    with pytest.raises(ModelFileError, match=r"the data of buffers\[1\] lies at bytes 4096 to 4104"):
        read_model(content)
    assert read_model(content.ljust(4104, b"\0")).buffer_sizes == (0, 8)


def test_a_file_without_subgraph(new_model):
    model = new_model()
    model.model.subgraphs = []
    with pytest.raises(ModelFileError, match="holds no subgraph"):
        read_model(model.build([], []))
