"""MatMul and Gemm. Tolerance: a few dozen float32 products are summed in different orders."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model

RTOL, ATOL = 1e-4, 1e-5


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _kinds(
    op_type: str, inputs: dict[str, Array], constants: dict[str, Array], **kwargs: object
) -> list[str]:
    order = sorted({**inputs, **constants})
    proto = node_model(op_type, inputs, constants=constants, order=order, **kwargs)
    check_against_onnxruntime(proto, inputs, rtol=RTOL, atol=ATOL)
    return [node.kind for node in import_model(proto).graph]


SHAPES = [
    ((3, 5), (5, 4)),
    ((5,), (5, 4)),
    ((3, 5), (5,)),
    ((5,), (5,)),
    ((2, 3, 5), (5,)),
    ((5,), (2, 5, 4)),
    ((2, 3, 5), (5, 4)),
    ((2, 3, 5), (1, 5, 4)),
    ((3, 5), (2, 5, 4)),
    ((2, 1, 3, 5), (4, 5, 6)),
    ((2, 1, 2, 1, 3, 5), (2, 1, 2, 1, 5, 4)),
    ((2, 1, 2, 1, 3, 5), (5, 4)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
@pytest.mark.parametrize("constant", ["none", "left", "right"])
@pytest.mark.parametrize("opset", [7, 13])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], constant: str, opset: int) -> None:
    """NumPy's matmul for every pair of ranks, whichever operand is constant."""
    values = {"a": _random(*left), "b": _random(*right, seed=1)}
    constants = {name: values.pop(name) for name in {"left": "a", "right": "b"}.get(constant, "")}
    _kinds("MatMul", values, constants, opset=opset)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (2, 4, 3, 5)])
def test_constant_weights_become_fully_connected(shape: tuple[int, ...]) -> None:
    """One fully_connected, leading axes untouched."""
    assert _kinds("MatMul", {"a": _random(*shape)}, {"b": _random(5, 4)}) == ["fully_connected"]


def test_two_computed_operands_become_batch_matmul() -> None:
    """Attention's product of two activations."""
    inputs = {"a": _random(2, 3, 5), "b": _random(2, 5, 4)}
    assert _kinds("MatMul", inputs, {}) == ["batch_matmul"]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_matmul_is_exact(dtype: type) -> None:
    """Products whose sum exceeds float32's 24 bits come out whole."""
    a = np.arange(24).reshape(2, 3, 4).astype(dtype) * 9999
    b = np.arange(20).reshape(4, 5).astype(dtype) - 7
    proto = node_model("MatMul", {"a": a}, constants={"b": b})
    check_against_onnxruntime(proto, {"a": a}, rtol=0, atol=0)


def test_refuses_large_integer_products() -> None:
    """Integers have no matrix kernel: beyond a bound on memory the refusal says to cast."""
    a = np.ones((256, 256), np.int32)
    with pytest.raises(CompileError, match="Cast the operands to float32"):
        import_model(node_model("MatMul", {"a": a}, constants={"b": a}))


def test_refuses_broadcasting_beyond_rank_5() -> None:
    """Batch axes that broadcast in both directions fit no kernel at rank 6."""
    inputs = {"a": _random(2, 1, 2, 1, 3, 5), "b": _random(1, 2, 1, 2, 5, 4)}
    with pytest.raises(CompileError, match="broadcasts up to rank 5"):
        import_model(node_model("MatMul", inputs))


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("c", [None, (4,), (1, 4), (3, 4), (3, 1), (1,)])
def test_gemm(trans_a: int, trans_b: int, constant: bool, c: tuple[int, ...] | None) -> None:
    """alpha, beta, both transpositions and every broadcast of C."""
    values = {"b": _random(*((4, 5) if trans_b else (5, 4)), seed=1)}
    if c is not None:
        values["c"] = _random(*c, seed=2).reshape(c)
    inputs = {"a": _random(*((5, 3) if trans_a else (3, 5)))}
    attributes = {"alpha": 0.5, "beta": -2.0, "transA": trans_a, "transB": trans_b}
    if constant:
        _kinds("Gemm", inputs, values, **attributes)
    else:
        _kinds("Gemm", inputs | values, {}, **attributes)


@pytest.mark.parametrize("opset", [7, 9, 11, 13])
def test_gemm_of_a_dense_layer_is_one_node(opset: int) -> None:
    """Constant weights and a bias vector are one fully_connected at every opset."""
    constants = {"b": _random(4, 5), "c": _random(4)}
    assert _kinds("Gemm", {"a": _random(3, 5)}, constants, transB=1, opset=opset) == ["fully_connected"]


def test_gemm_with_computed_bias() -> None:
    """A bias computed at run time is scaled and added."""
    inputs = {"a": _random(3, 5), "c": _random(4)}
    kinds = _kinds("Gemm", inputs, {"b": _random(5, 4)}, beta=0.5)
    assert kinds == ["fully_connected", "mul", "add"]
