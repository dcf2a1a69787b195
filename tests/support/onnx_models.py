"""Small ONNX models for tests, and the comparison of our result with onnxruntime's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from edgec.diagnostics import Diagnostics
from edgec.emit import emit
from edgec.frontends.onnx import import_onnx, load_onnx
from edgec.ir import Array, Model
from edgec.kernels import KernelSet, Runner


def node_model(
    op_type: str,
    inputs: Mapping[str, Array],
    *,
    constants: Mapping[str, Array] | None = None,
    order: Sequence[str] | None = None,
    outputs: int = 1,
    opset: int = 17,
    **attributes: object,
) -> onnx.ModelProto:
    """Return a model of one node. `order` lists its operands ("" where absent); inputs, then constants."""
    constants = constants or {}
    names = list(order if order is not None else [*inputs, *constants])
    results = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(op_type, names, results, name="node", **attributes)
    return graph_model([node], inputs, results, constants=constants, opset=opset)


def graph_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    *,
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model of several nodes with example inputs giving shapes and types."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    custom = sorted({node.domain for node in nodes if node.domain})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in custom)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = min(model.ir_version, 10)
    return model if custom else onnx.shape_inference.infer_shapes(model)


def import_model(proto: onnx.ModelProto) -> Model:
    """Return the IR straight from the front end, before any pass."""
    return import_onnx(load_onnx(proto), {}, Diagnostics())


def run_ours(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """Import, emit and run with LiteRT's builtin kernels."""
    model = import_model(proto)
    feeds = [inputs[port.name] for port in model.inputs]
    return Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN).run(feeds)


def run_onnxruntime(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """Run the oracle: onnxruntime without graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, dict(inputs))


def check_against_onnxruntime(
    proto: onnx.ModelProto, inputs: Mapping[str, Array], *, rtol: float = 1e-5, atol: float = 1e-6
) -> None:
    """Assert that shapes, dtypes and values of every output equal onnxruntime's."""
    for ours, oracle in zip(run_ours(proto, inputs), run_onnxruntime(proto, inputs), strict=True):
        assert ours.shape == oracle.shape
        assert ours.dtype == oracle.dtype
        np.testing.assert_allclose(ours, oracle, rtol=rtol, atol=atol)
