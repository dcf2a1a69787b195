"""What the delegate takes is measured, and native noise stays out of the terminal."""

from __future__ import annotations

import os

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import DYNAMIC, Graph, Model, TensorType
from edgec.kernels import KernelError, KernelSet, Runner, evaluate
from edgec.kernels.native_log import captured_stderr
from edgec.ops import Builder


def model_with(kinds: list[str]) -> bytes:
    graph = Graph()
    build = Builder(graph)
    value = graph.add_input("x", TensorType((1, 4, 4, 2)))
    for kind in kinds:
        value = build.op(kind, [value])
    graph.set_outputs([value])
    return emit(Model(graph)).to_bytes()


def test_one_partition_with_nothing_outside() -> None:
    partitions = Runner(model_with(["abs", "logistic"])).partitions()
    assert (partitions.delegated, partitions.outside) == (1, ())


def test_an_undelegated_op_splits_the_graph_and_is_named() -> None:
    """XNNPACK has no SIGN, so it divides the graph into two partitions."""
    partitions = Runner(model_with(["abs", "sign", "logistic"])).partitions()
    assert (partitions.delegated, partitions.outside) == (2, ("SIGN",))


def test_builtin_kernels_have_no_partition() -> None:
    partitions = Runner(model_with(["abs", "logistic"]), kernels=KernelSet.BUILTIN).partitions()
    assert (partitions.delegated, partitions.outside) == (0, ("ABS", "LOGISTIC"))


def test_refused_model_raises_with_the_reason() -> None:
    with pytest.raises(KernelError, match=r"(?i)model"):
        Runner(b"not a model" * 10)


def test_native_stderr_is_captured(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as text:
        os.write(2, b"native words")
        assert text() == "native words"
    Runner(model_with(["abs"]))
    assert capfd.readouterr().err == ""


def test_evaluate_uses_the_kernel() -> None:
    """cast truncates towards zero and saturates, as the kernel does (NumPy would wrap)."""
    from edgec.ir import DType
    from edgec.ops.elementwise import CastAttributes

    graph = Graph()
    build = Builder(graph)
    x = build.constant(np.array([-1.9, 2.9, 1e12], np.float32))
    node = build.node("cast", [x], CastAttributes(DType.FLOAT32, DType.INT32))
    (result,) = evaluate([node], node.results)
    assert result.tolist() == [-1, 2, 2**31 - 1]


def test_dynamic_inputs_take_the_shape_of_their_arrays() -> None:
    """What the file leaves open follows the arrays, back and forth; what it fixes does not."""
    graph = Graph()
    x = graph.add_input("x", TensorType((DYNAMIC, 3)))
    graph.set_outputs([Builder(graph).op("neg", [x])])
    runner = Runner(emit(Model(graph)).to_bytes(), kernels=KernelSet.BUILTIN)
    for rows in (2, 5, 1, 0):
        (y,) = runner.run([np.ones((rows, 3), np.float32)])
        np.testing.assert_array_equal(y, -np.ones((rows, 3)))
    with pytest.raises(KernelError):
        runner.run([np.ones((2, 4), np.float32)])
