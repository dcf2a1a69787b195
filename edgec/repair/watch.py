"""Runs a float or int8 model in LiteRT with inner values as extra outputs, and shows them as real numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgec.emit import emit
from edgec.ir import Array, Model, Port, Value
from edgec.kernels import Runner
from edgec.repair.copying import copy_graph

Sample = Mapping[str, Array]


class Watch:
    """An interpreter of a model that shows `values` for one sample after another."""

    def __init__(self, model: Model, values: Sequence[Value], threads: int = 1) -> None:
        self._ports = tuple(zip(model.inputs, model.graph.inputs, strict=True))
        self._fed = [(model.graph.inputs.index(v), v) for v in values if v in model.graph.inputs]
        self._made = [value for value in values if value not in model.graph.inputs]
        graph, copies = copy_graph(model.graph, wanted=self._made)
        watched = self._made or list(model.graph.outputs)
        graph.set_outputs(copies[value] for value in watched)
        ports = [Port(value.name, value.shape, value.dtype) for value in graph.outputs]
        self._runner = Runner(
            emit(Model(graph, model.inputs, ports, model.subgraphs)).to_bytes(), threads=threads
        )

    def show(self, sample: Sample, observe: Callable[[Value, Array], None]) -> None:
        """Run one sample and show each value's real numbers, which the next run overwrites."""
        feeds = [_feed(port, value, sample) for port, value in self._ports]
        views = self._runner.output_views(feeds)
        for index, value in self._fed:
            observe(value, _real(value, feeds[index]))
        for value, view in zip(self._made, views, strict=False):
            observe(value, _real(value, view))


def _feed(port: Port, value: Value, sample: Sample) -> Array:
    """Return a sample's array in the layout and element type of the emitted input."""
    array = sample[port.name]
    if port.permutation is not None:
        array = np.transpose(array, port.permutation)
    form = value.type.quantization
    if form is None or array.dtype.kind != "f":
        return array
    limits = np.iinfo(value.dtype.value)
    q = np.rint(array.astype(np.float32) / np.float32(form.scale[0])) + form.zero_point[0]
    return np.clip(q, limits.min, limits.max).astype(value.dtype.numpy)


def _real(value: Value, stored: Array) -> Array:
    form = value.type.quantization
    if form is None:
        return stored
    return ((stored.astype(np.float32) - form.zero_point[0]) * np.float32(form.scale[0])).astype(np.float32)
