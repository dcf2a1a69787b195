"""A drawing with its layout as numbers for an SVG: rectangles, texts, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.frontends.outline import shortened
from edgec.inspection.drawing import Box, Drawing
from edgec.inspection.layered import lay_out

HEIGHT = 44.0
ROW = 84.0
_MARGIN = 16.0
_TITLE, _SUBTITLE = 7.6, 6.4
"""Pixels a character takes, at 13 and 11 px in the widest of the usual system fonts."""

_LONGEST = 30
_NARROWEST = 76.0


@dataclass(frozen=True, slots=True)
class Shape:
    """One rectangle: its box, number, upper left corner, width, and the texts that fit into it."""

    box: Box
    number: int
    x: float
    y: float
    width: float
    title: str
    subtitle: str

    @property
    def centre(self) -> float:
        """Where its texts are centred."""
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it, in pixels; `curves` are SVG path data."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    curves: tuple[str, ...]


def picture_of(drawing: Drawing) -> Picture:
    """Lay a drawing out, from top to bottom."""
    titles = [shortened(box.title, _LONGEST) for box in drawing.boxes]
    subtitles = [shortened(box.subtitle, _LONGEST) for box in drawing.boxes]
    widths = [_width(title, subtitle) for title, subtitle in zip(titles, subtitles, strict=True)]
    layout = lay_out(widths, drawing.arrows)
    shapes = tuple(
        Shape(
            box,
            index,
            round(_MARGIN + layout.x[index] - widths[index] / 2, 1),
            _MARGIN + ROW * layout.layer[index],
            widths[index],
            titles[index],
            subtitles[index],
        )
        for index, box in enumerate(drawing.boxes)
    )
    curves = tuple(_curve(layout.paths[arrow]) for arrow in drawing.arrows)
    width = max((shape.x + shape.width for shape in shapes), default=0.0)
    width = max([width, *(x + _MARGIN for path in layout.paths.values() for x, _ in path)])
    height = max((shape.y for shape in shapes), default=0.0) + HEIGHT + _MARGIN
    return Picture(round(width + _MARGIN), round(height), shapes, curves)


def _width(title: str, subtitle: str) -> float:
    return round(max(_NARROWEST, 24 + max(_TITLE * len(title), _SUBTITLE * len(subtitle))), 1)


def _curve(points: Sequence[tuple[float, int]]) -> str:
    """Return a path from the lower edge of the first box to the upper edge of the last one.

    Between rows the line swings over; beside the boxes of a row it runs straight down.
    """
    x, layer = points[0]
    y = _MARGIN + ROW * layer + HEIGHT
    parts = [f"M{_MARGIN + x:.1f} {y:.1f}"]
    for position, (x, layer) in enumerate(points[1:], start=1):
        top = _MARGIN + ROW * layer
        before = _MARGIN + points[position - 1][0]
        middle = top - (ROW - HEIGHT) / 2
        parts.append(f"C{before:.1f} {middle:.1f} {_MARGIN + x:.1f} {middle:.1f} {_MARGIN + x:.1f} {top:.1f}")
        if position < len(points) - 1:
            parts.append(f"V{top + HEIGHT:.1f}")
    return "".join(parts)
