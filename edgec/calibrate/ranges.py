"""Collects activation ranges by running the float model in LiteRT, the runtime it is made for.

The tensors to watch become extra graph outputs: the delegate still takes the whole graph in one piece, and
the ranges belong to exactly the tensors that quantization will turn into integers. Observers read the outputs
in place. (Measured alternative: reduce_min and reduce_max nodes in the graph take the same time, 14.5 ms a
sample for 192 tensors of EfficientNet-Lite0, and XNNPACK's skip NaN, which an observer has to report.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.observers import OBSERVERS, Observer
from edgec.emit import emit
from edgec.ir import Array, Graph, Model, Node, Port, Value
from edgec.kernels import Runner
from edgec.quantize.roles import observed_values

Sample = Mapping[str, Array]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Ranges(Mapping[str, tuple[float, float]]):
    """(min, max) by value name, from `samples` samples seen by `observer`."""

    by_name: Mapping[str, tuple[float, float]]
    samples: int
    observer: str = "minmax"

    def __getitem__(self, name: str) -> tuple[float, float]:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready fields; floats survive JSON exactly."""
        ranges = {name: list(found) for name, found in self.by_name.items()}
        return {"observer": self.observer, "samples": self.samples, "ranges": ranges}

    @staticmethod
    def from_dict(fields: Mapping[str, object]) -> Ranges:
        """Return the ranges `to_dict` wrote; ValueError where a field is missing or of the wrong kind."""
        ranges, samples = fields.get("ranges"), fields.get("samples")
        if not isinstance(ranges, Mapping) or not isinstance(samples, int):
            raise ValueError("'ranges' has to be a table and 'samples' a number")
        values = {str(name): (float(pair[0]), float(pair[1])) for name, pair in ranges.items()}
        return Ranges(values, samples, str(fields.get("observer", "minmax")))


def collect_ranges(
    model: Model,
    samples: Iterable[Sample],
    observer: str = "minmax",
    threads: int = 2,
    progress: Progress | None = None,
) -> Ranges:
    """Run every sample through the float model and return the ranges that `quantize_int8` needs.

    Args:
        model: the float model, in the state that will be quantized.
        samples: arrays by input name, each in the source model's layout (`Port.shape`).
        observer: a name in `OBSERVERS`.
        threads: threads of the kernels; the result does not depend on them.
        progress: called with the number of samples done, after each.

    Raises:
        CompileError: E0303/E0304/E0308 for samples that do not fit, E0316 for NaN or infinity in a tensor.
    """
    watch = _Watch(model, observer)
    runner = Runner(emit(watch.instrumented()).to_bytes(), threads=threads)
    count = 0
    for sample in samples:
        feeds = [_feed(port, sample) for port in model.inputs]
        watch.update(feeds, runner.output_views(feeds))
        count += 1
        if progress is not None:
            progress(count)
    if not count:
        raise problems.fail(
            problems.EMPTY, "calibration", "gave no samples", next_step="At least one is needed."
        )
    return Ranges({tensor: found.range() for tensor, found in watch.observers.items()}, count, observer)


class _Watch:
    """The observers of one run, and the graph whose outputs feed them."""

    def __init__(self, model: Model, observer: str) -> None:
        if observer not in OBSERVERS:
            raise problems.fail(
                problems.OPTION, "calibration", f"observer '{observer}'", f"Known: {', '.join(OBSERVERS)}."
            )
        self._model = model
        watched = observed_values(model.graph)
        self.observers: dict[str, Observer] = {v.name: OBSERVERS[observer](v.name) for v in watched}
        assert len(self.observers) == len(watched), "two values of the graph have one name"
        self._inputs = [(model.graph.inputs.index(v), v.name) for v in watched if v in model.graph.inputs]
        self._inside = [v for v in watched if v not in model.graph.inputs]

    def instrumented(self) -> Model:
        """Return a copy of the model whose outputs are what the observers want to see."""
        graph, copies = _copy(self._model.graph)
        watched = self._inside or list(self._model.graph.outputs)
        graph.set_outputs(copies[value] for value in watched)
        ports = [Port(value.name, value.shape, value.dtype) for value in graph.outputs]
        return Model(graph, self._model.inputs, ports, self._model.subgraphs)

    def update(self, feeds: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Show one sample's tensors to the observers."""
        for index, name in self._inputs:
            self.observers[name].update(feeds[index])
        for value, seen in zip(self._inside, outputs, strict=False):
            self.observers[value.name].update(seen)


def _copy(graph: Graph) -> tuple[Graph, dict[Value, Value]]:
    """Return the same nodes in a new graph, and the new value of each old one; constants are shared."""
    copied = Graph(graph.name)
    values = {value: copied.add_input(value.name, value.type) for value in graph.inputs}
    for node in graph:
        for result in node.results:
            values[result] = Value(copied.unique_name(result.name), result.type)
        operands = [value and values.get(value, value) for value in node.operands]
        results = [values[result] for result in node.results]
        copied.insert(Node(node.kind, operands, results, node.attributes, node.source))
    return copied, values


def _feed(port: Port, sample: Sample) -> Array:
    """Return a sample's array for one input, in the layout that was emitted."""
    if port.name not in sample:
        given = ", ".join(f"'{name}'" for name in sample) or "nothing"
        raise problems.fail(
            problems.BINDING,
            "calibration",
            f"a sample has no array for input '{port.name}'",
            f"It has {given}.",
        )
    values = sample[port.name]
    if tuple(values.shape) != port.shape:
        shapes = f"{problems.shape_text(values.shape)}, not {problems.shape_text(port.shape)}"
        raise problems.fail(problems.SHAPE, "calibration", f"a sample of input '{port.name}' is {shapes}")
    return values if port.permutation is None else np.transpose(values, port.permutation)
