"""Which schemes a library runs: what is refused is what its kernels refuse or get wrong."""

from __future__ import annotations

import pytest

from edgec.diagnostics import Severity
from edgec.emit import emit
from edgec.ir import DType, Model, Node
from edgec.quantize import quantize_dynamic, quantize_int8, quantize_int16x8, quantize_weight_only
from edgec.quantize.dynamic import DynamicWeights
from edgec.quantize.legality import (
    kinds_with_one_weight_scale,
    litert_takes_int4,
    micro_takes_int4,
    scheme_notes,
    scheme_problems,
    unused_weights,
)
from tests.quantize.small_graphs import Sketch, calibrated


def network() -> Model:
    sketch = Sketch(1)
    x = sketch.depthwise(sketch.conv(sketch.input(1, 6, 6, 3), 120, name="conv"), name="depthwise")
    flat = sketch.build.op("mean", [x, sketch.build.constant([1, 2])], name="mean")
    return sketch.model(sketch.dense(flat, 200, name="dense"))


def violations(model: Model, test: object) -> dict[str, str]:
    assert callable(test)
    return {node.kind: found for node in model.graph if (found := test(node)) is not None}


def test_litert_runs_every_combination_but_two_names_for_one_thing() -> None:
    """float16 is a form of the weights itself."""
    for precision in ("float32", "dynamic", "int8", "int16x8"):
        for weights in (None, "int8", "int4"):
            assert scheme_problems(precision, weights, "litert_xnnpack") == []
    (found,) = scheme_problems("float16", "int4", "litert_xnnpack")
    assert str(found) == (
        "E0426 --weights: int4 weights do not go with float16. float16 is a form of the weights itself. "
        "Leave --weights out."
    )


@pytest.mark.parametrize(
    ("precision", "weights", "why"),
    [
        ("float32", "int8", "dequantize the weights again at every run"),
        ("float32", "int4", "dequantize the weights again at every run"),
        ("dynamic", "int4", "no kernels for float activations with integer weights"),
        ("int16x8", "int4", "int4 kernels take int8 activations alone"),
    ],
)
def test_micro_kernels_take_integer_weights_beside_integers_only(
    precision: str, weights: str, why: str
) -> None:
    """Each with its reason and the way out; int8 with int4 weights is fine."""
    assert weights in ("int8", "int4")
    (found,) = scheme_problems(precision, weights, "tflm")
    assert str(found).startswith(f"E0426 --weights: {weights} weights do not go with {precision} on tflm.")
    assert why in str(found)
    assert str(found).endswith("Use --int8 with int8 or int4 weights.")
    assert scheme_problems("int8", "int4", "tflm") == []


def test_the_delegate_s_limits_are_notes() -> None:
    """Right but slow: said, not refused; nothing to say of int8, nor of libraries without a delegate."""
    (found,) = scheme_notes("int16x8", None, "litert_xnnpack")
    assert found.severity is Severity.NOTE
    assert str(found) == (
        "W0443 --int16x8: makes a smaller or exacter model, not a faster one. XNNPACK has no int16 kernels: "
        "everything runs in the builtin ones. Use --int8 for speed."
    )
    (found,) = scheme_notes("float32", "int4", "litert_xnnpack")
    assert found.where == "--float32 --weights int4"
    for precision, weights, library in (
        ("int8", None, "litert_xnnpack"),
        ("float32", "int8", "litert_xnnpack"),
        ("dynamic", "int4", "litert_xnnpack"),
        ("int16x8", None, "tflm"),
    ):
        assert scheme_notes(precision, weights, library) == []


def test_int4_beside_what_no_kernel_computes() -> None:
    """LiteRT: conv and fully_connected beside anything, depthwise beside int8 alone."""
    model = network()
    ranges = calibrated(model)
    made = quantize_int8(model, ranges, weights=DType.INT4)
    assert violations(made, litert_takes_int4) == {}
    wide = quantize_int16x8(model, ranges, weights=DType.INT4)
    assert violations(wide, litert_takes_int4) == {}
    depthwise = next(node for node in wide.graph if node.kind == "depthwise_conv_2d")
    store_as_int4(depthwise)
    expected = {"depthwise_conv_2d": "int4 weights beside int16 activations"}
    assert violations(wide, litert_takes_int4) == expected


def store_as_int4(node: Node) -> None:
    weights = node.operand(1)
    weights.type = type(weights.type)(weights.shape, DType.INT4, weights.type.quantization)


def test_micro_int4_needs_int8_activations_and_one_scale_where_it_multiplies_matrices() -> None:
    """`kinds_with_one_weight_scale` is what the quantizer has to be told, then the rule holds."""
    model = network()
    ranges = calibrated(model)
    made = quantize_int8(model, ranges, weights=DType.INT4)
    assert violations(made, micro_takes_int4) == {"fully_connected": "int4 weights with 200 scales"}
    kinds = kinds_with_one_weight_scale("int4", "tflm")
    made = quantize_int8(model, ranges, weights=DType.INT4, per_tensor_kinds=kinds)
    assert violations(made, micro_takes_int4) == {}
    wide = quantize_int16x8(model, ranges, weights=DType.INT4)
    assert set(violations(wide, micro_takes_int4)) == {"conv_2d", "fully_connected"}
    hybrid = quantize_dynamic(model, DynamicWeights(DType.INT4))
    assert violations(hybrid, micro_takes_int4) == {
        "fully_connected": "int4 weights beside float32 activations"
    }
    assert kinds_with_one_weight_scale("int4", "litert_xnnpack") == ()
    assert kinds_with_one_weight_scale(None, "tflm") == ()


def test_the_refusals_are_the_library_s_own() -> None:
    """TFLM does not load what the rules refuse, and loads what they let pass."""
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is an extra")
    model = network()
    ranges = calibrated(model)
    refused = [
        quantize_int8(model, ranges, weights=DType.INT4),
        quantize_int16x8(model, ranges, weights=DType.INT4),
        quantize_dynamic(model, DynamicWeights(DType.INT4)),
        quantize_weight_only(model, DType.INT4),
    ]
    for made in refused:
        with pytest.raises(Exception, match="TFLM failed to allocate tensors"):
            micro.Interpreter.from_bytes(emit(made).to_bytes(), arena_size=1 << 18)
    kinds = kinds_with_one_weight_scale("int4", "tflm")
    made = quantize_int8(model, ranges, weights=DType.INT4, per_tensor_kinds=kinds)
    micro.Interpreter.from_bytes(emit(made).to_bytes(), arena_size=1 << 18).invoke()


def test_int4_that_no_weight_became_is_said() -> None:
    """A matrix of 48 elements has nothing to gain from 4 bits and stays int8: then the option did nothing."""
    sketch = Sketch(1)
    small = sketch.model(sketch.dense(sketch.input(1, 8), 6))
    made = quantize_int8(small, calibrated(small), weights=DType.INT4)
    (found,) = unused_weights(made, "int4")
    assert str(found).startswith("W0445 --weights int4: changes nothing: no weight of this model is int4.")
    assert unused_weights(made, "int8") == []
    large = network()
    assert unused_weights(quantize_int8(large, calibrated(large), weights=DType.INT4), "int4") == []
