"""What a run of `bench_quantization.py` found, as a table, one-line summaries and JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table
from scoring import Score

PEER_TOOLS = ("tflite-converter", "litert-legacy", "ai-edge-quantizer")
TOLERATED_DB = 0.5
"""How far below the better peer a model may be before it is named."""


@dataclass(frozen=True, slots=True)
class Result:
    """One tool on one model; `error` says why there is no score. `kernels` is what the file ran in.

    `float_islands` counts the places inside the file where integers become real numbers again.
    """

    tool: str
    score: Score | None = None
    error: str = ""
    seconds: float = 0.0
    size_bytes: int = 0
    kernels: str = ""
    float_islands: int = 0

    @property
    def decibels(self) -> float:
        """The median SQNR over the outputs; NaN without a score."""
        return self.score.median_db if self.score is not None else math.nan

    def __str__(self) -> str:
        if self.score is None:
            return "–"
        return f"{self.decibels:.1f}" + (f" +{self.float_islands}f" if self.float_islands else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One model: its data, what float achieves, and every tool's result."""

    model: str
    data: str
    calibration_samples: int
    evaluation_samples: int
    float_top1: float | None
    results: tuple[Result, ...]

    def of(self, tool: str) -> Result:
        """Return a tool's result, an empty one if it was not asked."""
        return next((result for result in self.results if result.tool == tool), Result(tool))

    def gap(self, tool: str) -> float:
        """Return how many dB a tool is above the better peer; NaN where one of both made no model."""
        peers = [r.decibels for r in self.results if r.tool in PEER_TOOLS and r.score is not None]
        return self.of(tool).decibels - max(peers, default=math.nan)

    def line(self) -> str:
        """Return the figures in one line, and why one is missing."""
        return ", ".join(f"{r.tool} {r}" + (f" ({r.error[:90]})" if r.error else "") for r in self.results)


def table(rows: Sequence[Row], variants: Sequence[str]) -> Table:
    """Return a row for each model; the gap is the first variant's figure less the better peer's."""
    tools = [*variants, *(tool for tool in PEER_TOOLS if any(row.of(tool).score for row in rows))]
    made = Table(title="int8 against float: SQNR in dB (median over outputs) · answers")
    made.add_column("model", no_wrap=True)
    for column in ("samples", *tools, "gap"):
        made.add_column(column, justify="right")
    made.add_column("answers: float → " + ", ".join(tools))
    for row in rows:
        gap = row.gap(variants[0])
        made.add_row(
            row.model,
            f"{row.calibration_samples}/{row.evaluation_samples}",
            *(str(row.of(tool)) for tool in tools),
            "" if math.isnan(gap) else f"{gap:+.1f}",
            _answers(row, tools),
            style="red" if gap < -TOLERATED_DB else None,
        )
    return made


def summary(rows: Sequence[Row], tool: str) -> str:
    """Return a tool's median, its median gap to the better peer, and the models where it is below."""
    own = [row.of(tool).decibels for row in rows if row.of(tool).score is not None]
    gaps = {row.model: gap for row in rows if not math.isnan(gap := row.gap(tool))}
    text = f"median {statistics.median(own):.1f} dB over {len(own)} models" if own else "no model"
    if gaps:
        below = sorted((gap, model) for model, gap in gaps.items() if gap < -TOLERATED_DB)
        text += f"; against the better peer {statistics.median(gaps.values()):+.1f} dB at the median"
        text += f" of {len(gaps)} models; below by more than {TOLERATED_DB} dB: "
        text += ", ".join(f"{model} ({gap:+.1f})" for gap, model in below) or "none"
    return text


def as_json(
    rows: Sequence[Row], variants: Sequence[str], settings: Mapping[str, object]
) -> dict[str, object]:
    """Return settings, rows and summaries; figures that are not finite are written as text."""
    summaries = {name: summary(rows, name) for name in variants}
    models = [asdict(row) for row in rows]
    return {"settings": dict(settings), "summary": summaries, "models": [_finite(model) for model in models]}


def _finite(item: object) -> object:
    if isinstance(item, Mapping):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_finite(value) for value in item]
    return str(item) if isinstance(item, float) and not math.isfinite(item) else item


def _answers(row: Row, tools: Sequence[str]) -> str:
    scores = [row.of(tool).score for tool in tools]
    if row.float_top1 is not None:
        shares = ", ".join(_share(found and found.top1) for found in scores)
        return f"top-1 {row.float_top1:.2%} → {shares}"
    if any(found is not None and found.agreement is not None for found in scores):
        return "equal to float " + ", ".join(_share(found and found.agreement) for found in scores)
    return ""


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"
