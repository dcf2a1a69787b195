"""Sequences inside of a model are resolved at import: what they hold comes out bit for bit."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import graph_model, import_model, run_onnxruntime, run_ours

X, Y, Z = (np.full((2, 3), value, np.float32) for value in (1, 2, 3))


def model(
    nodes: list[onnx.NodeProto],
    *,
    constants: dict[str, Array] | None = None,
    outputs: list[str] | None = None,
) -> onnx.ModelProto:
    return graph_model(nodes, {"x": X, "y": Y, "z": Z}, outputs or ["out"], constants=constants)


def check(nodes: list[onnx.NodeProto], **constants: Array) -> list[str]:
    proto = model(nodes, constants=constants)
    feeds = {"x": X, "y": Y, "z": Z}
    (ours,), (expected,) = run_ours(proto, feeds), run_onnxruntime(proto, feeds)
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours, expected)
    return [node.kind for node in import_model(proto).graph]


CONSTRUCT = helper.make_node("SequenceConstruct", ["x", "y", "z"], ["s"])


@pytest.mark.parametrize("place", [0, 2, -1, -3])
def test_at(place: int) -> None:
    """Places count from either end, and cost nothing."""
    at = helper.make_node("SequenceAt", ["s", "i"], ["out"])
    twice = helper.make_node("Add", ["out", "out"], ["double"])
    proto = graph_model(
        [CONSTRUCT, at, twice], {"x": X, "y": Y, "z": Z}, ["double"], constants={"i": np.array(place)}
    )
    assert [node.kind for node in import_model(proto).graph] == ["add"]
    np.testing.assert_array_equal(run_ours(proto, {"x": X, "y": Y, "z": Z})[0], 2 * [X, Y, Z][place])


def test_insert_and_erase() -> None:
    """In front of a place, at the end, and away again."""
    nodes = [
        helper.make_node("SequenceEmpty", [], ["e"]),
        helper.make_node("SequenceInsert", ["e", "x"], ["s1"]),
        helper.make_node("SequenceInsert", ["s1", "y"], ["s2"]),
        helper.make_node("SequenceInsert", ["s2", "z", "minus"], ["s3"]),
        helper.make_node("SequenceErase", ["s3", "zero"], ["s4"]),
        helper.make_node("ConcatFromSequence", ["s4"], ["out"], axis=1),
    ]
    assert check(nodes, minus=np.array(-1), zero=np.array(0)) == ["concatenation"]


def test_erase_takes_the_last() -> None:
    """Without a place."""
    nodes = [
        CONSTRUCT,
        helper.make_node("SequenceErase", ["s"], ["t"]),
        helper.make_node("SequenceLength", ["t"], ["out"]),
    ]
    assert check(nodes) == []


@pytest.mark.parametrize(("axis", "new_axis"), [(0, 0), (-1, 0), (0, 1), (-1, 1), (1, 1)])
def test_concat(axis: int, new_axis: int) -> None:
    """Along an axis, or stacked along a new one."""
    join = helper.make_node("ConcatFromSequence", ["s"], ["out"], axis=axis, new_axis=new_axis)
    check([CONSTRUCT, join])


@pytest.mark.parametrize(
    ("split", "keepdims"), [(None, 0), (None, 1), (np.array(2), 1), (np.array([1, 2]), 1)]
)
def test_split(split: Array | None, keepdims: int) -> None:
    """Single entries (with or without their axis), runs of one length, runs of given lengths."""
    operands = ["x"] if split is None else ["x", "sizes"]
    nodes = [
        helper.make_node("SplitToSequence", operands, ["s"], axis=1, keepdims=keepdims),
        helper.make_node("SequenceAt", ["s", "one"], ["out"]),
    ]
    constants = {"one": np.array(1)} | ({} if split is None else {"sizes": split})
    check(nodes, **constants)


def test_split_of_a_constant() -> None:
    """Its parts are constants too."""
    nodes = [
        helper.make_node("SplitToSequence", ["c"], ["s"], axis=0, keepdims=0),
        helper.make_node("SequenceAt", ["s", "one"], ["part"]),
        helper.make_node("Add", ["x", "part"], ["out"]),
    ]
    assert check(nodes, c=np.array([[1, 2, 3], [4, 5, 6]], np.float32), one=np.array(1)) == ["add"]


def test_map() -> None:
    """The body once for each tensor; tensors go to every step."""
    body = helper.make_graph(
        [helper.make_node("Mul", ["a", "b"], ["c"])],
        "body",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in ("a", "b")],
        [helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [2, 3])],
    )
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "y"], ["s"]),
        helper.make_node("SequenceMap", ["s", "z"], ["t"], body=body),
        helper.make_node("ConcatFromSequence", ["t"], ["out"], axis=0),
    ]
    proto = model(nodes)
    kinds = [node.kind for node in import_model(proto).graph]
    assert kinds == ["mul", "mul", "concatenation"]
    (result,) = run_ours(proto, {"x": X, "y": Y, "z": Z})
    np.testing.assert_array_equal(result, np.concatenate([X * Z, Y * Z]))


def test_optionals() -> None:
    """Whether there is an element is known, and so is the element."""
    nodes = [
        helper.make_node("Optional", ["x"], ["o"]),
        helper.make_node("OptionalHasElement", ["o"], ["has"]),
        helper.make_node("OptionalGetElement", ["o"], ["e"]),
        helper.make_node("Where", ["has", "e", "y"], ["out"]),
    ]
    proto = model(nodes)
    np.testing.assert_array_equal(run_ours(proto, {"x": X, "y": Y, "z": Z})[0], X)


def test_an_empty_optional() -> None:
    """It has no element, and reading one is an error that says so."""
    kind = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [2, 3])
    empty = helper.make_node("Optional", [], ["o"], type=kind)
    has = helper.make_node("OptionalHasElement", ["o"], ["out"])
    (output,) = import_model(model([empty, has])).graph.outputs
    assert output.constant() == np.False_
    with pytest.raises(CompileError, match="reads the element of an empty optional"):
        import_model(model([empty, helper.make_node("OptionalGetElement", ["o"], ["out"])]))


BAD = [
    (helper.make_node("SequenceAt", ["s", "three"], ["out"]), "names place 3 of a sequence of 3 tensors"),
    (helper.make_node("SequenceErase", ["s", "three"], ["out"]), "names place 3 of a sequence of 3 tensors"),
    (helper.make_node("SplitToSequence", ["x", "sizes"], ["out"]), r"splits 2 into \[1, 2\]"),
    (helper.make_node("Identity", ["s"], ["out"]), "output 'out'.*is not a tensor"),
]


@pytest.mark.parametrize(("node", "message"), BAD)
def test_bad_sequences_are_refused(node: onnx.NodeProto, message: str) -> None:
    """Places that do not exist, sizes that do not add up, sequences as outputs."""
    constants = {"three": np.array(3), "sizes": np.array([1, 2])}
    with pytest.raises(CompileError, match=message):
        import_model(model([CONSTRUCT, node], constants=constants))


def test_joining_nothing_is_refused() -> None:
    """The result would have no shape."""
    nodes = [
        helper.make_node("SequenceEmpty", [], ["s"]),
        helper.make_node("ConcatFromSequence", ["s"], ["out"], axis=0),
    ]
    with pytest.raises(CompileError, match="joins an empty sequence"):
        import_model(model(nodes))
