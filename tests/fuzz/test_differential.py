"""Random small models give onnxruntime's numbers; and every model that once did not stays right.

Bounded here and always the same examples; `make fuzz EXAMPLES=5000` runs others.
"""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings

from edgec.diagnostics import CompileError
from tests.fuzz.differential import Example, Tally, check, examples
from tests.fuzz.quantizing import check_int8, quantizable

BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)


@settings(BOUNDED, max_examples=250)
@given(examples())
def test_float_models_equal_onnxruntime(example: Example) -> None:
    """Both I/O layouts, with XNNPACK and without, the IR checked after every pass."""
    check(example)


@settings(BOUNDED, max_examples=80)
@given(quantizable())
def test_int8_models_stay_close_on_all_kernel_sets(example: Example) -> None:
    check_int8(example)


def parsed(text: str, opset: int) -> Example:
    """Return an example of ONNX's text form, with random feeds (indices 0 or 1)."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
    generator = np.random.default_rng(0)
    feeds = {}
    for info in model.graph.input:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        feeds[info.name] = generator.uniform(-2, 2, shape).astype(np.float32)
    return Example(model, feeds, largest=2.0)


FOUND = {
    "an output keeps its name when a later pass makes nodes": (
        11,
        """fuzz (float[1,1,1,1] x) => (float[1,1,2,2] y) <float[0] roi = {}, float[4] scales = {1,1,2,2}>
        { y = Resize <mode = "nearest", nearest_mode = "round_prefer_floor"> (x, roi, scales) }""",
    ),
    "a constant k of TopK stays known along an inner axis": (
        11,
        """fuzz (float[3,2] x) => (float[1,2] y, int64[1,2] i) <int64[1] k = {1}>
        { y, i = TopK <axis: int = 0> (x, k) }""",
    ),
    "SAME of a transposed convolution gives no more cells than there are": (
        7,
        """fuzz (float[1,1,1,1] x) => (float[1,1,1,1] y) <float[1,1,1,1] w = {0.5}>
        { y = ConvTranspose <auto_pad = "SAME_UPPER", kernel_shape = [1,1], strides = [1,2]> (x, w) }""",
    ),
    "a start before the first entry is clamped to it under a negative step": (
        10,
        """fuzz (float[1,3] x) => (float[1,1] y)
        <int64[1] a = {-5}, int64[1] e = {-9223372036854775807}, int64[1] d = {1}, int64[1] s = {-1}>
        { y = Slice (x, a, e, d, s) }""",
    ),
    "LiteRT's planner does not overwrite what is read later": (
        8,
        """fuzz (float[1,2,1] x) => (float[1,2,1] y, float[1,2,1] z)
        { v = Elu <alpha = 0.1> (x) y = Softmax (v) z = Relu (v) }""",
    ),
}


@pytest.mark.parametrize(("opset", "text"), FOUND.values(), ids=FOUND)
def test_what_fuzzing_found(opset: int, text: str) -> None:
    """The smallest model of each fault that fuzzing found."""
    tally = Tally()
    check(parsed(text, opset), tally)
    assert tally.clean == 1, "refused"


FOUND_INT8 = {
    "a constant beside a sigmoid is not clamped to 0..1": """fuzz (float[1,2] x) => (float[2,2] y)
        <float[1,2] c = {-0.77,1.5}> { v = Sigmoid (x) y = Concat <axis: int = 0> (v, c) }""",
    "nor beside what only passes a sigmoid on": """fuzz (float[1,2] x) => (float[3,2] y, float[2,2] z)
        <float[1,2] c = {-0.77,1.5}>
        { v = Sigmoid (x) z = Concat <axis: int = 0> (v, v) y = Concat <axis: int = 0> (z, c) }""",
    "a clip above the range of a log-softmax gives its bound": """fuzz (float[1,2] x) => (float[1,2] y)
        <float low = {0.5}, float high = {1.5}> { v = LogSoftmax (x) y = Clip (v, low, high) }""",
    "equalizing leaves a product of several matrices alone": """fuzz (float[2,1,1] x) => (float[2,1,1] y)
        <float[2,1,1] w = {-0.89,-0.35}> { y = MatMul (x, w) }""",
    "and takes a scalar factor as it comes": """fuzz (float[1,1,1] x, float s) => (float[1,1,1] y)
        { v = Relu (x) y = Mul (s, v) }""",
    "channels of a scalar are one": """fuzz (float[1,1] x, float[1] a, float[1] b) => (float y)
        { u = MatMul (x, a) v = Relu (u) y = MatMul (v, b) }""",
    "weights behind a scalar are rounded with it": """fuzz (float[1,1,1] x, float s) => (float[1,1,1] y)
        <float[1,1,1] w = {-0.82}> { v = Relu (x) u = Add (s, v) y = Conv <kernel_shape = [1]> (u, w) }""",
}


@pytest.mark.parametrize("text", FOUND_INT8.values(), ids=FOUND_INT8)
def test_what_int8_fuzzing_found(text: str) -> None:
    tally = Tally()
    check_int8(parsed(text, 11), tally)
    assert tally.clean == 1, "refused"


def test_a_wrong_result_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge judges: a pass that drops the last node makes it fail, and a refusal is only counted."""
    from edgec.passes.eliminate_dead import EliminateDead

    original = EliminateDead.run

    def drop_relu(self: EliminateDead, model: object) -> object:
        graph = model.graph  # type: ignore[attr-defined]
        for node in list(graph):
            if node.kind == "relu":
                graph.replace_uses(node.result, node.operand(0))
        return original(self, model)  # type: ignore[arg-type]

    text = "fuzz (float[2,3] x) => (float[2,3] y) { v = Relu (x) y = Neg (v) }"
    check(parsed(text, 13))
    monkeypatch.setattr(EliminateDead, "run", drop_relu)
    with pytest.raises(AssertionError, match=r"output 0 \(source, xnnpack\): error"):
        check(parsed(text, 13))


def test_a_refusal_is_counted_by_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgec.diagnostics import Diagnostic
    from tests.fuzz import differential

    def refuse(*_: object, **__: object) -> None:
        raise CompileError(Diagnostic("E0202", "node 'a' (Relu, opset 13)", "no"))

    monkeypatch.setattr(differential, "compile_with_ports", refuse)
    tally = Tally()
    check(parsed("fuzz (float[2] x) => (float[2] y) { y = Relu (x) }", 13), tally)
    assert (tally.clean, dict(tally.refused)) == (0, {"E0202 Relu: no": 1})
