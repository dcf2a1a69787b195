"""Shapes, axes, bounds, pads and counts that the model computes: one file follows them all.

Movement changes no bit, so most comparisons are without tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.control_flow import check, compiled, model, node

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
EXAMPLES = settings(max_examples=25, derandomize=True, deadline=None)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def same(
    op_type: str, *samples: dict[str, Array], order: list[str] | None = None, **attributes: object
) -> None:
    """Check one node, whose operands are all inputs, on samples of equal types."""
    outputs = {"TopK": ["y", "i"]}.get(op_type, ["y"])
    opset = int(str(attributes.pop("opset", 18)))
    nodes = [node(op_type, order or list(samples[0]), outputs, **attributes)]
    check(model(nodes, samples[0], outputs, opset=opset), *samples, rtol=0, atol=0)


def test_reshape() -> None:
    """0 keeps the input's dimension, -1 takes the rest; with allowzero 0 is 0."""
    shapes = [ints(4, 6), ints(0, -1), ints(-1, 12), ints(0, 12)]
    same("Reshape", *({"x": X, "shape": shape} for shape in shapes))
    same("Reshape", {"x": X, "shape": ints(1, 2, 0, -1)}, {"x": X, "shape": ints(1, 0, 4, 2)})
    same("Reshape", {"x": X[:, :0], "shape": ints(4, 0)}, allowzero=1)


def test_expand_and_tile() -> None:
    """The result's rank is known, its sizes are not."""
    x = X[:, :1]
    same("Expand", {"x": x, "shape": ints(2, 5, 4)}, {"x": x, "shape": ints(2, 1, 1)})
    same("Expand", {"x": X[0, :, :1], "shape": ints(2, 3, 4)})
    same("Expand", {"x": np.array(3, np.float32), "shape": ints(2, 3)})
    same("Tile", {"x": X, "repeats": ints(1, 2, 1)}, {"x": X, "repeats": ints(2, 1, 3)})


BOUNDS = [
    (0, 3, 1),
    (-3, 99, 2),
    (1, np.iinfo(np.int64).max, 1),
    (-1, -99, -1),
    (3, np.iinfo(np.int64).min, -2),
]


@pytest.mark.parametrize("axes", [None, [2], [-2]])
def test_slice(axes: list[int] | None) -> None:
    """Negative and huge bounds, steps of either sign; axes computed as well."""
    samples: list[dict[str, Array]] = []
    for start, end, step in BOUNDS:
        sample = {"x": X.transpose(2, 1, 0).copy(), "starts": ints(start), "ends": ints(end)}
        sample |= {"axes": ints(*axes)} if axes is not None else {}
        samples.append(sample | {"steps": ints(step)})
    order = ["x", "starts", "ends", "axes" if axes is not None else "", "steps"]
    same("Slice", *samples, order=order)


def test_slice_without_axes_keeps_the_others() -> None:
    """What no bound speaks of stays known."""
    sample = {"x": X, "starts": ints(0, 1), "ends": ints(1, 3)}
    proto = model([node("Slice", list(sample), ["y"])], sample, ["y"])
    assert check(proto, sample).report.outputs[0].shape == (-1, -1, 4)


def test_slice_along_computed_axes() -> None:
    """In any order, negative ones, too."""
    samples = [
        {"x": X, "starts": ints(1, 0), "ends": ints(3, 1), "axes": ints(*axes), "steps": ints(1, 1)}
        for axes in ((2, 0), (-1, -2), (1, 2))
    ]
    same("Slice", *samples)


@EXAMPLES
@given(st.permutations([0, 1, 2]), st.integers(1, 2), st.booleans())
def test_squeeze_and_unsqueeze(order: list[int], count: int, negative: bool) -> None:
    """Computed axes in any order."""
    axes = [axis - 3 if negative else axis for axis in order[:count]]
    shape = [1 if index in order[:count] else index + 2 for index in range(3)]
    same("Squeeze", {"x": np.zeros(shape, np.float32), "axes": ints(*axes)})
    same("Unsqueeze", {"x": X[..., 0] if count == 1 else X[0, :, 0], "axes": ints(*axes)})


@pytest.mark.parametrize("op_type", ["ReduceSum", "ReduceMax", "ReduceLogSumExp", "ReduceL2"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(op_type: str, keepdims: int) -> None:
    """Computed axes; a vector without any means all axes, as the node says."""
    x = np.linspace(0.5, 2, 24, dtype=np.float32).reshape(2, 3, 4)
    samples = [{"x": x, "axes": ints(*axes)} for axes in ((0, 2), (-1, 1), (2, 0))]
    proto = model([node(op_type, ["x", "axes"], ["y"], keepdims=keepdims)], samples[0], ["y"], opset=18)
    check(proto, *samples, rtol=1e-6)
    everything = {"x": x, "axes": ints()}
    check(model([node(op_type, ["x", "axes"], ["y"])], everything, ["y"], opset=18), everything, rtol=1e-6)


def test_maximum_of_nothing_is_minus_infinity() -> None:
    """Kernels say the lowest finite number, ONNX says -inf."""
    empty = np.zeros((2, 0, 4), np.float32)
    same("ReduceMax", {"x": empty, "axes": ints(1)})
    same("ReduceMin", {"x": empty, "axes": ints(1)})


def test_counts() -> None:
    """k of TopK, depth of OneHot, sizes of Split, bounds of Range, the axis of CumSum."""
    same("TopK", {"x": X, "k": ints(2)}, {"x": X, "k": ints(4)}, axis=2)
    values, indices = np.array([-1, 5], np.float32), ints(0, -1, 7, 2)
    same("OneHot", *({"i": indices, "d": ints(n), "v": values} for n in (3, 8)), axis=0)
    same(
        "Range",
        *(dict(zip("abc", map(np.array, bounds), strict=True)) for bounds in ((0, 7, 3), (5, -3, -2))),
    )
    same(
        "Range",
        {"a": np.array(0.5, np.float32), "b": np.array(2, np.float32), "c": np.array(0.25, np.float32)},
    )
    same("CumSum", {"x": X, "axis": np.array(1)}, {"x": X, "axis": np.array(-1)})
    same("ConstantOfShape", {"shape": ints(2, 3)}, {"shape": ints(0, 5)})


def test_split() -> None:
    """Parts of computed sizes, also empty ones."""
    samples = [{"x": X, "split": ints(*sizes)} for sizes in ((1, 3), (4, 0), (2, 2))]
    proto = model([node("Split", ["x", "split"], ["a", "b"], axis=2)], samples[0], ["a", "b"])
    check(proto, *samples, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad(mode: str) -> None:
    """Positive pads add, negative ones cut; reflect and wrap go on beyond one copy where ONNX does."""
    pads = [(0, 1, 2, 0, 0, 1), (0, -1, 0, 0, 1, -2), (1, 0, 3, 0, 2, 3)]
    samples: list[dict[str, Array]] = [{"x": X, "pads": ints(*item)} for item in pads]
    same("Pad", *samples, mode=mode, opset=19)
    with_axes = {"x": X, "pads": ints(1, 1), "value": np.array(7, np.float32), "axes": ints(-1)}
    same("Pad", with_axes, with_axes | {"axes": ints(1)}, mode=mode, opset=19)


def test_center_crop_pad() -> None:
    """Sizes above and below the input's, odd differences included."""
    same("CenterCropPad", {"x": X, "shape": ints(5, 2)}, {"x": X, "shape": ints(2, 1)}, axes=[1, 2])


def test_shapes_of_unknown_length_are_refused() -> None:
    """A shape with a computed number of entries would leave the rank open."""
    nodes = [node("NonZero", ["x"], ["n"]), node("Flatten", ["n"], ["f"], axis=0)]
    nodes += [node("Squeeze", ["f"], ["v"]), node("Reshape", ["x", "v"], ["y"])]
    with pytest.raises(CompileError, match="drops every axis of size 1"):
        compiled(model(nodes, {"x": X}, ["y"]))


def test_micro_target_refuses_dynamic_sizes() -> None:
    """TFLM plans its arena once."""
    proto = model([node("TopK", ["x", "k"], ["y", "i"])], {"x": X, "k": ints(2)}, ["y", "i"])
    with pytest.raises(CompileError) as refused:
        compiled(proto, target="cortex-m7")
    assert "E0415" in {item.code for item in refused.value.diagnostics}
