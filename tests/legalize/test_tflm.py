"""The microcontroller profile against the real TensorFlow Lite Micro."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgec.ir import NO_ATTRIBUTES, Array, DType, Quantization, TensorType, Value
from edgec.kernels import KernelSet
from edgec.legalize.grouped_conv import DecomposeGroupedConv2D
from edgec.legalize.profile import check_profile, find_profile
from edgec.ops import all_ops
from edgec.ops.reduce import ArgMaxAttributes, ArgMinAttributes
from edgec.ops.spec import Case, Constraint, OpSpec
from tests.legalize.graphs import SCALE, Net, rewritten
from tests.legalize.micro import needs_tflm, run_micro

PROFILE = find_profile("tflm")
CASES = [(spec, case) for spec in all_ops().values() for case in spec.cases]
IDS = [f"{spec.name}-{case.name}" for spec, case in CASES]
_WITH_INT32 = {"arg_max": ArgMaxAttributes(DType.INT32), "arg_min": ArgMinAttributes(DType.INT32)}
_FROM_BUILTIN = {"elu", "ceil", "round", "depth_to_space", "sum"}
"""LiteRT's reference resolver lacks these (depth_to_space: for int8); its int8 SUM forgets to rescale."""


def net_of(spec: OpSpec, case: Case, *, int8: bool) -> Net:
    """Build the registry's case with its float data as graph inputs, quantized where `int8`."""
    net = Net(int8)
    operands: list[Value | None] = []
    for index, given in enumerate(case.operands):
        if given is None:
            operands.append(None)
        elif isinstance(given, np.ndarray):
            operands.append(_constant(net, spec, index, given, int8))
        else:
            operands.append(net.input(*given, name=f"x{index}"))  # type: ignore[misc]
    attributes = _WITH_INT32.get(spec.name, case.attributes)
    results = net.ops(spec.name, operands, attributes or NO_ATTRIBUTES)
    fixed = spec.quant.fixed_int8
    if int8 and spec.quant.constraint is Constraint.FIXED_OUTPUT_SCALE and fixed is not None:
        for result in results:
            result.type = replace(result.type, quantization=Quantization.per_tensor(*fixed))
    return net.returns(*results)


def _constant(net: Net, spec: OpSpec, index: int, data: Array, int8: bool) -> Value:
    if index == spec.data_operand or (spec.operands == ("x", "y") and data.dtype != np.int32):
        return net.input(
            *data.shape, name=f"x{index}", dtype=None if data.dtype == np.float32 else DType.of(data)
        )
    if not int8 or data.dtype != np.float32:
        return net.graph.constant(data)
    weights = spec.quant.weights
    is_weights = weights is not None and index == weights.operand
    is_bias = weights is not None and index == weights.bias
    scale = 0.01
    if is_bias:
        bias = np.rint(data / (scale * SCALE.scale[0])).astype(np.int32)
        kind = TensorType(data.shape, DType.INT32, Quantization.per_tensor(scale * SCALE.scale[0]))
        return Value(net.graph.unique_name("bias"), kind, bias)
    quantization = Quantization.per_tensor(scale) if is_weights else SCALE
    stored = np.clip(np.rint(data / quantization.scale[0]) + quantization.zero_point[0], -127, 127)
    kind = TensorType(data.shape, DType.INT8, quantization)
    return Value(net.graph.unique_name("constant"), kind, stored.astype(np.int8))


def expected(net: Net, kind: str) -> list[Array]:
    return net.run(KernelSet.BUILTIN if kind in _FROM_BUILTIN else KernelSet.REFERENCE)


def buildable(spec: OpSpec, case: Case, int8: bool) -> Net:
    if int8 and not spec.quant.supported:
        pytest.skip(f"not quantized: {spec.quant.reason}")
    return net_of(spec, case, int8=int8)


@needs_tflm
@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize(("spec", "case"), CASES, ids=IDS)
def test_accepted_cases_run_and_agree(spec: OpSpec, case: Case, int8: bool, tmp_path: Path) -> None:
    """What the profile accepts runs in TFLM with LiteRT's reference results; what it refuses does not run."""
    net = buildable(spec, case, int8)
    violations = check_profile(net.model(), PROFILE, "board")
    run = run_micro(net.bytes(), net.samples(), len(net.graph.outputs), tmp_path)
    if violations:
        assert run is None, violations
        return
    assert run is not None, "the profile accepts it and TFLM does not"
    for want, got in zip(expected(net, spec.name), run.outputs, strict=True):
        if want.dtype == np.float32:
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(got, want)


@needs_tflm
@pytest.mark.parametrize("rank", [5, 6])
def test_rank_limit_of_slice_is_where_tflm_aborts(rank: int, tmp_path: Path) -> None:
    """SLICE runs at rank 5; at rank 6 the kernel ends the process, so the profile must refuse it."""
    net = Net()
    x = net.input(*[2] * rank)
    net.returns(net.op("slice", [x, net.ints([0] * rank), net.ints([1] * rank)]))
    accepted = not check_profile(net.model(), PROFILE, "board")
    run = run_micro(net.bytes(), net.samples(), 1, tmp_path)
    assert accepted == (run is not None) == (rank == 5)


@needs_tflm
@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_grouped_convolution_becomes_plain_ones(int8: bool, tmp_path: Path) -> None:
    """Three groups, each with its own weights, bias and per-axis scales, compute what one node did."""
    net = Net(int8)
    net.returns(net.conv(net.input(1, 5, 5, 6), 9, 3, groups=3))
    before = net.run(KernelSet.REFERENCE)
    assert rewritten(net, DecomposeGroupedConv2D()) == ["the convolution has one group"] * 3
    assert net.kinds() == [*["slice", "conv_2d"] * 3, "concatenation"]
    np.testing.assert_allclose(net.run(KernelSet.REFERENCE)[0], before[0], rtol=1e-6, atol=1e-6)
    run = run_micro(net.bytes(), net.samples(), 1, tmp_path)
    assert run is not None
    np.testing.assert_allclose(run.outputs[0], before[0], rtol=1e-5, atol=1e-5)


def test_grouped_weights_must_be_constant() -> None:
    """Weights computed at run time are left whole."""
    net = Net()
    x = net.input(1, 5, 5, 6)
    weights = net.op("abs", [net.input(9, 3, 3, 2, name="w")])
    bias = net.graph.constant(np.zeros(9, np.float32))
    net.returns(net.op("conv_2d", [x, weights, bias]))
    assert rewritten(net, DecomposeGroupedConv2D()) == ["weights or bias are not constant"]
