"""One calibration run of a model: samples in, statistics of the tensors that quantization asks for out.

What a sample leaves behind is gathered as one row; rows are looked at many at a time, which is several times
faster than looking at each tensor of each sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.inner import inner_values
from edgec.calibrate.instrument import highs_wanted, instrumented, lows_wanted, plan_watch, select
from edgec.calibrate.saturation import answers, useful_ranges
from edgec.calibrate.statistics import Histograms, StatisticsCollector
from edgec.emit import emit
from edgec.ir import Array, Model, Port
from edgec.kernels import Runner

Sample = Mapping[str, Array]

_GATHERED_BYTES = 16 << 20
_MOST_GATHERED = 256


class Watch:
    """One calibration run: runs the instrumented model, gathers rows of results, hands them on in blocks."""

    def __init__(self, model: Model, values_per_sample: int, threads: int = 1) -> None:
        self._model, self._threads = model, threads
        self._plan = plan_watch(model.graph, values_per_sample)
        sources = self._plan.sources
        names = [source.value.name for source in sources]
        assert len(set(names)) == len(names), "two values of the graph have one name"
        self._sizes = np.array([source.size for source in sources], np.int64)
        self._collector = StatisticsCollector(names, self._sizes if values_per_sample else 0 * self._sizes)
        self._runner: Runner | None = None
        self._column = {source.value: index for index, source in enumerate(sources)}
        self._lows = np.array([self._column[value] for value in lows_wanted(self._plan)], np.int64)
        self._highs = np.array([self._column[value] for value in highs_wanted(self._plan)], np.int64)
        width = int(self._sizes.sum())
        self._inside = len(self._plan.reduced), len(self._plan.reduced) + len(self._plan.small)
        self._kept = int(self._sizes[: self._inside[1]].sum())
        self._rows = max(1, min(_MOST_GATHERED, _GATHERED_BYTES // (4 * max(width, 1))))
        self._values = np.zeros((self._rows, width), np.float32)
        self._extremes = np.zeros((2, self._rows, len(sources)), np.float32)
        self._reduced = np.zeros((self._rows, len(self._lows) + len(self._highs)), np.float32)
        self._filled = 0

    def see(self, sample: Sample) -> None:
        """Run one sample."""
        plan = self._plan
        feeds = [np.asarray(feed(port, sample), order="C") for port in self._model.inputs]
        outputs: list[Array] = []
        if self._inside[1] or plan.whole:
            if self._runner is None:
                self._runner = Runner(emit(instrumented(self._model, plan)).to_bytes(), threads=self._threads)
            outputs = self._runner.output_views(feeds)
        self._gather(feeds, outputs)
        if self._filled == self._rows:
            self._hand_on()

    def _gather(self, feeds: Sequence[Array], outputs: list[Array]) -> None:
        """Copy one sample's results into the next row."""
        plan, row, values = self._plan, self._filled, self._values[self._filled]
        lows, highs = self._extremes[0, row], self._extremes[1, row]
        if plan.reduced:
            self._reduced[row] = outputs.pop(0)
        if self._kept:
            values[: self._kept] = outputs.pop(0)
        start, column = self._kept, self._inside[1]
        inputs = self._model.graph.inputs
        outside = [*zip(plan.whole, outputs, strict=True)]
        outside += [(source, feeds[inputs.index(source.value)]) for source in plan.inputs]
        for source, array in outside:
            lows[column], highs[column] = array.min(), array.max()
            values[start : start + source.size] = select(array, source)
            start, column = start + source.size, column + 1
        self._filled += 1

    def _hand_on(self) -> None:
        rows, self._filled = self._filled, 0
        (lows, highs), values = self._extremes[:, :rows], self._values[:rows]
        lows[:, self._lows] = self._reduced[:rows, : len(self._lows)]
        highs[:, self._highs] = self._reduced[:rows, len(self._lows) :]
        for value, step in self._plan.steps.items():  # each after what it follows from
            column, source = self._column[value], self._column[step.source]
            lows[:, column], highs[:, column] = step.apply(lows[:, source]), step.apply(highs[:, source])
        first, last = self._inside
        if first < last:
            starts = np.cumsum(self._sizes) - self._sizes
            joined = values[:, starts[first] : self._kept]
            parts = starts[first:last] - starts[first]
            lows[:, first:last] = np.minimum.reduceat(joined, parts, axis=1)
            highs[:, first:last] = np.maximum.reduceat(joined, parts, axis=1)
        self._collector.add(lows, highs, values)

    def finish(self) -> Histograms:
        """Return the statistics of every observed value."""
        if self._filled:
            self._hand_on()
        if not self._collector.samples:
            raise problems.fail(
                problems.EMPTY, "calibration", "gave no samples", next_step="At least one is needed."
            )
        found = dict(zip((s.value for s in self._plan.sources), self._collector.tables(), strict=True))
        by_name = {
            value.name: found[origin].with_zero(value.name)
            if value in self._plan.padded
            else found[origin].renamed(value.name)
            for value, origin in self._plan.origin.items()
        }
        graph, values = self._model.graph, self._plan.origin
        useful = {bits: useful_ranges(graph, values, bits) for bits in (8, 16)}
        whole = answers(graph) | inner_values(graph)
        return Histograms(by_name, self._collector.samples, useful, whole)


def feed(port: Port, sample: Sample) -> Array:
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
