"""Every board compiles what it lists, in every form of weights, and refuses the rest with a reason."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.diagnostics import CompileError
from edgec.ir import DType
from edgec.options import Precision, WeightType
from edgec.quantize.legality import weight_types
from edgec.targets import list_targets, load_target

FORMS: tuple[WeightType | None, ...] = (None, *get_args(WeightType))
ALL = [(board, p, w) for board in list_targets() for p in get_args(Precision) for w in FORMS]


@cache
def network() -> onnx.ModelProto:
    """A 3x3 convolution and a dense layer, large enough for int4 (1024 weights and more)."""
    random = np.random.default_rng(0)
    shapes = {"k": (32, 8, 3, 3), "b": (32,), "m": (32 * 16, 10)}
    constants = [
        numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 6, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "network", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def compiled(board: str, precision: Precision, weights: WeightType | None) -> edgec.Compiled:
    samples = np.random.default_rng(1).normal(size=(8, 1, 8, 6, 6)).astype(np.float32)
    needs = {"calibration": {"x": samples}} if precision in ("int8", "int16x8") else {}
    return edgec.compile(network(), target=board, precision=precision, weights=weights, **needs)


def listed(board: str, precision: str, weights: WeightType | None) -> bool:
    target = load_target(board)
    runs = precision in target.precisions
    return runs and (weights is None or weights in weight_types(precision, target.profile))


@pytest.mark.parametrize(("board", "precision", "weights"), [case for case in ALL if listed(*case)])
def test_what_a_board_lists_compiles(board: str, precision: Precision, weights: WeightType | None) -> None:
    """10 dB and more against the source (int4 weights without repairs), in the element types asked for."""
    made = compiled(board, precision, weights)
    assert made.report.verification is not None
    assert min(output.sqnr_db for output in made.report.verification.outputs) > 10
    kinds = _element_types(made.tflite)
    wanted = {"int8": DType.INT8, "int16x8": DType.INT16, "float16": DType.FLOAT16}.get(precision)
    assert wanted is None or wanted in kinds
    assert (DType.INT4 in kinds) == (weights == "int4")
    assert (DType.FLOAT32 in kinds) == (precision not in ("int8", "int16x8"))


@pytest.mark.parametrize(("board", "precision", "weights"), [case for case in ALL if not listed(*case)])
def test_what_a_board_does_not_list_is_refused(
    board: str, precision: Precision, weights: WeightType | None
) -> None:
    """The message says what, why and what to do instead."""
    with pytest.raises(CompileError) as caught:
        compiled(board, precision, weights)
    (problem,) = caught.value.diagnostics
    assert precision in problem.what or (weights is not None and weights in problem.what)
    assert problem.why and problem.next_step


def test_the_list_is_of_both_kinds() -> None:
    """Microcontrollers have int4 beside int8 alone; float weights of their own form have no other."""
    assert weight_types("int8", "tflm") == ("int8", "int4")
    assert weight_types("int16x8", "tflm") == ("int8",)
    assert weight_types("float32", "tflm") == weight_types("float16", "litert_xnnpack") == ()
    assert weight_types("dynamic", "litert_xnnpack") == ("int8", "int4")


def _element_types(content: bytes) -> set[DType]:
    from edgec.emit.options import schema

    names = {value: name for name, value in vars(schema().TensorType).items() if isinstance(value, int)}
    tensors = schema().ModelT.InitFromPackedBuf(content, 0).subgraphs[0].tensors
    return {DType(names[tensor.type].lower()) for tensor in tensors}
