"""Calibration runs: the right tensors, the right numbers, in constant memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgec.calibrate.ranges import Ranges, collect_ranges
from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.ir import Array, DType, Graph, Model, Port, TensorType
from edgec.ops import Builder


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
    graph.set_outputs([Builder(graph).op("relu", [x], name="y")])
    model = Model(graph, [Port("x", x.shape, DType.FLOAT32)], [Port("y", x.shape, DType.FLOAT32)])
    found = collect_ranges(model, [{"x": values}], observer)
    assert set(found) == {"x", "y"}
    assert found["y"][0] == 0.0
    assert found.observer == observer
    if observer == "percentile":
        assert 3.0 < found["y"][1] < 6.0


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
