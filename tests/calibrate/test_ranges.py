"""Calibration runs: the right tensors, the right numbers, in constant memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgec.calibrate.instrument import instrumented, plan_watch, select
from edgec.calibrate.ranges import Ranges, choose_ranges, collect_histograms, collect_ranges
from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Port, TensorType
from edgec.kernels import KernelSet, Runner
from edgec.ops import Builder
from edgec.ops.conv import Conv2DAttributes
from edgec.ops.elementwise import AddAttributes
from edgec.ops.spec import ActivationFunctionType


def halves_and_roots() -> Model:
    """x → relu → h; h → mul 0.5 → y; x → softmax → s (fixed scale: no range needed)."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 4)))
    build = Builder(graph)
    h = build.op("relu", [x], name="h")
    y = build.op("mul", [h, build.constant(0.5)], name="y")
    s = build.op("softmax", [x], name="s")
    graph.set_outputs([y, s])
    return Model(graph, [Port("x", (1, 4), DType.FLOAT32)], [Port(v.name, v.shape, v.dtype) for v in (y, s)])


def sample(*values: float) -> dict[str, Array]:
    return {"x": np.array([values], np.float32)}


SAMPLES = [sample(-3.0, 1.0, 2.0, 0.5), sample(0.0, 4.0, -1.0, -8.0)]


def test_ranges_of_every_tensor_that_quantization_asks_for() -> None:
    """Inputs, inner tensors and outputs; none for the softmax, whose kernel prescribes its scale."""
    found = collect_ranges(halves_and_roots(), SAMPLES)
    assert dict(found) == {"x": (-8.0, 4.0), "h": (0.0, 4.0), "y": (0.0, 2.0)}
    assert (found.samples, found.observer) == (2, "minmax")


def test_the_order_of_samples_and_the_threads_change_nothing() -> None:
    """Unlike a moving average."""
    model = halves_and_roots()
    assert collect_ranges(model, SAMPLES, threads=1) == collect_ranges(model, SAMPLES[::-1], threads=2)


def test_samples_are_streamed_and_progress_is_told() -> None:
    """The next sample is asked for only after the last one is done, so memory does not grow with them."""
    done: list[int] = []

    def stream() -> Iterator[dict[str, Array]]:
        for index in range(5):
            assert done == list(range(1, index + 1))
            yield sample(float(index), 0.0, 0.0, 0.0)

    assert collect_ranges(halves_and_roots(), stream(), progress=done.append)["x"] == (0.0, 4.0)
    assert done == [1, 2, 3, 4, 5]


def test_the_model_is_left_as_it_was() -> None:
    """Its outputs are not replaced by what was watched."""
    model = halves_and_roots()
    before = emit(model).to_bytes()
    collect_ranges(model, SAMPLES)
    assert emit(model).to_bytes() == before


def test_samples_in_the_source_s_layout_are_transposed() -> None:
    """The port says how: here channels last, so that the first channel's range is found in its place."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 1, 3, 2)))
    build = Builder(graph)
    y = build.op("mul", [x, build.constant(np.array([1.0, 100.0], np.float32))], name="y")
    graph.set_outputs([y])
    model = Model(
        graph, [Port("x", (1, 2, 1, 3), DType.FLOAT32, (0, 2, 3, 1))], [Port("y", y.shape, DType.FLOAT32)]
    )
    values = np.array([[[[5.0, 6.0, 7.0]], [[0.1, 0.2, 0.3]]]], np.float32)
    assert collect_ranges(model, [{"x": values}])["y"] == pytest.approx((5.0, 30.0))


@pytest.mark.parametrize("observer", ["percentile", "mse"])
def test_other_observers_see_the_same_tensors(observer: str) -> None:
    """A single outlier of 10,000 values is cut off by both."""
    values = np.random.default_rng(0).normal(size=(1, 10_000)).astype(np.float32)
    values[0, 0] = 1000.0
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 10_000)))
    graph.set_outputs([Builder(graph).op("neg", [Builder(graph).op("relu", [x], name="y")], name="z")])
    model = Model(graph, [Port("x", x.shape, DType.FLOAT32)], [Port("z", x.shape, DType.FLOAT32)])
    found = collect_ranges(model, [{"x": values}], observer)
    assert set(found) == {"x", "y", "z"}
    assert found["y"][0] == 0.0
    assert found.observer == observer
    if observer == "percentile":
        assert 3.0 < found["y"][1] < 6.0
    assert found["z"][0] == -1000.0  # an answer is never cut off: the rare one may be what counts


@pytest.mark.parametrize("end", ["logistic", "softmax"])
def test_what_only_becomes_an_answer_keeps_its_range(end: str) -> None:
    """Logits of a rare detection lie far from all others, and squared errors would clip them away."""
    values = np.random.default_rng(0).normal(size=(1, 10_000)).astype(np.float32)
    values[0, 0] = 1000.0
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 10_000)))
    build = Builder(graph)
    answer = build.op(end, [build.op("neg", [x], name="y")], name="z")
    graph.set_outputs([answer])
    model = Model(graph, [Port("x", x.shape, DType.FLOAT32)], [Port("z", answer.shape, DType.FLOAT32)])
    found = collect_ranges(model, [{"x": values}], "percentile")
    useful = {"logistic": -math.log(1023)}.get(end, -1000.0)  # beyond, a sigmoid's int8 result is 0
    assert found["y"][0] == pytest.approx(useful)


def test_ranges_survive_json() -> None:
    """Exactly: the cache must give the bytes that a fresh run gives."""
    found = Ranges({"a": (-0.1, float(np.float32(1 / 3)))}, 7, "mse")
    assert Ranges.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(ValueError, match="'ranges' has to be a table"):
        Ranges.from_dict({"samples": 3})


def fails(samples: list[dict[str, Array]], observer: str = "minmax") -> str:
    with pytest.raises(CompileError) as caught:
        collect_ranges(halves_and_roots(), samples, observer)
    return str(caught.value)


def test_what_does_not_fit_is_said_in_words() -> None:
    """No samples, a missing input, a wrong shape, an unknown observer."""
    assert fails([]) == "E0308 calibration: gave no samples. At least one is needed."
    missing = fails([{"z": np.zeros(4, np.float32)}])
    assert missing == "E0303 calibration: a sample has no array for input 'x'. It has 'z'."
    wrong = fails([{"x": np.zeros((4, 1), np.float32)}])
    assert wrong == "E0304 calibration: a sample of input 'x' is [4,1], not [1,4]."
    assert "E0314 calibration: observer 'best'. Known: minmax, percentile, mse" in fails(SAMPLES, "best")


def test_nan_inside_the_model_is_reported_with_its_tensor() -> None:
    """The sample is fine; the square root of -1 is not."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 4)))
    build = Builder(graph)
    root = build.op("sqrt", [x], name="root")
    graph.set_outputs([build.op("add", [root, build.constant(1.0)], name="y")])
    model = replace(halves_and_roots(), graph=graph, outputs=[Port("y", (1, 4), DType.FLOAT32)])
    with pytest.raises(CompileError, match="E0316 root: holds NaN or infinity"):
        collect_ranges(model, [sample(-1.0, 1.0, 1.0, 1.0)])


def image_model() -> Model:
    """x → pad → conv → relu6 → reshape → tanh, with tensors large enough to be reduced in the graph."""
    random = np.random.default_rng(0)
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 12, 14, 3)))
    build = Builder(graph)
    padded = build.op(
        "pad", [x, build.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))], name="padded"
    )
    weights = build.constant(random.normal(0, 0.5, (8, 3, 3, 3)).astype(np.float32))
    y = build.op(
        "conv_2d", [padded, weights, build.constant(np.zeros(8, np.float32))], Conv2DAttributes(), name="y"
    )
    z = build.op("relu6", [y], name="z")
    flat = build.reshape(z, (1, 12 * 14 * 8), name="flat")
    root = build.op("sqrt", [flat], name="root")
    graph.set_outputs([root])
    ports = [Port("x", x.shape, DType.FLOAT32)], [Port("root", root.shape, DType.FLOAT32)]
    return Model(graph, *ports)


def image_samples(count: int) -> list[dict[str, Array]]:
    random = np.random.default_rng(1)
    return [{"x": random.normal(0.5, 1, (1, 12, 14, 3)).astype(np.float32)} for _ in range(count)]


def all_values(model: Model, samples: list[dict[str, Array]]) -> dict[str, np.ndarray]:
    """Return what every tensor really held, from a run that brings all of them out."""
    values = [value for node in model.graph for value in node.results]
    model.graph.set_outputs(values)
    ports = [Port(value.name, value.shape, value.dtype) for value in values]
    runner = Runner(emit(replace(model, outputs=ports)).to_bytes())
    rows = [runner.run([sample["x"]]) for sample in samples]
    found = {value.name: np.stack([row[index] for row in rows]) for index, value in enumerate(values)}
    return found | {"x": np.stack([sample["x"] for sample in samples])}


def test_extremes_from_inside_the_graph_are_exact() -> None:
    """Reduced in the graph, derived through pads and reshapes, or read outside: NumPy says the same."""
    samples = image_samples(7)
    found = collect_histograms(image_model(), samples, values=False)
    truth = all_values(image_model(), samples)
    for name, tensor in found.items():
        expected = truth[name]
        assert (tensor.low, tensor.high) == (expected.min(), expected.max()), name
        means = [[getattr(row, f)() for row in expected] for f in ("min", "max")]
        assert (tensor.mean_low, tensor.mean_high) == pytest.approx([np.mean(m, dtype=float) for m in means])
    assert set(found) == {"x", "padded", "y", "flat", "root"}


def test_each_kind_of_tensor_is_watched_where_it_costs_least() -> None:
    """A square root can make NaN, which reductions skip: it comes out whole. Small ones do, too."""
    plan = plan_watch(image_model().graph, 100)
    assert [source.value.name for source in plan.reduced] == ["y", "z"]
    assert [source.value.name for source in plan.whole] == ["root"]
    assert plan_watch(halves_and_roots().graph, 0).reduced == ()
    assert {source.value.name for source in plan_watch(halves_and_roots().graph, 0).small} == {"h", "y"}


def test_values_kept_inside_the_graph_are_those_that_would_be_selected_outside() -> None:
    """Every n-th pixel with all its channels, bit for bit."""
    model, (sample,) = image_model(), image_samples(1)
    plan = plan_watch(model.graph, 300)
    runner = Runner(emit(instrumented(model, plan)).to_bytes())
    _, kept, *_ = runner.run([sample["x"]])
    truth = all_values(image_model(), [sample])
    expected = [select(truth[source.value.name][0], source) for source in plan.reduced]
    assert all(source.stride > 1 for source in plan.reduced)
    assert np.array_equal(kept, np.concatenate(expected))


def test_the_delegate_takes_the_instrumented_graph_in_one_piece() -> None:
    """Otherwise calibration would be several times slower than it has to be."""
    model = image_model()
    model.graph.set_outputs([next(v for n in model.graph for v in n.results if v.name == "z")])
    model = replace(model, outputs=[Port("z", (1, 12, 14, 8), DType.FLOAT32)])
    made = emit(instrumented(model, plan_watch(model.graph, 100))).to_bytes()
    assert Runner(made).partitions().delegated == 1
    Runner(made, kernels=KernelSet.BUILTIN).run([image_samples(1)[0]["x"]])


def test_a_tensor_is_reduced_as_soon_as_it_is_made() -> None:
    """While it is in the cache, and so that it need not live until the graph's end."""
    model = image_model()
    made = [node.kind for node in instrumented(model, plan_watch(model.graph, 0)).graph]
    assert made[:5] == ["pad", "conv_2d", "reduce_min", "reduce_max", "relu6"]
    assert made[5] == "reduce_max"  # the smallest value of a relu counts as 0


def test_one_pass_serves_every_observer() -> None:
    """`choose_ranges` on one collection gives what a run of each observer alone gives."""
    samples = image_samples(20)
    found = collect_histograms(image_model(), samples)
    for observer in ("minmax", "average", "percentile", "mse", "entropy", "auto"):
        assert choose_ranges(found, observer) == collect_ranges(image_model(), samples, observer)


@pytest.mark.parametrize("observer", ["average", "mse", "entropy", "percentile"])
def test_no_observer_depends_on_the_order_of_samples(observer: str) -> None:
    samples = image_samples(9)
    forth, back = (collect_ranges(image_model(), given, observer) for given in (samples, samples[::-1]))
    assert forth == back


def test_auto_starts_from_min_max() -> None:
    """What it clips, the model's outputs decide (`edgec.recipes.alone`); statistics alone are no reason."""
    found = collect_histograms(image_model(), image_samples(20))
    assert choose_ranges(found, "auto").by_name == choose_ranges(found, "minmax").by_name


def test_nan_among_many_samples_is_found_in_the_tensor_that_made_it() -> None:
    """Also where rows are looked at many at a time; the message says which sample."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 400)))
    build = Builder(graph)
    root = build.op("sqrt", [x], name="root")
    graph.set_outputs([build.op("relu", [root], name="y")])
    model = Model(graph, [Port("x", x.shape, DType.FLOAT32)], [Port("y", x.shape, DType.FLOAT32)])
    samples = [{"x": np.full((1, 400), 4.0, np.float32)} for _ in range(5)]
    samples[3]["x"][0, 7] = -1
    with pytest.raises(CompileError, match="E0316 root: holds NaN or infinity for calibration sample 3"):
        collect_ranges(model, samples)


def test_extremes_that_follow_from_others_are_the_same_bits() -> None:
    """As in a hard swish that is written out: only x and the product are reduced."""
    graph = Graph()
    source = graph.add_input("x", TensorType((1, 10, 10, 8)))
    build = Builder(graph)
    weights = build.constant(np.random.default_rng(0).normal(0, 3, (8, 1, 1, 8)).astype(np.float32))
    bias = build.constant(np.zeros(8, np.float32))
    x = build.op("conv_2d", [source, weights, bias], Conv2DAttributes(), "y")
    clamped = AddAttributes(ActivationFunctionType.RELU6)
    shifted = build.op("add", [x, build.constant(3.0)], clamped, "shifted")
    less = build.op("sub", [shifted, build.constant(0.1)], name="less")
    gate = build.op("mul", [less, build.constant(1 / 6)], name="gate")
    graph.set_outputs([build.op("mul", [x, gate], name="out")])
    model = Model(graph, [Port("x", source.shape, DType.FLOAT32)], [Port("out", x.shape, DType.FLOAT32)])
    plan = plan_watch(graph, 0)
    assert [value.name for value in plan.steps] == ["shifted", "less", "gate"]
    random = np.random.default_rng(1)
    samples = [{"x": random.normal(0, 1, (1, 10, 10, 8)).astype(np.float32)} for _ in range(5)]
    found = collect_histograms(model, samples, values=False)
    truth = all_values(model, samples)
    for name in ("y", "shifted", "less", "gate", "out"):
        assert (found[name].low, found[name].high) == (truth[name].min(), truth[name].max()), name


def test_a_step_from_a_clamped_tensor_is_reduced_itself() -> None:
    """Of relu(x) the smallest value is not known, so that of relu(x) + 1 cannot follow from it."""
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 400)))
    build = Builder(graph)
    y = build.op("relu", [x], name="y")
    graph.set_outputs([build.op("add", [y, build.constant(1.0)], name="z")])
    model = Model(graph, [Port("x", x.shape, DType.FLOAT32)], [Port("z", x.shape, DType.FLOAT32)])
    assert collect_ranges(model, [{"x": np.full((1, 400), 5.0, np.float32)}])["z"] == (6.0, 6.0)


@pytest.mark.parametrize("shape", [(2, 12, 12, 4), (3, 400), (1, 2, 5, 6, 20), (700,), (1, 50, 12)])
def test_tensors_of_any_rank_and_batch(shape: tuple[int, ...]) -> None:
    """Extremes over all of the tensor, values from all over it."""
    graph = Graph()
    x = graph.add_input("x", TensorType(shape))
    build = Builder(graph)
    y = build.op("mul", [x, x], name="y")
    graph.set_outputs([build.op("tanh", [build.op("neg", [y], name="z")], name="t")])
    model = Model(graph, [Port("x", shape, DType.FLOAT32)], [Port("t", shape, DType.FLOAT32)])
    random = np.random.default_rng(0)
    samples = [{"x": random.normal(0, 1, shape).astype(np.float32)} for _ in range(600)]
    found = collect_histograms(model, samples)["y"]
    squares = np.stack([sample["x"] for sample in samples]) ** 2
    assert (found.low, found.high) == (squares.min(), squares.max())
    kept = int(found.counts.sum())
    assert 600 * 100 <= kept <= 600 * 260
    above = int(found.counts[2048 + int(1 / found.width) :].sum())  # values over 1, to a bin
    assert above / kept == pytest.approx(float((squares > 1).mean()), abs=0.01)
