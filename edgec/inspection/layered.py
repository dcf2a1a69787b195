"""Where boxes go: a layered layout (Sugiyama, Tagawa and Toda 1981) in four steps.

layers       longest path from the inputs, so every arrow leads down
bends        an arrow across several layers gets a point in each, shared by all arrows of its start
order        alternating barycentre sweeps, to cross few arrows
positions    each row as close to its neighbours' means as its order allows: least squares with
             x[i+1] - x[i] >= width, which is isotonic regression after subtracting the widths
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_SWEEPS = 6
_BEND = 14.0
"""Width that the line of a long arrow takes in a row, in pixels."""

_GAP = 22.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres in pixels: of each box with its layer, and of the points each arrow passes, ends included."""

    x: Mapping[int, float]
    layer: Mapping[int, int]
    paths: Mapping[tuple[int, int], Sequence[tuple[float, int]]]


@dataclass
class _Rows:
    """Points (boxes and bends) by layer; bends have numbers above those of the boxes."""

    layer: dict[int, int]
    width: dict[int, float]
    down: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    up: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    rows: list[list[int]] = field(default_factory=list[list[int]])
    bends: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    def connect(self, start: int, end: int) -> None:
        if end not in self.down.setdefault(start, []):
            self.down[start].append(end)
            self.up.setdefault(end, []).append(start)

    def bend(self, start: int, layer: int) -> int:
        """Return the point where arrows of a box cross a layer."""
        key = (start, layer)
        if key not in self.bends:
            point = len(self.width)
            self.bends[key], self.layer[point], self.width[point] = point, layer, _BEND
            self.rows[layer].append(point)
        return self.bends[key]


def lay_out(widths: Sequence[float], arrows: Sequence[tuple[int, int]]) -> Layout:
    """Return positions for boxes of these widths; arrows lead from a lower index to a higher one."""
    layers = _layers(len(widths), arrows)
    rows = _Rows(dict(enumerate(layers)), dict(enumerate(widths)))
    rows.rows = [[] for _ in range(max(layers, default=-1) + 1)]
    for box, layer in enumerate(layers):
        rows.rows[layer].append(box)
    chains = {arrow: _chain(rows, *arrow) for arrow in arrows}
    _order(rows)
    x = _positions(rows)
    left = min((x[box] - rows.width[box] / 2 for box in x), default=0.0)
    x = {point: value - left for point, value in x.items()}
    paths = {arrow: [(x[point], rows.layer[point]) for point in chain] for arrow, chain in chains.items()}
    return Layout({box: x[box] for box in range(len(widths))}, dict(enumerate(layers)), paths)


def _layers(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """Return longest-path layers; a box without producer stands right above its first consumer."""
    layers = [0] * count
    for start, end in sorted(arrows, key=lambda arrow: arrow[1]):
        layers[end] = max(layers[end], layers[start] + 1)
    has_producer = {end for _, end in arrows}
    nearest: dict[int, int] = {}
    for start, end in arrows:
        nearest[start] = min(nearest.get(start, layers[end]), layers[end])
    for box in nearest.keys() - has_producer:
        layers[box] = nearest[box] - 1
    return layers


def _chain(rows: _Rows, start: int, end: int) -> list[int]:
    inner = [rows.bend(start, layer) for layer in range(rows.layer[start] + 1, rows.layer[end])]
    chain = [start, *inner, end]
    for upper, lower in pairwise(chain):
        rows.connect(upper, lower)
    return chain


def _order(rows: _Rows) -> None:
    """Sort each row by the mean place of its neighbours in the row before it, downwards, then upwards."""
    for sweep in range(_SWEEPS):
        links, order = (rows.up, rows.rows) if sweep % 2 == 0 else (rows.down, rows.rows[::-1])
        for fixed, moving in pairwise(order):
            place = {point: index for index, point in enumerate(fixed)}
            keys = {
                point: _mean([place[n] for n in links.get(point, [])], i) for i, point in enumerate(moving)
            }
            moving.sort(key=lambda point, keys=keys: keys[point])


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _positions(rows: _Rows) -> dict[int, float]:
    x: dict[int, float] = {}
    for row in rows.rows:
        x |= dict(zip(row, _spread([0.0] * len(row), [rows.width[point] for point in row]), strict=True))
    for sweep in range(_SWEEPS):
        links, order = (rows.up, rows.rows) if sweep % 2 == 0 else (rows.down, rows.rows[::-1])
        for row in order:
            wanted = [_mean([x[n] for n in links.get(point, [])], x[point]) for point in row]
            x |= dict(zip(row, _spread(wanted, [rows.width[point] for point in row]), strict=True))
    return x


def _spread(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Return the centres closest to `wanted` (least squares) that keep the order and do not overlap."""
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + _GAP)
    blocks: list[tuple[float, int]] = []  # (mean, members): pool adjacent violators
    for target, offset in zip(wanted, offsets, strict=False):
        mean, count = target - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]
