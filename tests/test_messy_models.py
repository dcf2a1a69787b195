"""Files as exporters really write them: each compiles to the right numbers or gets a message that teaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.diagnostics import CompileError
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from tests.support.onnx_models import run_onnxruntime

X = np.random.default_rng(7).uniform(-2, 2, (2, 3)).astype(np.float32)
W = np.arange(9, dtype=np.float32).reshape(3, 3) / 8
INPUT = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])


def node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), list(outputs), **attributes)


def output(
    name: str, shape: Sequence[int] | None = (2, 3), dtype: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def build(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (INPUT,),
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
    ir_version: int = 8,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Return a model as given: nothing is sorted, renamed, inferred or checked."""
    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "messy", list(inputs), list(outputs), initializers)
    domains = sorted({function.domain for function in functions})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=ir_version, functions=list(functions), producer_name="test"
    )


def compiled(model: onnx.ModelProto | Path | bytes, **choices: object) -> edgec.Compiled:
    return edgec.compile(model, **{"verify": False, "verify_each": True, "io_layout": "source"} | choices)


def run(made: edgec.Compiled, *feeds: Array) -> list[Array]:
    return Runner(made.tflite, kernels=KernelSet.BUILTIN).run(feeds)


def check(
    model: onnx.ModelProto, expected: Sequence[Array] | None = None, feeds: Sequence[Array] = (X,)
) -> edgec.Compiled:
    """Assert names, order, shapes and numbers; `expected` is onnxruntime's answer unless given."""
    made = compiled(model)
    names = [info.name for info in made.report.inputs]
    initializers = {tensor.name for tensor in model.graph.initializer}
    assert names == [info.name for info in model.graph.input if info.name not in initializers]
    assert [info.name for info in made.report.outputs] == [info.name for info in model.graph.output]
    wanted = expected or run_onnxruntime(model, dict(zip(names, feeds, strict=True)))
    for ours, oracle in zip(run(made, *feeds), wanted, strict=True):
        assert ours.dtype == oracle.dtype
        np.testing.assert_allclose(ours, oracle, rtol=1e-5, atol=1e-6, strict=True)
    return made


def refusal(model: onnx.ModelProto | bytes) -> str:
    with pytest.raises(CompileError) as raised:
        compiled(model)
    return str(raised.value)


# -- versions -----------------------------------------------------------------------------------------------


def test_ir_version_3_lists_initializers_as_inputs() -> None:
    """Before IR version 4 every initializer is also an input; none of them is one at run time."""
    weights = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 3])
    model = build(
        [node("MatMul", ["x", "w"], ["y"])],
        [output("y")],
        inputs=[INPUT, weights],
        constants={"w": W},
        opset=8,
        ir_version=3,
    )
    assert len(check(model).report.inputs) == 1


def test_ir_version_of_the_future_is_refused() -> None:
    """A newer format may hold fields that this onnx drops without a word."""
    model = build([node("Relu", ["x"], ["y"])], [output("y")], ir_version=onnx.IR_VERSION + 1)
    text = refusal(model)
    assert f"E0104 model: the file is of ONNX IR version {onnx.IR_VERSION + 1}" in text
    assert f"reads versions up to {onnx.IR_VERSION}" in text
    assert "Upgrade the onnx package" in text


def test_newest_ir_version_is_read() -> None:
    model = build([node("Relu", ["x"], ["y"])], [output("y")], ir_version=onnx.IR_VERSION)
    check(model, [np.maximum(X, 0)])


def test_opset_of_the_future_is_refused() -> None:
    newest = onnx.defs.onnx_opset_version()
    text = refusal(build([node("Relu", ["x"], ["y"])], [output("y")], opset=newest + 1))
    assert f"E0104 model: the model uses opset {newest + 1}" in text
    assert f"up to {newest}" in text


def test_no_opset_import_is_the_oldest_meaning() -> None:
    """Before IR version 3 there was no opset_import, and opset 1 alone (ONNX IR specification)."""
    model = build([node("Relu", ["x"], ["y"])], [output("y")])
    del model.opset_import[:]
    made = compiled(model)
    np.testing.assert_array_equal(run(made, X)[0], np.maximum(X, 0))


def test_the_spelled_out_domain_is_the_default_one() -> None:
    model = build([node("Relu", ["x"], ["y"], domain="ai.onnx")], [output("y")])
    model.opset_import[0].domain = "ai.onnx"
    np.testing.assert_array_equal(run(compiled(model), X)[0], np.maximum(X, 0))


# -- names --------------------------------------------------------------------------------------------------


def test_duplicate_node_names_lose_no_node() -> None:
    """Edges are tensor names; node names mean nothing. (onnxruntime refuses this file.)"""
    nodes = [node("Relu", ["x"], ["a"], name="same"), node("Neg", ["a"], ["y"], name="same")]
    check(build(nodes, [output("y")]), [-np.maximum(X, 0)])


def test_nodes_named_like_tensors() -> None:
    nodes = [node("Relu", ["x"], ["a"], name="y"), node("Neg", ["a"], ["y"], name="x")]
    check(build(nodes, [output("y")]))


def test_nodes_without_names_are_named_by_their_output_in_messages() -> None:
    model = build([node("NoSuchOperator", ["x"], ["strange"])], [output("strange")])
    assert "node 'strange' (NoSuchOperator" in refusal(model)


@pytest.mark.parametrize(
    "name", ["images:0", "/stem/conv.0/out", "with space", "Ünï-码", "a" * 300, "%q\"'\\"]
)
def test_odd_tensor_names_are_kept(name: str) -> None:
    """Names are free text; users find their inputs and outputs under them."""
    info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])
    nodes = [node("Relu", [name], [f"{name}/a"]), node("Neg", [f"{name}/a"], [f"{name}:out"])]
    check(build(nodes, [output(f"{name}:out")], inputs=[info]))


def test_an_output_named_like_an_inner_tensor_of_a_lowering() -> None:
    """Lowerings name their nodes after the output, with a number: users' names of that form are safe."""
    nodes = [node("HardSwish", ["x"], ["y"]), node("Neg", ["x"], ["y_1"]), node("Abs", ["x"], ["y_2"])]
    check(build(nodes, [output("y_2"), output("y"), output("y_1")]))


def test_an_output_keeps_its_name_when_later_passes_make_nodes() -> None:
    """Nearest upsampling becomes other nodes after outputs got their names; none takes the name again."""
    image = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    nodes = [node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    check(build(nodes, [output("y", (1, 1, 4, 4))], inputs=[info], constants=scales), feeds=[image])


# -- inputs and outputs -------------------------------------------------------------------------------------


def test_unused_inputs_stay() -> None:
    """The signature is a contract: callers feed every declared input."""
    unused = helper.make_tensor_value_info("unused", TensorProto.FLOAT, [4])
    model = build([node("Relu", ["x"], ["y"])], [output("y")], inputs=[unused, INPUT])
    made = check(model, feeds=[np.zeros(4, np.float32), X])
    assert [info.name for info in made.report.inputs] == ["unused", "x"]


def test_an_output_that_is_an_input() -> None:
    model = build([node("Relu", ["x"], ["y"])], [output("x"), output("y")])
    made = compiled(model)
    through, computed = run(made, X)
    np.testing.assert_array_equal(through, X)
    np.testing.assert_array_equal(computed, np.maximum(X, 0))


def test_an_output_that_is_an_initializer_others_read() -> None:
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    model = build(nodes, [output("w", (3, 3)), output("y")], constants={"w": W})
    made = check(model)
    np.testing.assert_array_equal(run(made, X)[0], W)


def test_an_output_computed_from_constants_alone() -> None:
    nodes = [node("Add", ["w", "w"], ["twice"]), node("Relu", ["x"], ["y"])]
    check(build(nodes, [output("twice", (3, 3)), output("y")], constants={"w": W}))


def test_one_value_under_two_output_names() -> None:
    nodes = [node("Relu", ["x"], ["a"]), node("Identity", ["a"], ["b"]), node("Identity", ["a"], ["c"])]
    check(build(nodes, [output("c"), output("a"), output("b")]))


def test_the_same_output_listed_twice_is_named() -> None:
    """Two outputs of one name cannot be told apart by it: we keep both or say so."""
    model = build([node("Relu", ["x"], ["y"])], [output("y"), output("y")])
    try:
        made = compiled(model)
    except CompileError as error:
        assert "'y'" in str(error)
        return
    for array in run(made, X):
        np.testing.assert_array_equal(array, np.maximum(X, 0))
    assert len(made.report.outputs) == 2


def test_outputs_without_declared_types() -> None:
    """value_info and output types are optional: ours are inferred."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    model = build(nodes, [onnx.ValueInfoProto(name="y")], constants={"w": W})
    np.testing.assert_allclose(run(compiled(model), X)[0], np.maximum(X @ W, 0), rtol=1e-6)


def test_a_wrong_declared_output_shape_is_not_believed() -> None:
    """Exporters leave stale shapes behind; the operators say what the shape is."""
    model = build([node("Transpose", ["x"], ["y"], perm=[1, 0])], [output("y", (7, 7))])
    made = compiled(model)
    assert made.report.outputs[0].shape == (3, 2)


def test_an_output_that_nothing_computes_is_named() -> None:
    assert "E0113 output 'missing'" in refusal(build([node("Relu", ["x"], ["y"])], [output("missing")]))


def test_an_input_that_is_no_tensor_is_named() -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [2])
    model = build([node("SequenceAt", ["s", "i"], ["y"])], [output("y")], inputs=[sequence])
    assert "input 's'" in refusal(model)


# -- constants ----------------------------------------------------------------------------------------------


def test_shared_weights_are_stored_once_and_right_for_every_user() -> None:
    """One matrix as it is, transposed, and as an addend: no user sees what another does to it."""
    weights = np.random.default_rng(1).uniform(-1, 1, (64, 64)).astype(np.float32)
    x = np.random.default_rng(2).uniform(-1, 1, (2, 64)).astype(np.float32)
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 64])
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["a", "w"], ["b"]),
        node("MatMul", ["b", "w"], ["c"]),
        node("Gemm", ["c", "w"], ["d"], transB=1),
        node("MatMul", ["d", "w"], ["y"]),
    ]
    made = check(build(nodes, [output("y", (2, 64))], inputs=[info], constants={"w": weights}), feeds=[x])
    assert made.report.size_bytes < 2.5 * weights.nbytes  # the matrix and its transpose, not five copies


def test_unused_initializers_are_dropped() -> None:
    model = build(
        [node("Relu", ["x"], ["y"])], [output("y")], constants={"big": np.ones(100_000, np.float32)}
    )
    assert check(model).report.size_bytes < 10_000


def test_every_way_to_write_a_constant() -> None:
    """Constant nodes hold a tensor, numbers or a list; all mean the same."""
    nodes = [
        node("Constant", [], ["a"], value=numpy_helper.from_array(np.float32(2))),
        node("Constant", [], ["b"], value_float=2.0),
        node("Constant", [], ["c"], value_floats=[2.0, 2.0, 2.0]),
        node("Mul", ["x", "a"], ["p"]),
        node("Mul", ["p", "b"], ["q"]),
        node("Mul", ["q", "c"], ["y"]),
    ]
    check(build(nodes, [output("y")]))


@pytest.mark.parametrize("field", ["float_data", "raw_data"])
def test_both_encodings_of_a_tensor(field: str) -> None:
    model = build([node("Add", ["x", "c"], ["y"])], [output("y")])
    data = np.array([1, 2, 3], np.float32)
    raw = field == "raw_data"
    values = data.tobytes() if raw else data.tolist()
    model.graph.initializer.append(helper.make_tensor("c", TensorProto.FLOAT, [3], values, raw=raw))
    check(model)


def test_a_sparse_initializer_compiles_or_is_named() -> None:
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("c", TensorProto.FLOAT, [1], [5.0]),
        helper.make_tensor("", TensorProto.INT64, [1], [1]),
        [3],
    )
    model = build([node("Add", ["x", "c"], ["y"])], [output("y")])
    model.graph.sparse_initializer.append(sparse)
    try:
        made = compiled(model)
    except CompileError as error:
        assert "'c'" in str(error)
        return
    np.testing.assert_allclose(run(made, X)[0], X + np.array([0, 5, 0], np.float32))


def test_external_data(tmp_path: Path) -> None:
    """Weights in a file of their own, in a folder below, at an offset."""
    (tmp_path / "weights").mkdir()
    model = build([node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["y"])], [output("y")])
    for name, array in {"w": W, "b": W[0]}.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    path = tmp_path / "model.onnx"
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        location="weights/data.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    made = compiled(path)
    np.testing.assert_allclose(run(made, X)[0], X @ W + W[0], rtol=1e-6)
    both_files = path.stat().st_size + W.nbytes + W[0].nbytes  # the sizes that the report compares are whole
    assert made.report.source.size_bytes == both_files


# -- training leftovers, metadata ---------------------------------------------------------------------------


def test_dropout_is_the_identity_and_its_mask_is_true() -> None:
    nodes = [node("Dropout", ["x", "ratio"], ["y", "mask"])]
    model = build(
        nodes, [output("y"), output("mask", dtype=TensorProto.BOOL)], constants={"ratio": np.float32(0.5)}
    )
    made = check(model)
    assert run(made, X)[1].all()


def test_dropout_in_training_mode_is_refused() -> None:
    constants = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    model = build([node("Dropout", ["x", "ratio", "training"], ["y"])], [output("y")], constants=constants)
    text = refusal(model)
    assert "Dropout" in text
    assert "train" in text


def test_metadata_and_doc_strings_change_nothing() -> None:
    plain = build([node("Relu", ["x"], ["y"])], [output("y")])
    noted = onnx.ModelProto.FromString(plain.SerializeToString())
    noted.doc_string = noted.graph.doc_string = noted.graph.node[0].doc_string = "words " * 1000
    noted.graph.node[0].attribute.extend([])
    noted.producer_name, noted.producer_version, noted.domain, noted.model_version = (
        "a",
        "b",
        "org.example",
        9,
    )
    noted.metadata_props.add(key="author", value="somebody")
    noted.graph.value_info.append(helper.make_tensor_value_info("nowhere", TensorProto.FLOAT, [1]))
    assert compiled(noted).tflite == compiled(plain).tflite


def test_attributes_that_an_operator_does_not_have_are_ignored() -> None:
    """Old exporters leave `consumed_inputs` and their own notes; hundreds of them do no harm."""
    extra = {f"note_{i}": i for i in range(500)}
    np.testing.assert_array_equal(
        run(compiled(build([node("Relu", ["x"], ["y"], **extra)], [output("y")])), X)[0], np.maximum(X, 0)
    )


def test_a_chain_of_a_thousand_nodes() -> None:
    """Depth is no recursion: 1000 nodes in a row compile. Multiples of 2^-10 add up without rounding."""
    nodes = [node("Add", [f"v{i}", "one"], [f"v{i + 1}"]) for i in range(1000)]
    nodes.insert(0, node("Identity", ["x"], ["v0"]))
    model = build(nodes, [output("v1000")], constants={"one": np.float32([2**-10])})
    check(model, feeds=[np.round(X * 2**10) / np.float32(2**10)])


# -- functions ----------------------------------------------------------------------------------------------


def function(name: str, nodes: Sequence[onnx.NodeProto], *, domain: str = "mine") -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_function(domain, name, ["a"], ["b"], list(nodes), opsets)


def test_model_local_functions_are_inlined() -> None:
    body = [node("Relu", ["a"], ["t"]), node("Neg", ["t"], ["b"])]
    nodes = [node("NegRelu", ["x"], ["t"], domain="mine"), node("NegRelu", ["t"], ["y"], domain="mine")]
    check(build(nodes, [output("y")], functions=[function("NegRelu", body)]))


def test_functions_that_call_functions() -> None:
    inner = function("Inner", [node("Relu", ["a"], ["t"]), node("Neg", ["t"], ["b"])])
    outer = function("Outer", [node("Inner", ["a"], ["t"], domain="mine"), node("Exp", ["t"], ["b"])])
    model = build([node("Outer", ["x"], ["y"], domain="mine")], [output("y")], functions=[inner, outer])
    check(model)


def test_a_function_that_calls_itself_is_refused() -> None:
    loop = function("Again", [node("Again", ["a"], ["b"], domain="mine")])
    text = refusal(build([node("Again", ["x"], ["y"], domain="mine")], [output("y")], functions=[loop]))
    assert "E0123 the model's functions: cannot be inlined" in text
    assert "mine::Again" in text


def test_a_custom_operator_without_a_function_is_named() -> None:
    text = refusal(build([node("Mystery", ["x"], ["y"], domain="com.example")], [output("y")]))
    assert "E0201" in text
    assert "Mystery" in text
    assert "com.example" in text


# -- graphs that are wrong ----------------------------------------------------------------------------------


def test_an_unsorted_graph_compiles_right_or_is_explained() -> None:
    """ONNX demands sorted nodes. A graph that is merely out of order names what is read too early."""
    nodes = [node("Neg", ["a"], ["y"]), node("Relu", ["x"], ["a"])]
    text = refusal(build(nodes, [output("y")]))
    assert "'a'" in text
    assert "sorted" in text


def test_a_cycle_is_explained() -> None:
    nodes = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])]
    assert "'b'" in refusal(build(nodes, [output("b")]))


def test_every_failing_node_is_named_at_once() -> None:
    nodes = [node("NoSuch", ["x"], ["a"]), node("NorThis", ["x"], ["b"]), node("Add", ["a", "b"], ["y"])]
    text = refusal(build(nodes, [output("y")]))
    assert "NoSuch" in text
    assert "NorThis" in text


def test_a_value_computed_twice_is_named() -> None:
    """Static single assignment is ONNX's rule; a second producer of a name must not win in silence."""
    nodes = [node("Relu", ["x"], ["a"]), node("Neg", ["x"], ["a"]), node("Abs", ["a"], ["y"])]
    assert "E0122 node 'a' (Neg): computes 'a', which the graph has already" in refusal(
        build(nodes, [output("y")])
    )


def test_a_tensor_whose_data_do_not_fill_its_shape_is_named() -> None:
    model = build([node("Add", ["x", "c"], ["y"])], [output("y")], constants={"c": np.ones(3, np.float32)})
    model.graph.initializer[0].dims[0] = 4
    assert "initializer 'c'" in refusal(model)


# -- large files --------------------------------------------------------------------------------------------


def test_weights_go_to_the_file_without_a_second_copy(tmp_path: Path) -> None:
    """Above 2 GB buffers stand behind the flatbuffer. The same form with small weights runs and is right."""
    from edgec.emit import emit
    from tests.support.onnx_models import import_model

    model = build([node("MatMul", ["x", "w"], ["y"])], [output("y")], constants={"w": W})
    path = tmp_path / "external.tflite"
    with path.open("wb") as file:
        for chunk in emit(import_model(model), external=True).chunks():
            file.write(chunk)
    np.testing.assert_allclose(Runner(str(path), kernels=KernelSet.BUILTIN).run([X])[0], X @ W, rtol=1e-6)
