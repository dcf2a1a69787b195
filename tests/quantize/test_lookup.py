"""Functions without an int8 kernel become tables: integer-only, and as near as eight bits can be."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import NO_ATTRIBUTES, Array, Attributes, DType, Model, Value
from edgec.kernels import KernelSet
from edgec.ops import ActivationFunctionType, all_ops
from edgec.ops.bits import BitcastAttributes
from edgec.ops.elementwise import CastAttributes, DivAttributes
from edgec.ops.verify_ir import verify_ir
from edgec.passes.contract import RulePass
from edgec.quantize import check_quantized, int8_problems, quantize_int8
from edgec.quantize.lookup import UseLookupTable, lookup_operands
from tests.quantize.small_graphs import Sketch, encode, kinds, run_float, run_stored

ONE = ["cast", "add", "gather"]
TWO = ["cast", "cast", "mul", "add", "add", "gather"]
SHAPE = (1, 16, 16, 3)
LOW, HIGH = 0.1, 3.0  # every function has a value here


def function(
    kind: str, constants: tuple[float, ...] = (), activations: int = 1, attributes: Attributes = NO_ATTRIBUTES
) -> Model:
    sketch = Sketch()
    operands: list[Value] = [sketch.input(*SHAPE, name=f"x{i}") for i in range(activations)]
    operands += [sketch.build.constant(np.float32(number)) for number in constants]
    return sketch.model(sketch.build.op(kind, operands, attributes, name="y"))


def sample(model: Model, low: float = LOW, high: float = HIGH) -> dict[str, Array]:
    generator = np.random.default_rng(5)
    return {p.name: generator.uniform(low, high, p.shape).astype(np.float32) for p in model.inputs}


def quantized(model: Model, inputs: tuple[float, float] = (LOW, HIGH)) -> Model:
    """Quantize with the ranges of one sample."""
    (y,) = run_float(model, sample(model, *inputs))
    ranges = {port.name: inputs for port in model.inputs}
    made = quantize_int8(model, {**ranges, "y": (float(np.nanmin(y)), float(np.nanmax(y)))})
    verify_ir(made)
    assert check_quantized(made) == []
    return made


def error_in_steps(model: Model, made: Model, inputs: dict[str, Array], kernels: KernelSet) -> float:
    """Largest distance from f(the real values of the stored inputs), in steps of the result."""
    stored = [encode(v, inputs[p.name]) for v, p in zip(made.graph.inputs, made.inputs, strict=True)]
    held = {
        p.name: (
            (q.astype(np.float32) - v.type.quantization.zero_point[0])
            * np.float32(v.type.quantization.scale[0])
        )
        for p, q, v in zip(made.inputs, stored, made.graph.inputs, strict=True)
        if v.type.quantization is not None
    }
    (truth,) = run_float(model, held)
    (found,) = run_stored(made, inputs, kernels)
    form = made.graph.outputs[0].type.quantization
    if form is None:
        return float(np.abs(truth.astype(np.float64) - found).max())
    wanted = np.clip(truth / np.float32(form.scale[0]) + form.zero_point[0], -128, 127)
    return float(np.abs(wanted - found).max())


@pytest.mark.parametrize("kernels", list(KernelSet))
@pytest.mark.parametrize("kind", ["sqrt", "sin", "cos", "floor", "ceil", "round", "sign", "square", "neg"])
def test_a_function_of_one_operand(kind: str, kernels: KernelSet) -> None:
    """Half a step at most (and what float32 adds): the table is the rounded function itself."""
    model = function(kind)
    made = quantized(model)
    assert kinds(made) == ONE
    assert error_in_steps(model, made, sample(model), kernels) <= 0.5 + 1e-4


@pytest.mark.parametrize("kernels", list(KernelSet))
@pytest.mark.parametrize("kind", ["pow", "div", "atan2", "floor_div", "floor_mod"])
def test_a_function_of_two_operands(kind: str, kernels: KernelSet) -> None:
    """Every pair of integers has its entry, so the same half step; steps of floor are not rounded over."""
    model = function(kind, activations=2)
    made = quantized(model)
    assert kinds(made) == TWO
    assert error_in_steps(model, made, sample(model), kernels) <= 0.5 + 1e-3


def test_constants_of_one_element_are_part_of_the_table() -> None:
    """An exponent keeps its float value; on either side of the operator."""
    model = function("pow", (1.7,))
    made = quantized(model)
    assert kinds(made) == ONE
    assert error_in_steps(model, made, sample(model), KernelSet.REFERENCE) <= 0.5 + 1e-4
    sketch = Sketch()
    x = sketch.input(*SHAPE, name="x0")
    one = sketch.build.constant(np.array([[[[1.0]]]], np.float32))
    inverse = sketch.model(sketch.build.op("div", [one, x], DivAttributes(ActivationFunctionType.RELU6), "y"))
    made = quantized(inverse)
    assert kinds(made) == ONE
    assert error_in_steps(inverse, made, sample(inverse), KernelSet.REFERENCE) <= 0.5 + 1e-3


def test_operands_broadcast() -> None:
    """The entry's number is integer arithmetic, which broadcasts like the function itself."""
    sketch = Sketch()
    x, row = sketch.input(1, 4, 5, 3, name="x0"), sketch.input(3, name="x1")
    model = sketch.model(sketch.build.op("div", [x, row], name="y"))
    made = quantized(model)
    assert error_in_steps(model, made, sample(model), KernelSet.XNNPACK) <= 0.5 + 1e-3


def test_division_by_what_rounds_to_zero_does_not_end_the_run() -> None:
    """LiteRT's int8 division does; here 1 / 0 is the largest number, and 0 / 0 the quotient beside it."""
    model = function("div", activations=2)
    ranges = {"x0": (0.0, 1.0), "x1": (0.0, 100.0), "y": (0.0, 10.0)}
    made = quantize_int8(model, ranges)
    inputs = {"x0": np.full(SHAPE, 1.0, np.float32), "x1": np.full(SHAPE, 0.01, np.float32)}
    assert (run_stored(made, inputs, KernelSet.BUILTIN)[0] == 127).all()
    inputs["x0"] = np.zeros(SHAPE, np.float32)
    assert (run_stored(made, inputs, KernelSet.BUILTIN)[0] == -128).all()


def test_where_a_function_has_no_value_its_neighbour_stands_in() -> None:
    """sqrt of [-1, 4]: what is below zero, which calibration did not mean, gives sqrt(0) = 0."""
    made = quantize_int8(function("sqrt"), {"x0": (-1.0, 4.0), "y": (0.0, 2.0)})
    stored = run_stored(made, {"x0": np.full(SHAPE, -0.7, np.float32)}, KernelSet.REFERENCE)[0]
    assert (stored == -128).all()


def test_casts_of_reals_count_exactly() -> None:
    """float → int32 and bool: a table of integers, truncated like the kernel does."""
    for dtype in (DType.INT32, DType.BOOL):
        model = function("cast", attributes=CastAttributes(DType.FLOAT32, dtype))
        made = quantize_int8(model, {"x0": (-3.0, 3.0)})
        assert kinds(made) == ONE
        assert made.graph.outputs[0].dtype is dtype
        assert error_in_steps(model, made, sample(model, -3, 3), KernelSet.REFERENCE) == 0


@pytest.mark.parametrize("kind", ["exp", "log", "abs", "rsqrt", "tanh", "relu"])
def test_functions_with_a_kernel_keep_it(kind: str) -> None:
    """A table is slower than a kernel of its own."""
    assert kinds(quantized(function(kind))) == [kind]


def test_what_is_no_function_of_single_numbers_is_still_refused() -> None:
    """Bits have no table; a constant per channel would need one table each."""
    (problem,) = int8_problems(function("bitcast", attributes=BitcastAttributes(DType.INT32)))
    assert "The bits of a number change" in str(problem)
    sketch = Sketch()
    exponents = sketch.build.constant(np.array([0.5, 1.5, 2.5], np.float32))
    model = sketch.model(sketch.build.op("pow", [sketch.input(*SHAPE), exponents], name="y"))
    assert lookup_operands(next(iter(model.graph))) == ()
    (problem,) = int8_problems(model)
    assert "(pow): cannot be int8. The kernel has no int8 form" in str(problem)


def test_the_registry_says_which_functions_have_tables() -> None:
    """All of them are element-wise: their result at a place depends on that place alone."""
    marked = {spec.name for spec in all_ops().values() if spec.quant.lookup}
    assert {"sin", "sqrt", "pow", "div", "cast"} <= marked
    assert all(all_ops()[name].layout.name == "elementwise" for name in marked)


@pytest.mark.parametrize("kind", ["exp", "log", "gelu", "rsqrt", "relu_n1_to_1"])
def test_a_library_that_lacks_a_kernel_gets_the_table(kind: str) -> None:
    """The same integers as from LiteRT's kernel (exp, log and rsqrt are tables there, too), in TFLM's."""
    made = quantized(function(kind))
    inputs = sample(function(kind))
    expected = run_stored(made, inputs, KernelSet.REFERENCE)[0]
    legal = RulePass("tables", (UseLookupTable("tflm"),)).run(made).model
    verify_ir(legal)
    assert kinds(legal) == ONE
    np.testing.assert_array_equal(run_stored(legal, inputs, KernelSet.REFERENCE)[0], expected)
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    interpreter = runtime.Interpreter.from_bytes(emit(legal).to_bytes())
    interpreter.set_input(encode(legal.graph.inputs[0], inputs["x0"]), 0)
    interpreter.invoke()
    np.testing.assert_array_equal(interpreter.get_output(0), expected)


def test_a_library_keeps_the_kernels_it_has() -> None:
    """LiteRT's exp stays exp; a float function is not touched."""
    made = quantized(function("exp"))
    assert not RulePass("tables", (UseLookupTable("litert"),)).run(made).modified
    assert not RulePass("tables", (UseLookupTable("tflm"),)).run(function("exp")).modified


@pytest.mark.parametrize("kernels", list(KernelSet))
@pytest.mark.parametrize("dtype", [DType.BOOL, DType.INT32, DType.INT64, DType.UINT8])
def test_integers_that_become_real_numbers_are_their_own_values(dtype: DType, kernels: KernelSet) -> None:
    """Their scale is 1, so quantizing is one requantize; half a step of the result's scale."""
    sketch = Sketch()
    x = sketch.input(*SHAPE, name="x0", dtype=dtype)
    real = sketch.build.op("cast", [x], CastAttributes(dtype, DType.FLOAT32), "real")
    model = sketch.model(sketch.build.op("mul", [real, sketch.build.constant(np.float32(0.3))], name="y"))
    high = 1 if dtype is DType.BOOL else 100
    made = quantize_int8(model, {"x0": (0, high), "real": (0.0, high), "y": (0.0, 0.3 * high)})
    verify_ir(made)
    assert check_quantized(made) == []
    assert kinds(made) == ["cast", "quantize", "mul"]
    values = np.random.default_rng(2).integers(0, high + 1, SHAPE).astype(dtype.numpy)
    (found,) = run_stored(made, {"x0": values}, kernels)
    form = made.graph.outputs[0].type.quantization
    assert form is not None
    real_result = (found.astype(np.float32) - form.zero_point[0]) * form.scale[0]
    assert (
        np.abs(real_result - 0.3 * values.astype(np.float32)).max() <= 1.01 * form.scale[0]
    )  # two roundings
