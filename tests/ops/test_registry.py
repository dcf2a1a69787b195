"""Every op's facts hold in the kernels: inferred shapes, lowest versions, behaviour under permutation."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Node, TensorType, Value
from edgec.kernels import KernelSet, Runner
from edgec.ops import Builder, OpSpec, all_ops
from edgec.ops.layout import compose, identity, inverse, permuted
from edgec.ops.spec import Case

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


def build(spec: OpSpec, case: Case) -> tuple[Model, Node, list[Array]]:
    graph = Graph()
    builder = Builder(graph)
    arrays, runtime = case_arrays(case)
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


def test_permutation_algebra() -> None:
    """inverse and compose are those of NumPy's transpose."""
    x = np.arange(24).reshape(2, 3, 4)
    for p in permutations(range(3)):
        assert compose(p, inverse(p)) == identity(3)
        assert permuted(x.shape, p) == x.transpose(p).shape
        for q in permutations(range(3)):
            np.testing.assert_array_equal(x.transpose(p).transpose(q), x.transpose(compose(p, q)))
