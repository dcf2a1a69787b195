"""Movement changes no bit: every comparison is without tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import check_against_onnxruntime, import_model, node_model, run_ours

INT64_MAX = np.iinfo(np.int64).max
EXAMPLES = settings(max_examples=60, derandomize=True, deadline=None)


def ramp(*shape: int, dtype: type = np.float32) -> Array:
    """Return distinct values, so that no misplaced element goes unnoticed."""
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(dtype)


def check(proto: onnx.ModelProto, x: Array) -> list[str]:
    """Compare exactly; return the kinds of the nodes."""
    check_against_onnxruntime(proto, {"x": x}, rtol=0, atol=0)
    return [node.kind for node in import_model(proto).graph]


def ints(values: list[int]) -> Array:
    return np.array(values, np.int64)


def with_operand_or_attribute(
    op_type: str, x: Array, name: str, values: list[int] | None, opset: int, since: int, **attributes: Any
) -> onnx.ModelProto:
    """Return a node whose setting is an attribute before opset `since` and an operand from then on."""
    if values is None:
        return node_model(op_type, {"x": x}, opset=opset, **attributes)
    if opset < since:
        return node_model(op_type, {"x": x}, opset=opset, **{name: values}, **attributes)
    return node_model(op_type, {"x": x}, constants={name: ints(values)}, opset=opset, **attributes)


@pytest.mark.parametrize("shape", [[4, 6], [-1], [0, -1], [2, 0, 4], [0, 0, 2, -1], [1, 24, 1], [2, 3, 4]])
@pytest.mark.parametrize("opset", [7, 13, 14, 21])
def test_reshape(shape: list[int], opset: int) -> None:
    """0 copies a dimension, -1 takes the rest; the same shape costs nothing."""
    x = ramp(2, 3, 4)
    kinds = check(node_model("Reshape", {"x": x}, constants={"shape": ints(shape)}, opset=opset), x)
    assert kinds == ([] if shape in ([2, 3, 4], [2, 0, 4]) else ["reshape"])


def test_reshape_to_a_scalar() -> None:
    """An empty shape is a tensor without axes."""
    x = ramp(1, 1)
    check(node_model("Reshape", {"x": x}, constants={"shape": ints([])}), x)


@given(st.permutations([2, 3, 2, 5, 1]), st.integers(0, 4), st.booleans())
@EXAMPLES
def test_reshape_of_anything(dims: list[int], split: int, infer: bool) -> None:
    """Merged and split dimensions, with and without -1, keep the order of elements."""
    x = ramp(*dims)
    wanted = [int(np.prod(dims[:split])), *dims[split:]]
    if infer:
        wanted[split % len(wanted)] = -1
    check(node_model("Reshape", {"x": x}, constants={"shape": ints(wanted)}, opset=14), x)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([5, -1], "cannot turn"),
        ([2, 3, 4, 0], "copies dimension 3 of an input with 3 axes"),
        ([7], "24 elements"),
    ],
)
def test_reshape_that_does_not_fit(shape: list[int], message: str) -> None:
    """The error names the shapes and counts the elements."""
    with pytest.raises(CompileError, match=message):
        import_model(node_model("Reshape", {"x": ramp(2, 3, 4)}, constants={"shape": ints(shape)}))


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_flatten(axis: int, opset: int) -> None:
    """The axis splits the dimensions in two groups; negative ones since opset 11."""
    if axis < 0 and opset < 11:
        pytest.skip("negative axes came with opset 11")
    x = ramp(2, 3, 4)
    check(node_model("Flatten", {"x": x}, opset=opset, axis=axis), x)


@pytest.mark.parametrize("axes", [None, [0], [2], [0, 2], [-2]])
@pytest.mark.parametrize("opset", [7, 11, 13, 21])
def test_squeeze(axes: list[int] | None, opset: int) -> None:
    """A squeeze is a reshape, which delegates where the squeeze kernel does not."""
    if opset < 11 and axes == [-2]:
        pytest.skip("negative axes came with opset 11")
    x = ramp(1, 3, 1, 4)
    assert check(with_operand_or_attribute("Squeeze", x, "axes", axes, opset, 13), x) == ["reshape"]


@pytest.mark.parametrize("axes", [[0], [1, 3], [-1], [3, 0]])
@pytest.mark.parametrize("opset", [7, 11, 13, 21])
def test_unsqueeze(axes: list[int], opset: int) -> None:
    """Axes are those of the result."""
    if opset < 11 and axes == [-1]:
        pytest.skip("negative axes came with opset 11")
    x = ramp(3, 4)
    assert check(with_operand_or_attribute("Unsqueeze", x, "axes", axes, opset, 13), x) == ["reshape"]


def test_squeezing_a_wide_axis_is_refused() -> None:
    """The error shows the shape."""
    proto = node_model("Flatten", {"x": ramp(2, 3)})  # a valid model to change: the checker knows this error
    proto.graph.node[0].op_type = "Squeeze"
    del proto.graph.node[0].attribute[:]
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("axes", [1]))
    with pytest.raises(CompileError, match=r"drops axis 1 of \[2, 3\]"):
        import_model(proto)


@pytest.mark.parametrize("permutation", [None, [0, 2, 3, 1], [3, 1, 0, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_transpose(permutation: list[int] | None, dtype: type) -> None:
    """Reversed by default; the identity costs nothing."""
    x = ramp(2, 3, 4, 5, dtype=dtype)
    settings = {} if permutation is None else {"perm": permutation}
    kinds = check(node_model("Transpose", {"x": x}, **settings), x)
    assert kinds == ([] if permutation == [0, 1, 2, 3] else ["transpose"])


@pytest.mark.parametrize("axis", [0, 1, -1, -3])
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_concat(axis: int, count: int, dtype: type) -> None:
    """Operands follow each other in order; a single one costs nothing."""
    inputs = {f"x{index}": ramp(2, 3, 4, dtype=dtype) + index for index in range(count)}
    proto = node_model("Concat", inputs, opset=11, axis=axis)
    check_against_onnxruntime(proto, inputs, rtol=0, atol=0)


def test_concat_ignores_empty_operands() -> None:
    """Exporters start growing caches from an empty constant."""
    x = ramp(2, 3)
    proto = node_model("Concat", {"x": x}, constants={"nothing": np.zeros((0, 3), np.float32)}, axis=0)
    assert check(proto, x) == []


SPLITS = [
    (None, 2, ["split"]),
    (None, 4, ["split"]),
    (None, 6, ["slice"] * 6),
    ([5, 7], 2, ["slice"] * 2),
    ([1, 10, 1], 3, ["slice"] * 3),
    ([12], 1, []),
]


@pytest.mark.parametrize(("sizes", "outputs", "kinds"), SPLITS)
@pytest.mark.parametrize("opset", [7, 11, 13, 18])
def test_split(sizes: list[int] | None, outputs: int, kinds: list[str], opset: int) -> None:
    """Up to four equal parts are one kernel; what the delegate would not take is slices."""
    x = ramp(2, 12, 2)
    extra = {"num_outputs": outputs} if opset >= 18 and sizes is None else {}
    proto = with_operand_or_attribute("Split", x, "split", sizes, opset, 13, axis=1, outputs=outputs, **extra)
    assert check(proto, x) == kinds


def test_split_with_a_smaller_last_part() -> None:
    """Opset 18 lets the last part be what is left."""
    x = ramp(7, 2)
    check(node_model("Split", {"x": x}, outputs=3, opset=18, axis=-2, num_outputs=3), x)


def test_split_of_bools() -> None:
    """The split kernel has no bool; slices do."""
    x = ramp(4, 2, dtype=np.int32) % 3 == 0
    assert check(node_model("Split", {"x": x}, outputs=2, opset=13), x) == ["slice", "slice"]


def test_split_sizes_that_do_not_fit_are_refused() -> None:
    """The error shows the sizes and the dimension."""
    sizes = {"split": ints([5, 6])}
    with pytest.raises(CompileError, match=r"splits 12 into \[5, 6\] for 2 results"):
        import_model(node_model("Split", {"x": ramp(12)}, constants=sizes, outputs=2, opset=13))


def slice_model(
    x: Array, starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None, opset: int
) -> onnx.ModelProto:
    if opset < 10:
        given = {"starts": starts, "ends": ends} | ({} if axes is None else {"axes": axes})
        return node_model("Slice", {"x": x}, opset=opset, **given)
    vectors = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    constants = {name: ints(vector) for name, vector in vectors.items() if vector is not None}
    order = ["x", *(name if name in constants else "" for name in vectors)]
    while not order[-1]:
        order.pop()
    return node_model("Slice", {"x": x}, constants=constants, order=order, opset=opset)


SLICES = [
    ([1, 0], [3, 2], None, ["slice"]),
    ([0, 1], [INT64_MAX, INT64_MAX], [0, 2], ["slice"]),
    ([-2], [-1], [1], ["slice"]),
    ([-100], [100], [2], []),
    ([1], [2], [-1], ["slice"]),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "kinds"), SLICES)
@pytest.mark.parametrize("opset", [7, 10, 11, 13])
def test_slice(
    starts: list[int], ends: list[int], axes: list[int] | None, kinds: list[str], opset: int
) -> None:
    """Bounds clamp to the dimension; the whole input costs nothing."""
    x = ramp(4, 3, 5)
    assert check(slice_model(x, starts, ends, axes, None, opset), x) == kinds


STRIDES = [
    ([0], [INT64_MAX], [2], [2], "strided_slice"),
    ([-1], [-INT64_MAX], [0], [-1], "strided_slice"),
    ([4, 2], [0, -INT64_MAX], [2, 1], [-2, -1], "strided_slice"),
    ([3], [1], [0], [-1], "strided_slice"),
    ([1], [2], [0], [7], "slice"),
    ([3], [2], [0], [-5], "slice"),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "steps", "kind"), STRIDES)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.uint8])
def test_slice_with_steps(
    starts: list[int], ends: list[int], axes: list[int], steps: list[int], kind: str, dtype: type
) -> None:
    """Steps of any sign; a single entry needs none."""
    x = ramp(4, 3, 5, dtype=dtype)
    assert check(slice_model(x, starts, ends, axes, steps, 13), x) == [kind]


@given(st.data())
@EXAMPLES
def test_slice_of_anything(data: st.DataObject) -> None:
    """Any bounds and steps that leave something, at any rank up to 5."""
    dims = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    axes = data.draw(st.lists(st.integers(0, len(dims) - 1), min_size=1, unique=True))
    bound = st.one_of(st.integers(-7, 7), st.sampled_from([INT64_MAX, -INT64_MAX]))
    starts, ends, steps = [], [], []
    for axis in axes:
        start, end, step = data.draw(
            st.tuples(bound, bound, st.sampled_from([1, 1, 2, 3, -1, -2])).filter(
                lambda s, axis=axis: len(range(dims[axis])[s[0] : s[1] : s[2]]) > 0
            )
        )
        starts.append(start)
        ends.append(end)
        steps.append(step)
    x = ramp(*dims)
    check(slice_model(x, starts, ends, axes, steps, 13), x)


def test_slice_with_steps_of_zero_is_refused() -> None:
    """A step of 0 never ends."""
    with pytest.raises(CompileError, match="no step can be 0"):
        import_model(slice_model(ramp(4), [0], [4], [0], [0], 13))


EXPANSIONS = [
    ((3, 1), [3, 4], ["broadcast_to"]),
    ((3, 1), [2, 1, 6], ["reshape", "broadcast_to"]),
    ((3, 4), [1], []),
    ((3, 4), [1, 3, 1], ["reshape"]),
    ((), [2, 2], ["reshape", "broadcast_to"]),
    ((1, 2, 1, 1, 2, 1), [2, 1, 2, 2, 1, 3], ["broadcast_to"]),
]


@pytest.mark.parametrize(("shape", "wanted", "kinds"), EXPANSIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_expand(shape: tuple[int, ...], wanted: list[int], kinds: list[str], dtype: type) -> None:
    """Both shapes broadcast: a 1 in the operand keeps the input's dimension."""
    x = ramp(*shape, dtype=dtype)
    if shape == ():
        constants = {"x": x, "shape": ints(wanted)}
        (result,) = run_ours(node_model("Expand", {}, constants=constants), {})
        np.testing.assert_array_equal(result, np.broadcast_to(x, wanted))
        return
    assert check(node_model("Expand", {"x": x}, constants={"shape": ints(wanted)}), x) == kinds


def test_expand_that_does_not_fit_is_refused() -> None:
    """Only ones repeat."""
    with pytest.raises(CompileError, match=r"expands \[2, 3\] to \[4\]"):
        import_model(node_model("Expand", {"x": ramp(2, 3)}, constants={"shape": ints([4])}))


@pytest.mark.parametrize("repeats", [[1, 1, 1], [2, 1, 3], [1, 4, 1]])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("opset", [7, 13])
def test_tile(repeats: list[int], dtype: type, opset: int) -> None:
    """Whole copies along each axis; one copy costs nothing."""
    x = ramp(2, 3, 2, dtype=dtype)
    kinds = check(node_model("Tile", {"x": x}, constants={"repeats": ints(repeats)}, opset=opset), x)
    assert kinds == ([] if repeats == [1, 1, 1] else ["tile"])


def test_axis_out_of_range_is_refused() -> None:
    """The error names the axis and the number of axes."""
    with pytest.raises(CompileError, match=r"axis 5 is out of range.*has 2 axes"):
        import_model(slice_model(ramp(2, 3), [0], [1], [5], None, 13))
