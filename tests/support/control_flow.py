"""ONNX models with inner graphs, and their check against onnxruntime through the whole compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from tests.support.onnx_models import run_onnxruntime

node = helper.make_node


def info(name: str, like: Array | None = None) -> onnx.ValueInfoProto:
    """Return the declaration of a graph input or output, with type and shape of an example."""
    if like is None:
        return onnx.ValueInfoProto(name=name)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(like.dtype), like.shape)


def inner(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], inputs: Mapping[str, Array | None] | None = None
) -> onnx.GraphProto:
    """Return a graph for an attribute; inputs map names to examples, or None for a float of any shape."""
    declared = [
        info(name, like) if like is not None else helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name, like in (inputs or {}).items()
    ]
    return helper.make_graph(list(nodes), "inner", declared, [info(name) for name in outputs])


def constant(name: str, value: object) -> onnx.NodeProto:
    """Return a Constant node."""
    return node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    *,
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model whose outputs have no declared type: branches decide."""
    weights = [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()]
    graph = helper.make_graph(
        list(nodes), "main", [info(n, a) for n, a in inputs.items()], [info(n) for n in outputs], weights
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    proto.ir_version = 10
    return proto


def compiled(proto: onnx.ModelProto, **choices: object) -> edgec.Compiled:
    """Compile with the IR checked after every pass, without verification: tests do that themselves."""
    settings: dict[str, object] = {"io_layout": "source", "verify": False, "verify_each": True, **choices}
    return edgec.compile(proto.SerializeToString(), **settings)


def check(
    proto: onnx.ModelProto, *samples: Mapping[str, Array], rtol: float = 1e-5, atol: float = 1e-6
) -> edgec.Compiled:
    """Assert that one file gives onnxruntime's results for all samples, in all kernels, twice in a row."""
    result = compiled(proto)
    names = [item.name for item in proto.graph.input]
    for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        runner = Runner(result.tflite, kernels=kernels)
        for sample in [*samples, *samples]:
            ours = runner.run([sample[name] for name in names])
            for got, oracle in zip(ours, run_onnxruntime(proto, sample), strict=True):
                assert got.shape == oracle.shape
                assert got.dtype == oracle.dtype
                np.testing.assert_allclose(got, oracle, rtol=rtol, atol=atol)
    return result
