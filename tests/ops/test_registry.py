"""Every op's facts hold in the kernels: inferred shapes, lowest versions, behaviour under permutation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Node, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import Builder, OpSpec, all_ops
from edgec.ops.layout import compose, identity, inverse, permuted
from edgec.ops.spec import Case, Constraint, Gathering, Homogeneity

CASES = [
    pytest.param(spec, case, id=f"{spec.name}-{case.name}")
    for spec in all_ops().values()
    for case in spec.cases
]


def case_arrays(case: Case) -> tuple[list[Array | None], list[int]]:
    """Return the operands as arrays (shapes drawn from a seeded generator) and which are run-time inputs."""
    generator = np.random.default_rng(0)

    def array(item: object) -> Array | None:
        if isinstance(item, tuple):
            return generator.standard_normal(item).astype(np.float32)
        return None if item is None else np.asarray(item)

    arrays = [array(item) for item in case.operands]
    drawn = [index for index, item in enumerate(case.operands) if isinstance(item, tuple)]
    return arrays, drawn or [0]


def build(
    spec: OpSpec, case: Case, change: Callable[[int, Array], Array] = lambda index, array: array
) -> tuple[Model, Node, list[Array]]:
    """Return the node as a model and what to feed; `change` makes other operands of the case's."""
    graph = Graph()
    builder = Builder(graph)
    drawn, runtime = case_arrays(case)
    arrays = [None if array is None else change(index, array) for index, array in enumerate(drawn)]
    operands: list[Value | None] = []
    for index, array in enumerate(arrays):
        if array is None:
            operands.append(None)
            continue
        type = TensorType(array.shape, DType.of(array))
        operands.append(graph.add_input(f"x{index}", type) if index in runtime else builder.constant(array))
    node = builder.node(spec.name, operands, case.attributes)
    graph.set_outputs(node.results)
    return Model(graph), node, [array for index in runtime if (array := arrays[index]) is not None]


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_kernel_agrees_with_inference(spec: OpSpec, case: Case) -> None:
    """The kernel accepts the emitted version and returns the inferred shape and dtype."""
    model, node, feeds = build(spec, case)
    outputs = Runner(emit(model).to_bytes()).run(feeds)
    assert [output.shape for output in outputs] == [result.shape for result in node.results]
    assert [DType.of(output) for output in outputs] == [result.dtype for result in node.results]


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_kernels_agree(spec: OpSpec, case: Case) -> None:
    """The delegate and the builtin kernels compute the same (float32 sums may be ordered differently)."""
    model, _, feeds = build(spec, case)
    flat = emit(model).to_bytes()
    for fast, plain in zip(
        Runner(flat).run(feeds), Runner(flat, kernels=KernelSet.BUILTIN).run(feeds), strict=True
    ):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("spec", "case"), [c for c in CASES if c.values[0].fold is not None])
def test_numpy_fold_equals_the_kernel(spec: OpSpec, case: Case) -> None:
    """Movement folded in NumPy gives the kernel's bytes: nothing is computed, only moved."""
    model, _, feeds = build(spec, case)
    outputs = Runner(emit(model).to_bytes()).run(feeds)
    graph = Graph()
    builder = Builder(graph)
    arrays, _ = case_arrays(case)
    operands = [None if array is None else builder.constant(array) for array in arrays]
    node = builder.node(spec.name, operands, case.attributes)
    assert spec.fold is not None
    folded = spec.fold(node)
    assert folded is not None
    for ours, kernel in zip(folded, outputs, strict=True):
        np.testing.assert_array_equal(ours, kernel)


@pytest.mark.parametrize(("spec", "case"), CASES)
def test_permuted_node_computes_permuted_results(spec: OpSpec, case: Case) -> None:
    """Where the layout fact rewires a node for a permutation, its results are exactly the permuted ones."""
    model, node, feeds = build(spec, case)
    expected = Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN).run(feeds)
    rank = max(value.type.rank for value in node.operands if value is not None)
    if rank > 4:
        pytest.skip("too many permutations")
    for permutation in permutations(range(rank)):
        rewired = spec.layout.rewire(node, permutation)
        if rewired is None:
            continue
        graph = Graph()
        builder = Builder(graph)
        arrays, runtime = case_arrays(case)
        operands: list[Value | None] = []
        permuted_feeds: list[Array] = []
        for index, array in enumerate(arrays):
            array = rewired.constants.get(index, array)
            if array is None:
                operands.append(None)
                continue
            wanted = rewired.delivered.get(index)
            if wanted is not None:
                array = array.reshape((1,) * (len(wanted) - array.ndim) + array.shape).transpose(wanted)
            if index in runtime:
                operands.append(graph.add_input(f"x{index}", TensorType(array.shape, DType.of(array))))
                permuted_feeds.append(array)
            else:
                operands.append(builder.constant(np.ascontiguousarray(array)))
        made = builder.node(spec.name, operands, rewired.attributes)
        graph.set_outputs(made.results)
        results = Runner(emit(Model(graph)).to_bytes(), kernels=KernelSet.BUILTIN).run(permuted_feeds)
        for canonical, result, order in zip(expected, results, rewired.results, strict=True):
            # Reductions and products may add in another order: rounding of a few float32 terms.
            np.testing.assert_allclose(result, canonical.transpose(order), rtol=2e-6, atol=1e-6)


def run(
    spec: OpSpec, case: Case, change: Callable[[int, Array], Array] = lambda index, array: array
) -> list[Array]:
    model, _, feeds = build(spec, case, change)
    return Runner(emit(model).to_bytes(), kernels=KernelSet.BUILTIN).run(feeds)


def cases_where(holds: Callable[[OpSpec], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("spec", "case"), [c for c in CASES if holds(c.values[0])])


@cases_where(lambda spec: spec.homogeneous is not Homogeneity.NONE)
def test_a_homogeneous_op_passes_positive_factors_on(spec: OpSpec, case: Case) -> None:
    """A factor for each channel of the operands that the fact names; other operands stay."""
    plain = run(spec, case)[0]
    channels = np.asarray(case_arrays(case)[0][0]).shape[-1]
    factors = np.linspace(0.5, 3.0, channels, dtype=np.float32)
    groups = {Homogeneity.FIRST: [{0}], Homogeneity.EACH: [{0}, {1}], Homogeneity.TOGETHER: [{0, 1}]}
    for scaled in groups[spec.homogeneous]:
        found = run(spec, case, lambda index, a, scaled=scaled: a * factors if index in scaled else a)[0]
        np.testing.assert_allclose(found, plain * factors, rtol=1e-5, atol=1e-6)


@cases_where(lambda spec: spec.gathers is not Gathering.UNKNOWN)
def test_what_is_gathered_moves_with_its_elements_and_stays_among_them(spec: OpSpec, case: Case) -> None:
    """One element, or a mean of some: f(x + 1) = f(x) + 1, within the range of x; means add up."""
    plain = run(spec, case)[0]
    x = np.asarray(case_arrays(case)[0][0])
    moved = run(spec, case, lambda index, a: a + np.float32(1) if index == 0 else a)[0]
    np.testing.assert_allclose(moved, plain + 1, rtol=1e-5, atol=1e-6)
    assert x.min() - 1e-6 <= plain.min() and plain.max() <= x.max() + 1e-6
    if spec.gathers is Gathering.MEAN:
        reversed_too = run(spec, case, lambda index, a: a[..., ::-1] + a if index == 0 else a)[0]
        np.testing.assert_allclose(reversed_too, plain[..., ::-1] + plain, rtol=1e-5, atol=1e-6)


@cases_where(lambda spec: spec.quant.constraint is Constraint.SAME_SCALE and not spec.quant.blends)
def test_an_op_that_picks_values_lets_its_operands_saturate(spec: OpSpec, case: Case) -> None:
    """Cut off around zero (which pads) before or after: the same, to the bit."""
    real = [array for array in case_arrays(case)[0] if array is not None and array.dtype == np.float32]
    low, high = (min(np.quantile(real[0], 0.25), 0.0), max(np.quantile(real[0], 0.75), 0.0))

    def cut(array: Array) -> Array:
        return np.clip(array, np.float32(low), np.float32(high)) if array.dtype == np.float32 else array

    before = run(spec, case, lambda index, array: cut(array))
    for found, plain in zip(before, run(spec, case), strict=True):
        if plain.dtype == np.float32:
            np.testing.assert_array_equal(cut(found), cut(plain))


@cases_where(lambda spec: spec.carries)
def test_what_an_op_carries_stays_in_order(spec: OpSpec, case: Case) -> None:
    """Another shape or type holds the same numbers."""
    np.testing.assert_array_equal(run(spec, case)[0].ravel(), np.asarray(case_arrays(case)[0][0]).ravel())


@cases_where(lambda spec: bool(spec.quant.weights and spec.quant.weights.axes))
def test_the_axes_of_weights_are_those_of_the_kernel(spec: OpSpec, case: Case) -> None:
    """Twice the weights of one output, without bias, double this output; an input's weights hear it alone."""
    facts = spec.quant.weights
    assert facts is not None
    axis = facts.axes.index("o")
    assert axis == facts.quantized_dimension

    def without_bias(index: int, array: Array) -> Array:
        return np.zeros_like(array) if index == facts.bias else array

    def one_doubled(index: int, array: Array) -> Array:
        if index != facts.operand:
            return without_bias(index, array)
        factors = np.ones(array.shape[axis], np.float32)
        factors[0] = 2
        return array * factors.reshape([-1 if at == axis else 1 for at in range(array.ndim)])

    plain, doubled = run(spec, case, without_bias)[0], run(spec, case, one_doubled)[0]
    np.testing.assert_allclose(doubled[..., 1:], plain[..., 1:], rtol=1e-5, atol=1e-6)
    if getattr(case.attributes, "fused_activation_function", "NONE") in ("NONE", "RELU"):
        np.testing.assert_allclose(doubled[..., 0], 2 * plain[..., 0], rtol=1e-5, atol=1e-6)


def test_permutation_algebra() -> None:
    """inverse and compose are those of NumPy's transpose."""
    x = np.arange(24).reshape(2, 3, 4)
    for p in permutations(range(3)):
        assert compose(p, inverse(p)) == identity(3)
        assert permuted(x.shape, p) == x.transpose(p).shape
        for q in permutations(range(3)):
            np.testing.assert_array_equal(x.transpose(p).transpose(q), x.transpose(compose(p, q)))
