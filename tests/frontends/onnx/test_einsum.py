"""Einsum: every equation gives NumPy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgec.diagnostics import CompileError
from edgec.frontends.onnx.context import LoweringError
from edgec.frontends.onnx.lowerings.einsum import parse_equation
from edgec.ir import Array
from tests.support.onnx_models import import_model, run_ours

SIZES = {"b": 2, "h": 3, "i": 4, "j": 4, "k": 5, "l": 2, "q": 3, "d": 6, "a": 3}


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _model(equation: str, inputs: list[Array], constants: list[Array]) -> ModelProto:
    """Return an Einsum of runtime inputs x0, x1, … followed by constant operands c0, c1, …"""
    names = [f"x{i}" for i in range(len(inputs))] + [f"c{i}" for i in range(len(constants))]
    node = helper.make_node("Einsum", names, ["y"], equation=equation)
    kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in inputs]
    graph = helper.make_graph(
        [node],
        "test",
        [
            helper.make_tensor_value_info(f"x{i}", kind, array.shape)
            for i, (kind, array) in enumerate(zip(kinds, inputs, strict=True))
        ],
        [helper.make_tensor_value_info("y", kinds[0] if kinds else TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(constants)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _run(equation: str, inputs: list[Array], constants: list[Array] | None = None) -> Array:
    feeds = {f"x{i}": array for i, array in enumerate(inputs)}
    (y,) = run_ours(_model(equation, inputs, constants or []), feeds)
    return y


def _operands(equation: str) -> list[Array]:
    words = equation.replace(" ", "").split("->")[0].split(",")
    return [_random(*(SIZES[label] for label in word), seed=i) for i, word in enumerate(words)]


@pytest.mark.parametrize(
    "equation",
    [
        "ij->ji",
        "bij->b",
        "i,i->",
        "i,j->ij",
        "ij,jk->ik",
        "bij,bjk->bik",
        "bhid,bhjd->bhij",
        "bihd,bjhd->bhij",
        "bhij,bjhd->bihd",
        "bij,bkj->ibk",
        "ij,kl->iljk",
        "ij,ij->i",
        "bij , jk -> kib",
        "ij,jk",
        "ba",
        "ii->i",
        "ii",
        "bii->ib",
        "iij->j",
        "ij,jk,kl->il",
        "bi,bj,bk->ijk",
        "i,ij,j->",
        "bhij,bhjk,bl->bhikl",
        "ij,->ij",
        "iijj->ij",
        "iik,ikk->i",
    ],
)
def test_equation_gives_numpys_numbers(equation: str) -> None:
    """Explicit and implicit results, sums, outer products, diagonals and several operands."""
    operands = _operands(equation)
    expected = np.einsum(equation.replace(" ", ""), *operands)
    np.testing.assert_allclose(_run(equation, operands), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...ij->...ji", [(2, 3, 4, 5)]),
        ("...ij,...jk->...ik", [(2, 3, 4, 5), (3, 5, 2)]),
        ("...ij,...jk->...ik", [(2, 1, 4, 5), (1, 3, 5, 2)]),
        ("...ij,...jk", [(2, 4, 5), (2, 5, 2)]),
        ("b...,...->...b", [(2, 3, 4), (3, 4)]),
        ("...,...->...", [(2, 3, 4), (4,)]),
        ("i...,j->j...i", [(2, 3, 4), (5,)]),
        ("ij,jk->ik", [(2, 1), (4, 3)]),
        ("bij,bij->bij", [(1, 3, 4), (2, 1, 4)]),
    ],
)
def test_ellipsis_and_size_one_broadcast(equation: str, shapes: list[tuple[int, ...]]) -> None:
    """Axes under an ellipsis align at their end; a size of 1 repeats, as in NumPy."""
    operands = [_random(*shape, seed=i) for i, shape in enumerate(shapes)]
    expected = np.einsum(equation, *operands)
    np.testing.assert_allclose(_run(equation, operands), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("equation", ["bij,jk->bik", "bij,kj->bik", "bihd,hdk->bik", "bi,bij->bj"])
def test_constant_operand(equation: str) -> None:
    """A constant operand without batch axes becomes the weights of a fully_connected."""
    x, weights = _operands(equation)
    expected = np.einsum(equation, x, weights)
    np.testing.assert_allclose(_run(equation, [x], [weights]), expected, rtol=1e-5, atol=1e-5)
    kinds = {node.kind for node in import_model(_model(equation, [x], [weights])).graph}
    assert ("fully_connected" in kinds) == (equation != "bi,bij->bj")


def test_attention_scores_need_no_transpose_of_the_keys() -> None:
    """bhid,bhjd: the keys' axes stay, batch_matmul itself transposes them."""
    operands = _operands("bhid,bhjd->bhij")
    kinds = [node.kind for node in import_model(_model("bhid,bhjd->bhij", operands, [])).graph]
    assert "transpose" not in kinds
    assert kinds.count("batch_matmul") == 1


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_are_exact(dtype: type[np.integer]) -> None:
    """Products and sums stay in the integers: 2**25 + 1 has no float32."""
    x = np.array([[2**25, 1], [3, 5]], dtype)
    y = np.array([[1, 2], [1, 7]], dtype)
    result = _run("ij,jk->ik", [x, y])
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, x @ y)


def test_equation_that_does_not_fit_names_the_operand() -> None:
    """The refusal quotes the equation and says which part of it does not fit."""
    with pytest.raises(CompileError) as caught:
        _run("ij,jk->ik", [_random(2, 3), _random(3)])
    assert "'ij,jk->ik'" in str(caught.value)
    assert "'jk' does not fit an operand with 1 axes" in str(caught.value)


@pytest.mark.parametrize(
    ("equation", "ranks"), [("ij->ijj", [2]), ("ij->k", [2]), ("i,j->ij", [1]), ("i1", [2])]
)
def test_unreadable_equations_are_refused(equation: str, ranks: list[int]) -> None:
    """Labels twice in the result, unknown labels, another number of operands, and digits."""
    with pytest.raises(LoweringError, match="cannot read the equation"):
        parse_equation(equation, ranks)


def test_sizes_that_differ_are_refused() -> None:
    """One label stands for one size."""
    with pytest.raises(CompileError, match="sizes 3 and 4 under one label"):
        _run("ij,jk->ik", [_random(2, 3), _random(4, 2)])
