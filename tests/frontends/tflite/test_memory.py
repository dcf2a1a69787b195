"""What a file remembers between runs is remembered by what we emit, on every kernel set and in TFLM."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError, Diagnostics
from edgec.emit import emit
from edgec.frontends.tflite import import_tflite, load_tflite
from edgec.ir import Array, Model
from edgec.passes.eliminate_dead import EliminateDead
from tests.frontends.tflite.test_lowerings import lstm_file
from tests.support.ir_graphs import kinds, ramp
from tests.support.tflite_files import FileBuilder, imported, pack, quantization, table

STEPS = 6


def in_sequence(raw: bytes, feeds: list[Array], resolver: str = "AUTO") -> list[Array]:
    """Outputs of one interpreter over a sequence, memory kept from run to run."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=raw, experimental_op_resolver_type=OpResolverType[resolver])
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    results: list[Array] = []
    for feed in feeds:
        interpreter.set_tensor(into["index"], feed)
        interpreter.invoke()
        results.append(np.array(interpreter.get_tensor(out["index"])))
    return results


def assert_same_sequence(raw: bytes, feeds: list[Array]) -> Model:
    """Assert that a file and what we emit for it give the same bits, and that memory matters at all."""
    model = EliminateDead().run(imported(raw)).model
    ours = emit(model).to_bytes()
    for resolver in ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"):
        expected = in_sequence(raw, feeds, resolver)
        assert any((expected[0] != later).any() for later in expected[1:])
        for theirs, made in zip(expected, in_sequence(ours, feeds, resolver), strict=True):
            np.testing.assert_array_equal(made, theirs)
    return model


def svdf_file(state: str = "float32") -> bytes:
    """Memory of five inputs, two filters an output."""
    file = FileBuilder()
    x, y = file.tensor((1, 3)), file.tensor((1, 4))
    memory = file.tensor((1, 40), state, isVariable=True)
    operands = [x, file.constant(ramp(8, 3)), file.constant(ramp(8, 5)), file.constant(ramp(4)), memory]
    file.operator("SVDF", operands, [y], table("SVDFOptions", rank=2))
    return file.to_bytes([x], [y])


def int8_svdf_file(state: str) -> bytes:
    """The integer form with a state of int16, or TFLM's own of int8."""
    file = FileBuilder()
    generator = np.random.default_rng(3)
    wide = np.int16 if state == "int16" else np.int8
    x = file.tensor((1, 6), "int8", quantization=quantization([0.05], [3]))
    feature = file.constant(
        generator.integers(-90, 90, (4, 6)).astype(np.int8), quantization=quantization([0.01], [0])
    )
    time = file.constant(
        generator.integers(-90, 90, (4, 5)).astype(wide), quantization=quantization([0.01], [0])
    )
    bias = file.constant(np.array([20, -30, 5, 7], np.int32), quantization=quantization([0.003], [0]))
    zero_point = 0 if state == "int16" else -7
    memory = file.tensor((1, 20), state, isVariable=True, quantization=quantization([0.3], [zero_point]))
    y = file.tensor((1, 4), "int8", quantization=quantization([0.05], [-4]))
    options = table("SVDFOptions", rank=1, fusedActivationFunction=1)
    file.operator("SVDF", [x, feature, time, bias, memory], [y], options, version=3)
    return file.to_bytes([x], [y])


def integers(count: int = STEPS, shape: tuple[int, ...] = (1, 6)) -> list[Array]:
    generator = np.random.default_rng(1)
    return [generator.integers(-128, 127, shape).astype(np.int8) for _ in range(count)]


def test_a_float_lstm_keeps_its_state() -> None:
    """One node, and the note says that it remembers."""
    feeds = [ramp(1, 5, 3) * (k + 1) / STEPS for k in range(STEPS)]
    assert kinds(assert_same_sequence(lstm_file(), feeds)) == ["unidirectional_sequence_lstm"]
    diagnostics = Diagnostics()
    import_tflite(load_tflite(lstm_file()), {}, diagnostics)
    (note,) = diagnostics
    assert "keeps its state from run to run, as in the source" in str(note)
    assert "reset_all_variables()" in str(note)


def test_the_states_follow_a_pinned_batch() -> None:
    """A file of batch 1, compiled for batch 2: both rows start from zeros."""
    table = load_tflite(lstm_file()).table
    table.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 5, 3], np.int32)
    model = imported(pack(table), input_shapes={"t0": (2, 5, 3)})
    x = ramp(1, 5, 3)
    (both,) = in_sequence(emit(model).to_bytes(), [np.concatenate([x, x])])
    (one,) = in_sequence(lstm_file(), [x])
    np.testing.assert_allclose(both, np.concatenate([one, one]), rtol=1e-6)


def test_svdf_keeps_its_window() -> None:
    """Float, and int8 with a state of int16."""
    feeds: list[Array] = [ramp(1, 3) * (k - 2) for k in range(STEPS)]
    assert kinds(assert_same_sequence(svdf_file(), feeds)) == ["svdf"]
    model = assert_same_sequence(int8_svdf_file("int16"), integers())
    (node,) = model.graph
    assert [str(type.dtype) for type in node.attributes.states] == ["int16"]  # type: ignore[attr-defined]


def test_an_int8_state_is_refused_with_the_way_out() -> None:
    """LiteRT would end with a crash: neither verified nor emitted, but named."""
    with pytest.raises(CompileError, match=r"\(SVDF\): keeps an int8 state\..*edgec doctor MODEL --fix"):
        imported(int8_svdf_file("int8"))


def counter_file() -> bytes:
    """y = total + x, total = y: a named variable that a second graph sets to 10 before the first run."""
    file = FileBuilder()
    options = table("VarHandleOptions", container="", sharedName="total")
    handle, total = file.tensor((), "resource"), file.tensor((1, 2))
    x, y = file.tensor((1, 2)), file.tensor((1, 2))
    file.operator("CALL_ONCE", [], [], table("CallOnceOptions", initSubgraphIndex=1))
    file.operator("VAR_HANDLE", [], [handle], options)
    file.operator("READ_VARIABLE", [handle], [total], table("ReadVariableOptions"))
    file.operator("ADD", [total, x], [y], table("AddOptions"))
    file.operator("ASSIGN_VARIABLE", [handle, y], [], table("AssignVariableOptions"))
    main = file.graph
    file.graph = table("SubGraph", name="init", tensors=[], operators=[])
    file.model.subgraphs.append(file.graph)
    inner = file.tensor((), "resource")
    file.operator("VAR_HANDLE", [], [inner], options)
    start = file.constant(np.full((1, 2), 10, np.float32))
    file.operator("ASSIGN_VARIABLE", [inner, start], [], table("AssignVariableOptions"))
    file.graph.inputs = file.graph.outputs = np.array([], np.int32)
    file.graph = main
    return file.to_bytes([x], [y])


def test_named_variables_and_their_first_values_stay() -> None:
    """10 + 1, 10 + 1 + 2, ...: read, written and set up as in the file; nothing of it is dead."""
    feeds: list[Array] = [np.full((1, 2), k + 1, np.float32) for k in range(STEPS)]
    raw = counter_file()
    model = assert_same_sequence(raw, feeds)
    assert kinds(model) == ["call_once", "var_handle", "read_variable", "add", "assign_variable"]
    assert [node.kind for node in model.subgraphs[0]] == ["var_handle", "assign_variable"]
    totals = in_sequence(emit(model).to_bytes(), feeds)
    assert [float(total[0, 0]) for total in totals] == [11, 13, 16, 20, 25, 31]


def test_microcontroller_kernels_take_what_is_emitted() -> None:
    """TFLM counts operands, absent ones too, and plans variables: the same bits as from the file itself."""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    floats: list[Array] = [ramp(1, 5, 3) * (k + 1) / STEPS for k in range(STEPS)]
    cases = ((lstm_file(), floats), (int8_svdf_file("int16"), integers()))
    for raw, feeds in cases:
        model = emit(imported(raw)).to_bytes()
        ours, theirs = runtime.Interpreter.from_bytes(model), None
        for feed in feeds:
            ours.set_input(feed, 0)
            ours.invoke()
            theirs = ours.get_output(0)
        expected = in_sequence(raw, feeds, "BUILTIN_REF")[-1]
        np.testing.assert_allclose(theirs, expected, rtol=0, atol=1e-6 if expected.dtype == np.float32 else 0)
