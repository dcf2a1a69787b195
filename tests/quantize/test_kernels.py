"""Every op that the registry calls quantizable, from the registry's own cases, on every set of kernels.

Why 30 dB: see `test_int8`; these are single nodes (36 dB is the lowest found, an average of averages).
"""

from __future__ import annotations

import numpy as np
import pytest

from edgec.calibrate.ranges import collect_ranges
from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Port, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import Builder, all_ops
from edgec.ops.spec import Case, OpSpec
from edgec.quantize import check_quantized, quantize_int8
from tests.quantize.small_graphs import decode, encode, run_float, sqnr

MIN_SQNR_DB = 30

REFERENCE_LACKS = {"depth_to_space", "elu", "tile"}
"""Ops whose int8 version LiteRT does not register with its reference kernels."""

REFERENCE_WRONG = {"sum"}
"""The reference SUM ignores that scales differ; XNNPACK, the optimised builtin and TFLM do not."""

DISCONTINUOUS = {"equal", "not_equal", "greater", "greater_equal", "less", "less_equal"}
"""Near a tie, rounding decides: compared where the operands differ by more than two steps."""

CASES = [
    pytest.param(spec, case, id=f"{spec.name}-{case.name}")
    for spec in all_ops().values()
    if spec.quant.supported
    for case in spec.cases
]


def node_model(spec: OpSpec, case: Case) -> tuple[Model, dict[str, Array]]:
    """A model of one node: shapes, bools and the first float array are inputs, other arrays constants."""
    graph, sample = Graph(), {}
    rng = np.random.default_rng(1)
    operands: list[Value] = []
    for index, given in enumerate(case.operands):
        array = rng.normal(size=given).astype(np.float32) if isinstance(given, tuple) else np.asarray(given)
        is_input = (
            isinstance(given, tuple) or array.dtype == np.bool_ or (index == 0 and array.dtype == np.float32)
        )
        if is_input:
            type = TensorType(array.shape, DType.of(array))
            sample[f"in{index}"] = np.ascontiguousarray(array)
            operands.append(graph.add_input(f"in{index}", type))
        else:
            operands.append(graph.constant(np.ascontiguousarray(array), f"in{index}"))
    node = Builder(graph).node(spec.name, operands, case.attributes)
    graph.set_outputs(node.results)
    ports = [[Port(v.name, v.shape, v.dtype) for v in values] for values in (graph.inputs, graph.outputs)]
    return Model(graph, *ports), sample


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_the_int8_node_computes_what_the_float_node_does(spec: OpSpec, case: Case) -> None:
    """XNNPACK, builtin and reference kernels; the verifier has nothing to say."""
    model, sample = node_model(spec, case)
    quantized = quantize_int8(model, collect_ranges(model, [sample], threads=1))
    assert check_quantized(quantized) == []
    expected = run_float(model, sample)
    for kernels in KernelSet:
        if kernels is KernelSet.REFERENCE and spec.name in REFERENCE_LACKS | REFERENCE_WRONG:
            continue
        found = run_int8(quantized, sample, kernels)
        for truth, real in zip(expected, found, strict=True):
            if spec.name in DISCONTINUOUS:
                far = far_apart(model, quantized, sample)
                assert far.any(), "the case compares nothing"
                np.testing.assert_array_equal(real[far], truth[far])
            elif truth.dtype == np.float32:
                assert sqnr([truth], [real]) > MIN_SQNR_DB, kernels
            else:
                np.testing.assert_array_equal(real, truth)


def run_int8(quantized: Model, sample: dict[str, Array], kernels: KernelSet) -> list[Array]:
    feeds = [
        encode(value, sample[port.name]) if value.type.quantization else sample[port.name]
        for port, value in zip(quantized.inputs, quantized.graph.inputs, strict=True)
    ]
    stored = Runner(emit(quantized).to_bytes(), kernels=kernels).run(feeds)
    return [decode(value, array) for value, array in zip(quantized.graph.outputs, stored, strict=True)]


def far_apart(model: Model, quantized: Model, sample: dict[str, Array]) -> Array:
    """Where two compared operands differ by more than two steps of the coarser one."""
    (node,) = model.graph
    x, y = (sample[v.name] if v.data is None else v.constant() for v in (node.operand(0), node.operand(1)))
    forms = [quantized.graph.last.operand(index).type.quantization for index in (0, 1)]
    return np.abs(x - y) > 2 * max(form.scale[0] for form in forms)
