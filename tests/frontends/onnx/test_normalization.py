"""Normalizations, softmax, Dropout. Tolerance: some hundred float32 values, summed in different orders."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

RTOL, ATOL = 1e-4, 2e-5


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _check(op_type: str, x: Array, *constants: Array, opset: int = 17, **attributes: object) -> list[str]:
    named = {f"c{index}": constant for index, constant in enumerate(constants)}
    proto = node_model(op_type, {"x": x}, constants=named, opset=opset, **attributes)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)
    return [node.kind for node in import_model(proto).graph]


def _statistics(channels: int) -> tuple[Array, Array, Array, Array]:
    scale, bias, mean = (_random(channels, seed=seed) for seed in (1, 2, 3))
    return scale, bias, mean, np.abs(_random(channels, seed=4)) + np.float32(0.01)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 5, 4), (1, 3, 2, 3, 4)])
@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_normalization(shape: tuple[int, ...], opset: int) -> None:
    """At inference it is one mul and one add, at any rank and opset."""
    kinds = _check("BatchNormalization", _random(*shape), *_statistics(3), opset=opset, epsilon=1e-3)
    assert kinds == ["mul", "add"]


def test_batch_normalization_constants_are_computed_in_float64() -> None:
    """bias - mean * scale / deviation cancels: float32 steps would lose the small difference."""
    scale = np.array([3.0], np.float32)
    mean, var = np.array([1e4], np.float32), np.array([1e-4], np.float32)
    x = np.full((1, 1, 1, 1), 1e4, np.float32)
    bias = np.array([0.0], np.float32)
    constants = {"s": scale, "b": bias, "m": mean, "v": var}
    model = import_model(node_model("BatchNormalization", {"x": x}, constants=constants, epsilon=0.0))
    _, add = list(model.graph)
    want = -1e4 * 3.0 / np.sqrt(np.float64(var[0]))
    np.testing.assert_array_equal(add.operand(1).constant().reshape(-1), np.float32(want))


def test_batch_normalization_with_computed_statistics() -> None:
    """Statistics may be inputs."""
    scale, bias, mean, var = _statistics(3)
    feeds = {"x": _random(2, 3, 4, 5), "s": scale, "b": bias, "m": mean, "v": var}
    check_against_onnxruntime(node_model("BatchNormalization", feeds), feeds, rtol=RTOL, atol=ATOL)


def test_refuses_training() -> None:
    """Training mode is refused; the text says how to export."""
    constants = dict(zip("sbmv", _statistics(3), strict=True))
    proto = node_model(
        "BatchNormalization",
        {"x": _random(1, 3, 2, 2)},
        constants=constants,
        outputs=3,
        opset=15,
        training_mode=1,
    )
    with pytest.raises(CompileError, match=r"training mode.*model\.eval"):
        import_model(proto)


def test_refuses_statistics_for_each_activation() -> None:
    """spatial=0 existed before opset 9."""
    constants = dict(zip("sbmv", _statistics(3), strict=True))
    x = _random(1, 3, 2, 2)
    proto = node_model("BatchNormalization", {"x": x}, constants=constants, opset=7, spatial=0)
    with pytest.raises(CompileError, match="spatial=0"):
        import_model(proto)


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 4), (1, 3, 2, 3, 4)])
@pytest.mark.parametrize("opset", [7, 22])
def test_instance_normalization(shape: tuple[int, ...], opset: int) -> None:
    """Each channel of each sample by itself, at any rank."""
    _check(
        "InstanceNormalization", _random(*shape), _random(3), _random(3, seed=1), opset=opset, epsilon=1e-3
    )


def test_instance_normalization_survives_a_large_mean() -> None:
    """The variance comes from centred values; E[x^2] - E[x]^2 would lose all of it (error above 0.1)."""
    x = 1000 + _random(1, 2, 16, 16)
    proto = node_model(
        "InstanceNormalization", {"x": x}, constants={"s": np.ones(2, np.float32), "b": x[0, :, 0, 0] * 0}
    )
    wide = x.astype(np.float64)
    centred = wide - wide.mean((2, 3), keepdims=True)
    want = centred / np.sqrt((centred**2).mean((2, 3), keepdims=True) + 1e-5)
    # One unit in the last place of 1000 is 6e-5: the mean cannot be known better.
    np.testing.assert_allclose(run_ours(proto, {"x": x})[0], want, rtol=1e-3, atol=5e-4)


@pytest.mark.parametrize("axis", [-1, 1, -3])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(axis: int, bias: bool) -> None:
    """Over the last axes, with or without bias."""
    x = _random(2, 3, 5, 4)
    constants = [_random(*x.shape[axis:], seed=1), _random(*x.shape[axis:], seed=2)][: 1 + bias]
    _check("LayerNormalization", x, *constants, axis=axis, epsilon=1e-3)


def test_layer_normalization_returns_its_statistics() -> None:
    """The mean and the inverse deviation are optional results."""
    x = _random(2, 3, 5)
    proto = node_model("LayerNormalization", {"x": x}, constants={"s": _random(5)}, outputs=3)
    check_against_onnxruntime(proto, {"x": x}, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("shape", [(2, 6, 7), (2, 6, 5, 4)])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization(shape: tuple[int, ...], groups: int, opset: int) -> None:
    """Opset 18 scales groups, opset 21 channels."""
    count = groups if opset == 18 else 6
    x = _random(*shape)
    _check(
        "GroupNormalization",
        x,
        _random(count, seed=1),
        _random(count, seed=2),
        opset=opset,
        num_groups=groups,
    )


def test_refuses_groups_that_do_not_divide() -> None:
    """Six channels have no four groups."""
    constants = {"s": _random(4), "b": _random(4)}
    proto = node_model(
        "GroupNormalization", {"x": _random(1, 6, 2)}, constants=constants, opset=18, num_groups=4
    )
    with pytest.raises(CompileError, match="6 channels do not divide into 4 groups"):
        import_model(proto)


@pytest.mark.parametrize("axes", [None, [0, 1, 2, 3], [-1], [1, 3]])
@pytest.mark.parametrize("opset", [9, 13])
def test_mean_variance_normalization(axes: list[int] | None, opset: int) -> None:
    """Any axes; default all but the channels."""
    attributes = {} if axes is None else {"axes": axes}
    _check("MeanVarianceNormalization", _random(2, 3, 5, 4), opset=opset, **attributes)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalization(size: int) -> None:
    """Odd windows have a kernel."""
    kinds = _check("LRN", _random(2, 7, 3, 4), size=size, alpha=0.5, beta=0.6, bias=1.5)
    assert "local_response_normalization" in kinds


@pytest.mark.parametrize(("size", "shape"), [(2, (2, 7, 3, 4)), (4, (1, 7, 5, 3)), (3, (2, 5, 6))])
def test_local_response_normalization_without_a_kernel(size: int, shape: tuple[int, ...]) -> None:
    """Even windows (onnxruntime has none) lean towards later channels, as the ONNX formula says."""
    x = _random(*shape)
    proto = node_model("LRN", {"x": x}, size=size, alpha=0.5, beta=0.6, bias=1.5)
    (got,) = run_ours(proto, {"x": x})
    squares = [
        (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(axis=1) for c in range(shape[1])
    ]
    want = x / (1.5 + 0.5 / size * np.stack(squares, axis=1)) ** 0.6
    np.testing.assert_allclose(got, want, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_lp_normalization(p: int, axis: int) -> None:
    """Vectors of norm 1 along any axis; zeros stay zeros."""
    x = _random(3, 4, 5)
    x[:, :, 2] = 0
    x[:, 1] = 0
    proto = node_model("LpNormalization", {"x": x}, p=p, axis=axis)
    (got,) = run_ours(proto, {"x": x})
    norm = np.linalg.norm(x.astype(np.float64), ord=p, axis=axis, keepdims=True)
    np.testing.assert_allclose(got, np.divide(x, norm, where=norm != 0, out=np.zeros(x.shape)), rtol=1e-5)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(
    ("opset", "axis"), [(7, None), (11, 0), (11, 2), (11, -1), (13, None), (13, 1), (13, 0)]
)
def test_softmax_family(op_type: str, opset: int, axis: int | None) -> None:
    """Before opset 13 all axes from `axis` on are one row; from 13 on it is one axis."""
    attributes = {} if axis is None else {"axis": axis}
    _check(op_type, _random(2, 3, 4, 5) * 3, opset=opset, **attributes)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_of_a_vector(op_type: str) -> None:
    """Rank 1 is one row."""
    _check(op_type, _random(7), axis=0)


def test_softmax_does_not_overflow() -> None:
    """Large inputs are shifted before exp."""
    _check("Softmax", np.array([[1000, 999, -1000]], np.float32))


def test_hardmax_takes_the_first_of_equals() -> None:
    """Ties go to the first position."""
    x = np.array([[1, 3, 3, 2], [5, 5, 5, 5]], np.float32)
    proto = node_model("Hardmax", {"x": x})
    np.testing.assert_array_equal(run_ours(proto, {"x": x})[0], [[0, 1, 0, 0], [1, 0, 0, 0]])


def test_refuses_an_axis_out_of_range() -> None:
    """The text names axis and shape."""
    x = _random(2, 3)
    proto = node_model("Softmax", {"x": x}, axis=1)
    proto.graph.node[0].attribute[0].i = 5
    with pytest.raises(CompileError, match=r"axis 5 is out of range for input \[2, 3\]"):
        import_model(proto)


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout_is_the_value_itself(opset: int) -> None:
    """Inference drops nothing and leaves no node."""
    assert _check("Dropout", _random(2, 3), opset=opset) == []


@pytest.mark.parametrize("opset", [7, 10, 12, 13])
def test_dropout_mask(opset: int) -> None:
    """The mask keeps everything since opset 12; before it is zero, in opset 7 as floats."""
    x = _random(2, 3)
    check_against_onnxruntime(node_model("Dropout", {"x": x}, outputs=2, opset=opset), {"x": x})


def test_refuses_dropout_in_training() -> None:
    """Random results cannot be compiled."""
    constants = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    proto = node_model("Dropout", {"x": _random(2, 3)}, constants=constants, opset=13)
    with pytest.raises(CompileError, match="training mode"):
        import_model(proto)
