"""The report as one self-contained HTML file: no script, no network, light and dark, phone and desktop.

Bars are plain elements whose width is a percentage, so they follow the reader's width and colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from edgec.diagnostics import CompileError, Diagnostic
from edgec.reports import words
from edgec.reports.escape import visible
from edgec.reports.model import Report, TensorRange

_LISTED, _FEW = 24, 12  # rows of the long tables and of rankings; the JSON report has them all


@dataclass(frozen=True, slots=True)
class RangeAxis:
    """One axis for the ranges of all tensors: linear near zero, logarithmic far from it.

    Ranges of one model span decades: position(x) = sign(x) · log(1 + |x| / unit), in percent of the width.
    `unit` is the smallest bound that is not zero; `low` and `high` are positions.
    """

    unit: float
    low: float
    high: float

    def percent(self, value: float) -> float:
        """Return where a real value lies, 0 at the left end and 100 at the right."""
        if not math.isfinite(value):
            return 0.0 if value < 0 else 100.0
        return round(100 * (_position(value, self.unit) - self.low) / ((self.high - self.low) or 1.0), 2)


def render_html(report: Report) -> str:
    """Return the report as an HTML page.

    Raises:
        CompileError: E0503, when jinja2 (the `report` extra) is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise CompileError(_missing_extra(error)) from error
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,  # markup is a subclass, kept
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source = (
        resources.files("edgec.reports").joinpath("templates/report.html.jinja").read_text(encoding="utf-8")
    )
    template = environment.from_string(source)
    axis = range_axis(report.quantization.tensors if report.quantization else ())
    return template.render(report=report, words=words, axis=axis, listed=_LISTED, few=_FEW) + "\n"


def _missing_extra(error: ImportError) -> Diagnostic:
    return Diagnostic(
        "E0503",
        "--report .html",
        "an HTML report needs a package that is not installed",
        str(error),
        'Install it with: pip install "edgec[report]" (reports in .json, .md and .xml need nothing more).',
    )


def range_axis(tensors: Iterable[TensorRange]) -> RangeAxis:
    """Return the axis on which every finite bound, and zero, has its place."""
    bounds = [
        0.0,
        *(bound for item in tensors for bound in (item.minimum, item.maximum) if math.isfinite(bound)),
    ]
    unit = min((abs(bound) for bound in bounds if bound), default=1.0)
    return RangeAxis(unit, _position(min(bounds), unit), _position(max(bounds), unit))


def _position(value: float, unit: float) -> float:
    return math.copysign(math.log1p(abs(value) / unit), value)
