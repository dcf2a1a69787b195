"""Transposes cancel by algebra; numbers stay; what must stay is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Port, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import Builder
from edgec.ops.layout import moves_data, propagate_through_reshape
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.reduce import ReducerAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.passes.layout import FORCED_BY, NHWC, PropagateLayout

NCHW = (0, 3, 1, 2)


def conv(build: Builder, x: Value, channels: int = 3) -> Value:
    """An NCHW convolution as a front end lowers it: transpose, conv_2d, transpose."""
    weights = np.random.default_rng(channels).standard_normal((channels, 3, 3, x.shape[1]))
    inner = build.op(
        "conv_2d",
        [
            build.transpose(x, NHWC),
            build.constant(weights.astype(np.float32)),
            build.constant(np.zeros(channels, np.float32)),
        ],
    )
    return build.transpose(inner, NCHW)


def make(body: Callable[[Builder, Value], list[Value]], shape: tuple[int, ...] = (1, 2, 8, 9)) -> Model:
    graph = Graph()
    build = Builder(graph)
    outputs = body(build, graph.add_input("x", TensorType(shape)))
    graph.set_outputs(outputs)
    ports = [Port(f"y{index}", value.shape, DType.FLOAT32) for index, value in enumerate(outputs)]
    return Model(graph, [Port("x", shape, DType.FLOAT32)], ports)


def run(model: Model, x: Array) -> list[Array]:
    """Run a model on source-layout input; outputs in source layout."""
    feeds = [x.transpose(model.inputs[0].permutation) if model.inputs[0].permutation else x]
    outputs = Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN).run(feeds)
    return [
        y.transpose(np.argsort(port.permutation)) if port.permutation else y
        for y, port in zip(outputs, model.outputs, strict=True)
    ]


def optimized(body: Callable[[Builder, Value], list[Value]], *, channels_last_io: bool = True) -> Model:
    """Return the model after the pass, having checked that it computes the same numbers."""
    x = np.random.default_rng(1).standard_normal((1, 2, 8, 9)).astype(np.float32)
    expected = run(make(body), x)
    model = PropagateLayout(channels_last_io).run(make(body)).model
    verify_ir(model)
    for ours, reference in zip(run(model, x), expected, strict=True):
        assert ours.shape == reference.shape
        # Reductions may add in another order; everything else only moves.
        np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-5)
    return model


def transposes(model: Model) -> int:
    return sum(node.kind == "transpose" for node in model.graph)


def test_chain_of_convolutions_keeps_no_transpose() -> None:
    model = optimized(lambda b, x: [conv(b, b.op("relu", [conv(b, x)]))])
    assert transposes(model) == 0
    assert model.inputs[0].permutation == NHWC
    assert model.outputs[0].permutation == NHWC
    assert model.graph.inputs[0].shape == (1, 8, 9, 2)


def test_source_layout_keeps_shapes_and_transposes_only_at_the_border() -> None:
    model = optimized(lambda b, x: [conv(b, conv(b, x))], channels_last_io=False)
    assert model.inputs[0].permutation is None
    assert model.graph.inputs[0].shape == (1, 2, 8, 9)
    assert transposes(model) == 2


def test_residual_with_broadcast_constants() -> None:
    """A per-channel constant [C,1,1] and a scalar follow the permutation of the data."""

    def body(build: Builder, x: Value) -> list[Value]:
        first = conv(build, x, channels=2)
        scale = build.constant(np.arange(1, 3, dtype=np.float32).reshape(2, 1, 1))
        scaled = build.op("mul", [first, scale])
        second = build.op("add", [scaled, build.constant(0.5)])
        return [conv(build, build.op("add", [first, second]))]

    assert transposes(optimized(body)) == 0


def test_concat_reduce_and_pad_remap_their_axes() -> None:
    def body(build: Builder, x: Value) -> list[Value]:
        left, right = conv(build, x, 3), conv(build, x, 4)
        joined = build.op("concatenation", [left, right], ConcatenationAttributes(axis=1))
        padded = build.op(
            "pad", [joined, build.constant(np.array([[0, 0], [0, 1], [1, 1], [2, 0]], np.int32))]
        )
        return [build.op("mean", [padded, build.constant([2, 3])], ReducerAttributes(keep_dims=False))]

    assert transposes(optimized(body)) == 0


def test_detection_head_passes_through_reshape() -> None:
    """[1,C,H,W] → [1,C,H·W] → transpose to [1,H·W,C] is a plain reshape of NHWC data."""

    def body(build: Builder, x: Value) -> list[Value]:
        y = conv(build, x, 5)
        flat = build.reshape(y, (1, 5, y.shape[2] * y.shape[3]))
        return [build.transpose(flat, (0, 2, 1))]

    assert transposes(optimized(body)) == 0


def test_flatten_needs_one_transpose_and_names_the_node() -> None:
    """Merging C, H and W into one axis fixes their order: here a transpose has to stay."""

    def body(build: Builder, x: Value) -> list[Value]:
        y = conv(build, x, 5)
        return [build.reshape(y, (1, 5 * y.shape[2] * y.shape[3]), "flat")]

    model = optimized(body)
    (node,) = [node for node in model.graph if node.kind == "transpose"]
    assert node.source == f"{FORCED_BY} reshape 'flat'"


def test_two_readers_share_one_transpose() -> None:
    """Where both readers want the same axes, the tensor is transposed once."""
    model = optimized(lambda b, x: [conv(b, x, 3), conv(b, x, 4)], channels_last_io=False)
    assert transposes(model) == 3  # one for the input, one for each output


def test_model_without_transposes_is_left_alone() -> None:
    assert not PropagateLayout().run(make(lambda b, x: [b.op("relu", [x])])).modified


def test_input_layout_is_read_from_the_graph() -> None:
    """An input that reaches a convolution through a transpose is NCHW; one that goes straight in, NHWC."""
    nchw = PropagateLayout().run(make(lambda b, x: [conv(b, b.op("relu", [x]))])).model
    assert nchw.inputs[0].source_layout == "nchw"

    def straight(build: Builder, x: Value) -> list[Value]:
        weights = build.constant(np.ones((3, 3, 3, 9), np.float32))
        return [build.op("conv_2d", [x, weights, build.constant(np.zeros(3, np.float32))])]

    nhwc = PropagateLayout().run(make(straight, (1, 8, 8, 9))).model
    assert nhwc.inputs[0].source_layout == "nhwc"
    plain = PropagateLayout().run(make(lambda b, x: [b.op("relu", [x])])).model
    assert plain.inputs[0].source_layout is None


@pytest.mark.parametrize(
    ("source", "target", "permutation", "expected"),
    [
        ((1, 5, 6, 7), (1, 5, 42), (0, 2, 3, 1), (0, 2, 1)),  # H and W merge behind C
        ((1, 5, 6, 7), (1, 210), (0, 2, 3, 1), None),  # C, H and W merge: order is bound
        ((1, 5, 1, 1), (1, 5), (0, 2, 3, 1), (0, 1)),  # only axes of size 1 moved
        ((1, 6, 4), (1, 2, 3, 4), (0, 2, 1), (0, 3, 1, 2)),  # an axis splits
        ((2, 3, 4), (2, 3, 1, 4), (0, 2, 1), (0, 3, 1, 2)),  # an axis of size 1 stays with its neighbour
    ],
)
def test_propagation_through_reshape(
    source: tuple[int, ...],
    target: tuple[int, ...],
    permutation: tuple[int, ...],
    expected: tuple[int, ...] | None,
) -> None:
    """reshape(transpose(x, p)) equals transpose(reshape(x), q), element by element."""
    q = propagate_through_reshape(source, target, permutation)
    assert q == expected
    if q is not None:
        x = np.arange(np.prod(source)).reshape(source)
        permuted_target = tuple(target[axis] for axis in q)
        np.testing.assert_array_equal(
            x.transpose(permutation).reshape(permuted_target), x.reshape(target).transpose(q)
        )


def test_moves_data() -> None:
    """Moving axes of size 1 leaves memory as it is."""
    assert not moves_data((1, 1, 28, 28), NHWC)
    assert not moves_data((1, 5, 1, 1), NHWC)
    assert moves_data((1, 5, 2, 1), NHWC)
