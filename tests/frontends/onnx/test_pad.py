"""Pad moves data or adds a constant: every comparison is without tolerance."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model


def ramp(*shape: int, dtype: type = np.float32) -> Array:
    return (np.arange(np.prod(shape), dtype=np.int64).reshape(shape) + 1).astype(dtype)


def pad_model(
    x: Array,
    pads: list[int],
    *,
    mode: str | None = None,
    value: float | None = None,
    axes: list[int] | None = None,
    opset: int = 13,
) -> onnx.ModelProto:
    attributes = {} if mode is None else {"mode": mode}
    if opset < 11:
        extra = {} if value is None else {"value": value}
        return node_model("Pad", {"x": x}, opset=opset, pads=pads, **attributes, **extra)
    constants: dict[str, Array] = {"pads": np.array(pads, np.int64)}
    order = ["x", "pads", "" if value is None else "value"]
    if value is not None:
        constants["value"] = np.array(value, x.dtype)
    if axes is not None:
        constants["axes"] = np.array(axes, np.int64)
        order.append("axes")
    while not order[-1]:
        order.pop()
    return node_model("Pad", {"x": x}, constants=constants, order=order, opset=opset, **attributes)


def check(proto: onnx.ModelProto, x: Array) -> list[str]:
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)
    return [node.kind for node in import_model(proto).graph]


@pytest.mark.parametrize("opset", [7, 11, 13, 18, 21])
@pytest.mark.parametrize(("value", "kind"), [(None, "pad"), (0.0, "pad"), (1.5, "padv2"), (-np.inf, "padv2")])
def test_constant(opset: int, value: float | None, kind: str) -> None:
    """Zeros take the kernel that every delegate has."""
    x = ramp(1, 2, 3, 4)
    assert check(pad_model(x, [0, 0, 1, 2, 0, 1, 0, 3], value=value, opset=opset), x) == [kind]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.bool_])
def test_constant_of_other_types(dtype: type) -> None:
    """Integers and flags pad like floats."""
    x = ramp(2, 3, dtype=dtype)
    assert check(pad_model(x, [1, 0, 0, 2], value=1), x) == ["padv2"]


def test_named_axes() -> None:
    """Opset 18 names the axes that the pads are for, also from the end."""
    x = ramp(1, 2, 3, 4)
    assert check(pad_model(x, [1, 2, 3, 0], axes=[-1, 2], opset=18), x) == ["pad"]


@pytest.mark.parametrize("shape", [(2, 1, 2, 1, 2, 2), (1, 1, 2, 2, 1, 1, 2)])
@pytest.mark.parametrize("value", [None, 2.5])
def test_beyond_the_rank_of_the_kernel(shape: tuple[int, ...], value: float | None) -> None:
    """The kernels stop at five axes; one axis at a time needs three."""
    x = ramp(*shape)
    pads = [0] * (2 * len(shape))
    pads[0], pads[3], pads[len(shape) + 3], pads[-1] = 1, 2, 1, 3
    check(pad_model(x, pads, value=value), x)


def test_nothing_to_pad_costs_nothing() -> None:
    """Exporters leave such nodes behind."""
    x = ramp(2, 3)
    assert check(pad_model(x, [0, 0, 0, 0], value=3.0), x) == []


def test_negative_pads_cut() -> None:
    """A negative pad removes entries, beside another axis that gains some."""
    x = ramp(4, 5)
    assert check(pad_model(x, [-1, 2, -2, 0]), x) == ["slice", "pad"]
    assert check(pad_model(x, [-1, 0, 0, -3]), x) == ["slice"]


def test_reflection() -> None:
    """A single mirror image is one kernel for all axes."""
    x = ramp(1, 2, 4, 5)
    assert check(pad_model(x, [0, 0, 3, 2, 0, 0, 1, 4], mode="reflect"), x) == ["mirror_pad"]


def test_edge() -> None:
    """Borders are repeated slices, joined; corners repeat the corner."""
    x = ramp(1, 1, 3, 4)
    kinds = check(pad_model(x, [0, 0, 1, 0, 0, 0, 0, 2], mode="edge"), x)
    assert kinds == ["slice", "concatenation", "slice", "tile", "concatenation"]
    check(pad_model(x, [1, 2, 4, 1, 0, 1, 5, 2], mode="edge"), x)


def test_wrap() -> None:
    """The other end, repeatedly where the pad is longer than the axis."""
    x = ramp(3, 4)
    assert check(pad_model(x, [1, 0, 0, 0], mode="wrap", opset=19), x) == ["slice", "concatenation"]
    check(pad_model(x, [7, 4, 2, 9], mode="wrap", opset=19), x)


@given(st.data())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_anything(data: st.DataObject) -> None:
    """Every mode, with pads of both signs that leave something on each axis."""
    dims = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=4))
    mode = data.draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    value = data.draw(st.sampled_from([None, 0.0, -2.5])) if mode == "constant" else None
    lowest = -1 if mode == "constant" else 0
    largest = {"reflect": 1, "wrap": 2}.get(mode, 3)
    sides = [data.draw(st.integers(lowest, largest)) for _ in range(2 * len(dims))]
    for axis, dim in enumerate(dims):
        if dim + sides[axis] + sides[axis + len(dims)] < 1:
            sides[axis] = 0
    x = ramp(*dims)
    check(pad_model(x, sides, mode=mode, value=value, opset=19), x)


@pytest.mark.parametrize("sizes", [[5, 2], [2, 7], [4, 4], [3, 1]])
def test_center_crop_pad(sizes: list[int]) -> None:
    """Of an odd count, the larger half is cut or added behind."""
    x = ramp(3, 4)
    proto = node_model("CenterCropPad", {"x": x}, constants={"shape": np.array(sizes, np.int64)}, opset=18)
    check(proto, x)


def test_too_deep_a_cut_is_refused() -> None:
    """The error shows the input."""
    with pytest.raises(CompileError, match=r"cuts more than the input \[2\] has"):
        import_model(pad_model(ramp(2), [-2, -1]))


def test_an_unknown_mode_is_refused() -> None:
    """The error lists the known ones."""
    with pytest.raises(CompileError, match=r"has mode 'symmetric'.*constant, reflect, edge and wrap"):
        import_model(pad_model(ramp(2), [1, 1], mode="symmetric"))


def test_pads_for_other_axes_are_refused() -> None:
    """Three pads are no pairs."""
    with pytest.raises(CompileError, match=r"has pads \[1, 1, 1\] for 1 axes"):
        import_model(pad_model(ramp(2), [1, 1, 1]))
