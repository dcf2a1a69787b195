"""Builtins that become other kinds compute what LiteRT computes for the file itself."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.diagnostics import CompileError, Diagnostics
from edgec.emit import emit
from edgec.frontends.tflite import import_tflite, load_tflite
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from tests.support.ir_graphs import kinds, ramp
from tests.support.tflite_files import FileBuilder, assert_same_numbers, imported, quantization, table

X = ramp(2, 3, 4)


def one(
    builtin: str, shape: tuple[int, ...], *constants: object, results: int = 1, options: object = None
) -> bytes:
    """Return a file of one operator on a float input, then constants."""
    file = FileBuilder()
    x = file.tensor(shape)
    operands = [x, *(file.constant(np.asarray(item, np.int32)) for item in constants)]
    outputs = [file.tensor((1,)) for _ in range(results)]
    file.operator(builtin, operands, outputs, options)
    return file.to_bytes([x], outputs)


@pytest.mark.parametrize("dims", [[], [0], [2], [-1, 0]])
def test_squeeze_is_a_reshape(dims: list[int]) -> None:
    """All axes of size 1, or the named ones."""
    raw = one("SQUEEZE", (1, 3, 1), options=table("SqueezeOptions", squeezeDims=np.array(dims, np.int32)))
    model = assert_same_numbers(raw, [ramp(1, 3, 1)])
    assert kinds(model) == ["reshape"]


def test_squeeze_of_an_axis_that_is_not_one_is_refused() -> None:
    """The message says which axes of what."""
    raw = one("SQUEEZE", (1, 3), options=table("SqueezeOptions", squeezeDims=np.array([1], np.int32)))
    with pytest.raises(CompileError, match=r"squeezes axes \[1\] of \[1, 3\]"):
        imported(raw)


@pytest.mark.parametrize("axis", [0, 1, 3, -1, -4])
def test_expand_dims_is_a_reshape(axis: int) -> None:
    """Negative axes count from the end of the result."""
    assert kinds(assert_same_numbers(one("EXPAND_DIMS", (2, 3, 4), axis), [X])) == ["reshape"]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_unpack_is_split_and_reshape(axis: int) -> None:
    """One result an entry, without the axis."""
    count = X.shape[axis]
    raw = one("UNPACK", X.shape, results=count, options=table("UnpackOptions", num=count, axis=axis))
    assert set(kinds(assert_same_numbers(raw, [X]))) == {"split", "reshape"}


def test_unpack_of_bools_takes_slices() -> None:
    """split has no kernel for bool."""
    file = FileBuilder()
    x, y, z = file.tensor((2, 3), "bool"), file.tensor((3,), "bool"), file.tensor((3,), "bool")
    file.operator("UNPACK", [x], [y, z], table("UnpackOptions", num=2, axis=0))
    flags = np.array([[True, False, True], [False, False, True]])
    assert "slice" in kinds(assert_same_numbers(file.to_bytes([x], [y, z]), [flags]))


@pytest.mark.parametrize("sizes", [[1, 3], [-1, 1], [2, 0, 2]])
def test_split_v_is_slices(sizes: list[int]) -> None:
    """Sizes are free; one may be what is left."""
    raw = one(
        "SPLIT_V",
        (2, 3, 4),
        sizes,
        -1,
        results=len(sizes),
        options=table("SplitVOptions", numSplits=len(sizes)),
    )
    if 0 in sizes:  # LiteRT's own kernel makes an empty tensor of it
        assert [v.shape for v in imported(raw).graph.outputs] == [(2, 3, 2), (2, 3, 0), (2, 3, 2)]
    else:
        assert_same_numbers(raw, [X])


@pytest.mark.parametrize(
    ("begin", "end", "strides", "masks"),
    [
        ([0, -1, 0], [2, 0, 4], [1, 1, 1], {"shrinkAxisMask": 2}),  # x[:, -1]
        ([0, 0, 3], [0, 0, -5], [1, 1, -1], {"beginMask": 3, "endMask": 3}),  # x[:, :, 3::-1]
        ([1, 0], [2, 0], [1, 1], {"endMask": 2, "shrinkAxisMask": 1}),  # x[1]
        ([0, 0, 1], [0, 0, 3], [1, 1, 2], {"ellipsisMask": 1, "newAxisMask": 2}),  # x[..., None, 1:3:2]
        ([0], [0], [1], {"newAxisMask": 1}),  # x[None]
        ([0, 0, 0], [2, 3, 4], [1, 1, 1], {}),  # x
        ([-9, 1, 0], [9, 9, 2], [1, 1, 1], {}),  # clamped
    ],
)
def test_masks_of_strided_slice_are_written_out(
    begin: list[int], end: list[int], strides: list[int], masks: dict[str, int]
) -> None:
    """Whatever the masks say, the numbers are LiteRT's."""
    raw = one("STRIDED_SLICE", (2, 3, 4), begin, end, strides, options=table("StridedSliceOptions", **masks))
    model = assert_same_numbers(raw, [X])
    assert set(kinds(model)) <= {"strided_slice", "reshape"}


def test_shape_arithmetic_folds_away() -> None:
    """shape → strided_slice → pack → reshape, the way TensorFlow flattens: one reshape is left."""
    file = FileBuilder()
    x = file.tensor((1, 2, 3), shapeSignature=np.array([-1, 2, 3], np.int32))
    shape, batch, target = file.tensor((3,), "int32"), file.tensor((), "int32"), file.tensor((2,), "int32")
    bounds = [file.constant([item]) for item in (0, 1, 1)]
    six, y = file.constant(np.int32(6)), file.tensor((1, 6))
    file.operator("SHAPE", [x], [shape], table("ShapeOptions", outType=2))
    file.operator("STRIDED_SLICE", [shape, *bounds], [batch], table("StridedSliceOptions", shrinkAxisMask=1))
    file.operator("PACK", [batch, six], [target], table("PackOptions", valuesCount=2, axis=0))
    file.operator("RESHAPE", [x, target], [y])
    raw = file.to_bytes([x], [y])
    assert kinds(assert_same_numbers(raw, [ramp(1, 2, 3)])) == ["reshape"]
    assert imported(raw, input_shapes={"t0": (4, 2, 3)}).outputs[0].shape == (4, 6)


def test_reshape_takes_its_shape_from_the_option_of_old_files() -> None:
    """No second operand: new_shape, with -1 for what is left."""
    raw = one("RESHAPE", (2, 3, 4), options=table("ReshapeOptions", newShape=np.array([2, -1], np.int32)))
    assert imported(raw).graph.outputs[0].shape == (2, 12)
    wrong = one("RESHAPE", (2, 3, 4), options=table("ReshapeOptions", newShape=np.array([5, -1], np.int32)))
    with pytest.raises(CompileError, match=r"reshapes \[2, 3, 4\] to \[5, -1\]"):
        imported(wrong)


def test_slice_size_minus_one_is_what_is_left() -> None:
    """begin 1 of 3 leaves 2."""
    file = FileBuilder()
    x, y = file.tensor((2, 3, 4)), file.tensor((2, 2, 2))
    file.operator("SLICE", [x, file.constant([0, 1, 0]), file.constant([-1, -1, 2])], [y])
    model = assert_same_numbers(file.to_bytes([x], [y]), [X])
    assert model.graph.outputs[0].shape == (2, 2, 2)


def test_movement_keeps_quantization() -> None:
    """An int8 squeeze is an int8 reshape of the same scale."""
    file = FileBuilder()
    parameters = quantization([0.25], [7])
    x, y = (
        file.tensor((1, 3), "int8", quantization=parameters),
        file.tensor((3,), "int8", quantization=parameters),
    )
    file.operator("SQUEEZE", [x], [y], table("SqueezeOptions"))
    model = assert_same_numbers(file.to_bytes([x], [y]), [np.array([[1, -2, 3]], np.int8)])
    assert model.graph.outputs[0].type.quantization == model.graph.inputs[0].type.quantization


def dilated_file(padding: int = 1, crops: tuple[tuple[int, int], ...] = ((0, 1), (0, 1))) -> bytes:
    """7x7 image, blocks of 2: padded to 12, a 3x3 VALID convolution, cropped."""
    file = FileBuilder()
    x, s, c, y = file.tensor((1, 7, 7, 2)), file.tensor((1,)), file.tensor((1,)), file.tensor((1,))
    block, pads = file.constant([2, 2]), file.constant(np.array([(2, 3), (2, 3)], np.int32))
    w, b = file.constant(ramp(3, 3, 3, 2)), file.constant(ramp(3))
    options = table("Conv2DOptions", padding=padding, strideW=1, strideH=1)
    file.operator("SPACE_TO_BATCH_ND", [x, block, pads], [s])
    file.operator("CONV_2D", [s, w, b], [c], options)
    file.operator("BATCH_TO_SPACE_ND", [c, block, file.constant(np.array(crops, np.int32))], [y])
    return file.to_bytes([x], [y])


def test_blocks_around_a_convolution_become_dilation() -> None:
    """Same numbers (up to the order of sums), and one convolution on the padded image."""
    model = assert_same_numbers(dilated_file(), [ramp(1, 7, 7, 2)], rtol=1e-5)
    conv = next(node for node in reversed(model.graph) if node.kind == "conv_2d")
    assert conv.results[0].is_graph_output
    assert (conv.attributes.dilation_h_factor, conv.attributes.dilation_w_factor) == (2, 2)  # type: ignore[attr-defined]


def test_blocks_around_a_same_convolution_stay_blocks() -> None:
    """SAME pads every block, which dilation would not do."""
    model = assert_same_numbers(dilated_file(padding=0), [ramp(1, 7, 7, 2)], rtol=1e-5)
    assert model.graph.last is not None
    assert model.graph.last.kind == "slice"


def lstm_file(steps: int = 5, **weights: object) -> bytes:
    file = FileBuilder()
    x, y = file.tensor((1, steps, 3)), file.tensor((1, steps, 4))
    w = [file.constant(ramp(4, 3) * (k + 1)) for k in range(4)]
    r = [file.constant(ramp(4, 4) * (k + 1) / 2) for k in range(4)]
    b = [file.constant(ramp(4) / (k + 1)) for k in range(4)]
    h, c = (file.tensor((1, 4), isVariable=True) for _ in range(2))
    operands = [x, *w, *r, -1, -1, -1, *b, -1, -1, h, c, -1, -1, -1, -1]
    options = table("UnidirectionalSequenceLSTMOptions", fusedActivationFunction=4, cellClip=1.5)
    file.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], options)
    return file.to_bytes([x], [y])


def test_the_lstm_of_a_stateless_layer_unrolls_and_starts_from_zeros() -> None:
    """Equal to LiteRT's kernel on a fresh interpreter, clip included; the second run is like the first."""
    raw, x = lstm_file(), ramp(1, 5, 3)
    diagnostics = Diagnostics()
    model = import_tflite(load_tflite(raw), {}, diagnostics, stateless=True)
    assert "unidirectional_sequence_lstm" not in kinds(model)
    assert any("starts from zeros in every run" in str(item) for item in diagnostics)
    expected = Runner(raw, kernels=KernelSet.BUILTIN).run([x])[0]
    runner = Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN)
    for _ in range(2):
        np.testing.assert_allclose(runner.run([x])[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot_is_a_comparison(axis: int) -> None:
    """Negative indices and those past the depth match nothing, as in LiteRT."""
    file = FileBuilder()
    x, y = file.tensor((2, 3), "int32"), file.tensor((1,))
    operands = [x, file.constant(np.int32(4)), file.constant(np.float32(5)), file.constant(np.float32(-1))]
    file.operator("ONE_HOT", operands, [y], table("OneHotOptions", axis=axis))
    assert_same_numbers(file.to_bytes([x], [y]), [np.array([[0, 3, 4], [-1, 2, 2]], np.int32)])


def test_select_of_rows() -> None:
    """select (version 1) with a condition of rank 1 chooses rows."""
    file = FileBuilder()
    condition, x, y, z = (
        file.tensor((2,), "bool"),
        file.tensor((2, 3)),
        file.tensor((2, 3)),
        file.tensor((2, 3)),
    )
    file.operator("SELECT", [condition, x, y], [z], table("SelectOptions"))
    feeds: list[Array] = [np.array([True, False]), ramp(2, 3), -ramp(2, 3)]
    assert_same_numbers(file.to_bytes([condition, x, y], [z]), feeds)


def branches_file(depth: int = 1) -> bytes:
    """y = |x| where the condition holds, else -x; `depth` 2 makes the branch call its own operator."""
    file = FileBuilder()
    condition, x, y = file.tensor((), "bool"), file.tensor((1, 8)), file.tensor((1, 8))
    options = table("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2)
    file.operator("IF", [condition, x], [y], options)
    main = file.graph
    for builtin in ("ABS", "NEG"):
        file.graph = table("SubGraph", name=builtin, tensors=[], operators=[])
        file.model.subgraphs.append(file.graph)
        a, b = file.tensor((1, 8)), file.tensor((1, 8))
        file.operator(builtin, [a], [b])
        file.graph.inputs, file.graph.outputs = np.array([a], np.int32), np.array([b], np.int32)
    if depth == 2:
        file.graph.operators[0].opcodeIndex = 0
        file.graph.operators[0].builtinOptionsType = main.operators[0].builtinOptionsType
        file.graph.operators[0].builtinOptions = options
        file.graph.operators[0].inputs = np.array([0, 0], np.int32)
    file.graph = main
    return file.to_bytes([condition, x], [y])


@pytest.mark.parametrize("choice", [True, False])
def test_branches_are_imported_with_their_graphs(choice: bool) -> None:
    """Both graphs come along and the condition still chooses."""
    feeds: list[Array] = [np.array(choice), ramp(1, 8)]
    model = assert_same_numbers(branches_file(), feeds)
    assert kinds(model) == ["if"]
    assert [len(graph) for graph in model.subgraphs] == [1, 1]


def test_a_graph_that_runs_itself_is_refused() -> None:
    """It would never end, neither here nor in a runtime."""
    with pytest.raises(CompileError, match="runs graph 2, which runs this operator"):
        imported(branches_file(depth=2))


def test_a_loop_is_imported_with_its_graphs() -> None:
    """Doubling x while it is below 10 counts rounds at run time: a while stays a while."""
    file = FileBuilder()
    x, y = file.tensor(()), file.tensor(())
    file.operator("WHILE", [x], [y], table("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2))
    main = file.graph
    for builtin, other, options, dtype in (
        ("LESS", 10.0, "LessOptions", "bool"),
        ("MUL", 2.0, "MulOptions", "float32"),
    ):
        file.graph = table("SubGraph", name=builtin, tensors=[], operators=[])
        file.model.subgraphs.append(file.graph)
        a, c, b = file.tensor(()), file.constant(np.float32(other)), file.tensor((), dtype)
        file.operator(builtin, [a, c], [b], table(options))
        file.graph.inputs, file.graph.outputs = np.array([a], np.int32), np.array([b], np.int32)
    file.graph = main
    raw = file.to_bytes([x], [y])
    assert kinds(assert_same_numbers(raw, [np.array(1.5, np.float32)])) == ["while"]
