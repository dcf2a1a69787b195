"""Constraints say what a kernel library cannot run; every violation is reported, not only the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgec.ir import DType, TensorType, Value
from edgec.kernels import KernelError, KernelSet
from edgec.legalize.profile import check_profile, find_profile
from edgec.ops.movement import ConcatenationAttributes
from edgec.ops.reduce import ArgMaxAttributes, ReducerAttributes
from tests.legalize.graphs import Net, legalized


def codes(net: Net, profile: str) -> list[str]:
    return [item.code for item in check_profile(net.model(), find_profile(profile), "board")]


def wide_mean(rank: int) -> Net:
    net = Net()
    x = net.input(*[2] * rank)
    return net.returns(net.op("mean", [x, net.ints([rank - 1])], ReducerAttributes()))


def wide_pad(rank: int) -> Net:
    net = Net()
    return net.returns(net.op("pad", [net.input(*[2] * rank), net.ints([[0, 1]] * rank)]))


def long_division() -> Net:
    net = Net()
    x = net.input(4, dtype=DType.INT64)
    return net.returns(net.op("div", [x, net.input(4, name="y", dtype=DType.INT64)]))


def wide_concatenation(count: int) -> Net:
    net = Net()
    x = net.input(*[2] * 7)
    return net.returns(net.op("concatenation", [x] * count, ConcatenationAttributes(axis=6)))


LITERT = {
    "int64_division": (long_division(), "E0410", KernelSet.BUILTIN),
    "rank_7_mean": (wide_mean(7), "E0413", KernelSet.XNNPACK),
    "rank_6_pad": (wide_pad(6), "E0412", KernelSet.BUILTIN),
    "rank_7_concatenation": (wide_concatenation(2), "E0413", KernelSet.XNNPACK),
}


@pytest.mark.parametrize("name", LITERT)
def test_litert_refuses_what_the_profile_refuses(name: str) -> None:
    """Each rule stands for a real failure: LiteRT itself does not load or run the model."""
    net, code, kernels = LITERT[name]
    assert codes(net, "litert_xnnpack") == [code]
    with pytest.raises(KernelError):
        net.run(kernels)


@pytest.mark.parametrize("net", [wide_mean(6), wide_pad(5), wide_concatenation(6)])
def test_litert_runs_what_the_profile_accepts(net: Net) -> None:
    """At the limit all three sets of kernels run; six operands XNNPACK leaves alone at any rank."""
    assert codes(net, "litert_xnnpack") == []
    for kernels in KernelSet:
        net.run(kernels)


def test_rank_7_join_of_many_is_not_made_claimable() -> None:
    """The rule that makes small concatenations keeps away where XNNPACK would fail on them."""
    net = legalized(wide_concatenation(6))
    assert net.kinds() == ["concatenation"]
    net.run()


def test_message_says_where_what_why_and_what_next() -> None:
    """The constraint's docstring is the reason in the message."""
    (found,) = check_profile(long_division().model(), find_profile("litert_xnnpack"), "rpi4")
    assert str(found) == (
        "E0410 node 'div' (div): element type int64; the kernel takes float32, int16, int32, int8, uint8. "
        "Target 'rpi4' uses LiteRT with XNNPACK. LiteRT runs an operator for the element types that its "
        "kernel was written for. Cast to a type that the kernel takes in the source model."
    )


def test_all_violations_are_collected() -> None:
    """Three nodes that TFLM cannot run give three diagnostics, in the order of the nodes."""
    net = Net()
    x = net.input(1, 4)
    a = net.op("gelu", [x])
    b = net.op("sign", [a])
    net.returns(net.op("pow", [b, b]))
    found = check_profile(net.model(), find_profile("tflm"), "cortex-m7")
    assert [item.where for item in found] == [
        "node 'gelu' (gelu)",
        "node 'sign' (sign)",
        "node 'pow' (pow)",
    ]
    assert {item.code for item in found} == {"E0414"}


def hybrid() -> Net:
    net = Net()
    weights = Value("weights", TensorType((4, 8), DType.INT8), np.ones((4, 8), np.int8))
    return net.returns(net.op("fully_connected", [net.input(1, 8), weights]))


def dynamic() -> Net:
    net = Net()
    return net.returns(net.op("relu", [net.input(-1, 8)]))


def half_weights() -> Net:
    net = Net()
    stored = net.graph.constant(np.ones((4, 8), np.float16))
    weights = net.op("dequantize", [stored])
    return net.returns(net.op("fully_connected", [net.input(1, 8), weights]))


def long_index() -> Net:
    net = Net()
    return net.returns(net.op("arg_max", [net.input(2, 5), net.ints(1)], ArgMaxAttributes()))


def eleven() -> Net:
    net = Net()
    x = net.input(1, 4)
    return net.returns(net.op("concatenation", [x] * 11, ConcatenationAttributes(axis=1)))


TFLM = {
    "float_activations_int8_weights": (hybrid(), ["E0418"]),
    "dynamic_batch": (dynamic(), ["E0415"]),
    "half_precision_weights": (half_weights(), ["E0414", "E0419"]),
    "int64_index": (long_index(), ["E0420"]),
    "eleven_operands": (eleven(), ["E0417"]),
    "rank_6_pad": (wide_pad(6), ["E0416"]),
    "int64_division": (long_division(), ["E0414"]),
}


@pytest.mark.parametrize("name", TFLM)
def test_tflm_rules(name: str) -> None:
    """One model for each rule of the microcontroller profile."""
    net, expected = TFLM[name]
    assert codes(net, "tflm") == expected


def test_tflm_joins_eleven_in_two_steps() -> None:
    """The profile's passes repair what they can, with the same result."""
    net = eleven()
    before = net.run()
    assert codes(legalized(net, "tflm"), "tflm") == []
    np.testing.assert_array_equal(before[0], net.run()[0])


def test_too_new_a_version_is_refused() -> None:
    """The highest version LiteRT registers is a limit of its own."""
    net = Net()
    net.returns(net.op("relu", [net.input(4)]))
    profile = find_profile("litert_xnnpack")
    from edgec.ops import op_spec, registry

    spec = op_spec("relu")
    newer = replace(spec, emit=replace(spec.emit, version=lambda node: 99))
    patched = {**registry.all_ops(), "relu": newer}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "all_ops", lambda: patched)
        (found,) = check_profile(net.model(), profile, "board")
    assert found.code == "E0411"
    assert found.what == "needs version 99; LiteRT registers up to 3"


def test_every_constraint_is_a_sentence() -> None:
    """Rules are shown to people, so each has one, and codes do not repeat."""
    found = [c for name in ("litert_xnnpack", "tflm") for c in find_profile(name).constraints]
    assert all(c.rule.endswith(".") and c.next_step.endswith(".") for c in found)
    assert len({c.code for c in found}) == len(found)


def test_unknown_profile() -> None:
    """Names are checked where boards are read, so an unknown one here is a bug of ours."""
    with pytest.raises(KeyError):
        find_profile("npu")


def test_resize_waits_for_the_final_element_type() -> None:
    """Before quantization nobody knows the bytes of a pixel, so the float passes leave resizing alone."""
    passes = find_profile("litert_xnnpack")
    float_kinds, final_kinds = (
        {kind for item in group for rule in item.rules for kind in rule.kinds}
        for group in (passes.float_passes, passes.final_passes)
    )
    assert "resize_nearest_neighbor" not in float_kinds
    assert "resize_nearest_neighbor" in final_kinds
