"""Numbers in words that a reader can act on; shared by every renderer so that all say the same.

SQNR in dB = 10·log10(signal power / error power)   ⇒   error / signal = 10^(−dB/20)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from edgec.reports.explanation import LayerCheck, TensorHistogram
from edgec.reports.model import (
    FAR_DB,
    Accuracy,
    Gate,
    MeasuredRecipe,
    OutputCheck,
    Partitions,
    PixelFeed,
    RepairGain,
    Report,
    TensorRange,
    Tolerance,
    TriedRecipe,
)

# From this SQNR on, the error is at most 1/30000 of the signal: what reordered float32 sums differ by.
FLOAT_ROUNDING_DB = 90.0


def size(count: float) -> str:
    """Return bytes with a decimal unit, e.g. `1.23 MB`."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= 0.9995 * step:  # what rounds to a whole unit is shown in it
            return f"{count / step:.3g} {unit}"
    return f"{count:.0f} B"


def count(number: float | None) -> str:
    """Return a count with a metric letter, e.g. `6.2 M`, or "unknown"."""
    if number is None:
        return "unknown"
    for letter, step in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * step:
            return f"{number / step:.3g} {letter}"
    return f"{number:g}"


def plural(number: int, noun: str) -> str:
    """Return a count with its noun, e.g. `1 transpose`, `0 transposes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def decibels(sqnr_db: float | None) -> str:
    """Return an SQNR, e.g. `41.2 dB`; `exact` when there is no error at all."""
    if sqnr_db is None:
        return "not measured"
    if math.isinf(sqnr_db) and sqnr_db > 0:
        return "exact"
    return "not a number" if math.isnan(sqnr_db) else f"{sqnr_db:.1f} dB"


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with three digits, e.g. `0.87%`."""
    return f"{100 * fraction:.3g}%"


def seconds(duration: float) -> str:
    """Return a duration with its unit, e.g. `12 ms`, `1.4 s`."""
    return f"{1000 * duration:.3g} ms" if duration < 1 else f"{duration:.3g} s"


def shape(dimensions: tuple[int, ...]) -> str:
    """Return a shape, e.g. `1 × 8 × 8 × 1`; a dynamic dimension is `?`, no dimension a `scalar`."""
    return " × ".join("?" if size < 0 else str(size) for size in dimensions) or "scalar"


def pixel_feed(feed: PixelFeed) -> str:
    """Return what an input of raw pixels takes, e.g. `uint8 pixels 0..255, RGB, 224 x 224`."""
    kind = "uint8 pixels 0..255" if not feed.subtract else f"int8 pixels -{feed.subtract}..127"
    order = "grey" if feed.color == "gray" else feed.color.upper()
    resize = f", resize {feed.resize}" if feed.resize else ""
    rest = f"subtract {feed.subtract}" if feed.subtract else "nothing to subtract"
    return f"{kind}, {order}, {feed.width} x {feed.height}{resize}; {rest}, nothing to divide"


def repair(found: RepairGain) -> str:
    """Return what a repair did, e.g. `rounding: 12 nodes better, the median one by 3.1 dB`."""
    if not found.nodes:
        return f"{found.name}: no node better"
    gain = "beyond measure" if math.isinf(found.median_db) else f"by {found.median_db:.1f} dB"
    return f"{found.name}: {plural(found.nodes, 'node')} better, the median one {gain}"


def chosen_recipe(candidates: Sequence[MeasuredRecipe]) -> str:
    """Return what was chosen, e.g. `int8 mse: 3.1 dB less noise than int8 minmax, 8 tried`."""
    chosen = next(item for item in candidates if item.chosen)
    first, tried = candidates[0].recipe, f"{len(candidates)} tried"
    if chosen.recipe == first:
        return f"{first}, the best of {tried}"
    return f"{chosen.recipe}: {chosen.gain_db:.1f} dB less noise than {first}, {tried}"


def accuracy(found: Accuracy) -> str:
    """Return what a metric says, e.g. `top1 81.5, float 82 (600 labelled samples of test.npz)`."""
    return f"{found.metric} {found.value:.4g}, float {found.source_value:.4g} ({found.data})"


def gate(found: Gate) -> str:
    """Return a limit and what it limits, e.g. `max drop (top1): 0.75 points, limit 0.5 points`."""
    actual, limit = (f"{number:g} {found.unit}".strip() for number in (found.actual, found.limit))
    return f"{found.name}: {actual}, limit {limit}"


def relative_costs(trials: Sequence[TriedRecipe]) -> list[tuple[TriedRecipe, str]]:
    """Pair each recipe of a search with its cost as a multiple of the least, e.g. `1.25x`."""
    least = min((trial.cost for trial in trials), default=0.0) or 1.0
    return [(trial, f"{trial.cost / least:.2f}x") for trial in trials]


def size_change(report: Report) -> str:
    """Compare the artifact's size with the source file's, e.g. `74% smaller than the source`."""
    before = report.source.size_bytes
    if before <= 0:
        return ""
    change = report.size_bytes / before - 1
    if abs(change) < 0.005:
        return "as large as the source"
    return f"{abs(change):.0%} {'larger' if change > 0 else 'smaller'} than the source"


def verdict(output: OutputCheck) -> str:
    """Say in plain words how close an output is to the source's."""
    if math.isnan(output.sqnr_db):
        return "cannot be judged: an output is not a number"
    if math.isinf(output.sqnr_db) and output.sqnr_db > 0:
        return "every element is equal to the source"
    error = percent(10 ** (-output.sqnr_db / 20))
    words = f"{_closeness(output.sqnr_db)}: the error is {error} of the signal"
    return words if output.passed else f"outside the tolerance; {words}"


def _closeness(sqnr_db: float) -> str:
    steps = ((FLOAT_ROUNDING_DB, "matches up to float rounding"), (40, "very close"), (30, "close"))
    found = next((words for limit, words in steps if sqnr_db >= limit), "")
    return found or ("noticeably different" if sqnr_db >= FAR_DB else "far from the source")


def _distance(sqnr_db: float) -> str:
    """Return how close an output is, in front of `the source`."""
    steps = ((40, "very close to"), (30, "close to"), (FAR_DB, "noticeably different from"))
    return next((words for limit, words in steps if sqnr_db >= limit), "far from")


def is_close(output: OutputCheck) -> bool:
    """Whether an output is close to the source's, or closer."""
    return output.sqnr_db >= 30


def demands(limits: Tolerance) -> bool:
    """Whether verification demands anything."""
    return limits != Tolerance()


def tolerance(limits: Tolerance) -> str:
    """Say what verification demands, e.g. `|error| ≤ 1e-05 + 0.0001 × |source|`."""
    parts: list[str] = []
    if limits.absolute is not None or limits.relative is not None:
        parts.append(f"|error| ≤ {limits.absolute or 0:g} + {limits.relative or 0:g} × |source|")
    if limits.min_sqnr_db is not None:
        parts.append(f"SQNR ≥ {limits.min_sqnr_db:g} dB")
    demands = ", ".join(parts)
    if demands and limits.sufficient_sqnr_db is not None:
        demands += f", or SQNR ≥ {limits.sufficient_sqnr_db:g} dB"
    return demands or "none, the numbers are for information"


def partitions(found: Partitions | None) -> str:
    """Say how the delegate takes the graph: `2 XNNPACK partitions with 30 of 31 nodes; outside: EXP`."""
    if found is None:
        return "no delegate"
    nodes = f"all {found.total}" if found.delegated == found.total else f"{found.delegated} of {found.total}"
    text = f"{plural(found.count, f'{found.delegate} partition')} with {nodes} nodes"
    outside = ", ".join(dict.fromkeys(breaker.kind for breaker in found.breakers))
    return f"{text}; outside: {outside}" if outside else text


def state(report: Report) -> str:
    """Return the result in one word: gates and tolerance decide; where there are none, distance does."""
    if not report.passed:
        return "FAILED"
    return "POOR" if report.is_poor else "OK"


def headline(report: Report) -> str:
    """Return the result in one sentence, e.g. for the end of a compile or the top of a report."""
    parts = [_match(report), plural(report.transposes, "transpose")]
    if report.partitions:
        parts.append(plural(report.partitions.count, f"{report.partitions.delegate} partition"))
    parts += [f"gate {gate.name} is not met" for gate in report.gates if not gate.passed]
    return "; ".join(parts)


def _match(report: Report) -> str:
    checked, worst = report.verification, report.worst_output
    if checked is None or worst is None:
        return f"{report.precision} model, not compared with the source"
    several = len(checked.outputs) > 1
    if checked.passed and not demands(checked.tolerance) and not worst.sqnr_db >= FLOAT_ROUNDING_DB:
        return _nearness(report.precision, worst.sqnr_db, several)
    match (checked.passed, several):
        case (True, False):
            verb = "output matches"
        case (True, True):
            verb = "outputs match"
        case (False, False):
            verb = "output does NOT match"
        case _:
            verb = "outputs do NOT all match"
    how = "exactly" if worst.sqnr_db == math.inf else f"at {decibels(worst.sqnr_db)}"
    return f"{report.precision} {verb} the source {how}" + (
        " or better" if several and checked.passed else ""
    )


def _nearness(precision: str, sqnr_db: float, several: bool) -> str:
    """Say how near outputs are that nothing was demanded of."""
    if math.isnan(sqnr_db):
        return f"{precision} output is not a number"
    what = "outputs are" if several else "output is"
    level = decibels(sqnr_db) + (" or better" if several else "")
    return f"{precision} {what} {_distance(sqnr_db)} the source: {level}"


def real_value(scale: float | None, zero_point: int | None) -> str:
    """Say what an integer of a quantized tensor stands for, e.g. `0.0039 × (q + 128)`."""
    if scale is None:
        return "as is"
    offset = zero_point or 0
    inner = f"(q {'+' if offset < 0 else '−'} {abs(offset)})" if offset else "q"
    return f"{scale:.6g} × {inner}"


def by_count(ops: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return op kinds with their counts, most frequent first, equal counts by name."""
    return sorted(ops.items(), key=lambda item: (-item[1], item[0]))


def worst_first(tensors: Iterable[TensorRange]) -> list[TensorRange]:
    """Return quantized tensors by SQNR, lowest first; those not measured stay in order at the end."""
    return sorted(tensors, key=lambda item: math.inf if item.sqnr_db is None else item.sqnr_db)


FULL_HEIGHT_DB = 60.0
"""A layer plot reaches from 0 to here: int8 tensors seldom come above 50 dB."""


def heights(layers: Iterable[LayerCheck]) -> list[float]:
    """Return the height of each layer's bar in percent."""
    shown = (min(max(layer.sqnr_db, 0.0), FULL_HEIGHT_DB) for layer in layers)
    return [round(100 * level / FULL_HEIGHT_DB, 1) for level in shown]


def layer_titles(layers: Iterable[LayerCheck]) -> list[str]:
    """Return what a bar says when it is pointed at."""
    return [f"{layer.node} ({layer.kind}): {decibels(layer.sqnr_db)}" for layer in layers]


def worst_layers(layers: Iterable[LayerCheck]) -> list[LayerCheck]:
    """Return the layers, the least exact first."""
    return sorted(layers, key=lambda layer: layer.sqnr_db)


def noisiest(layers: Iterable[LayerCheck]) -> list[tuple[str, float]]:
    """Return nodes with their share of the output's noise, the largest first, where it was measured."""
    shares = {layer.node: layer.share for layer in layers if layer.share is not None}
    return sorted(shares.items(), key=lambda item: -item[1])


def bin_heights(counts: tuple[int, ...]) -> list[float]:
    """Return bar heights in percent; roots, so that tails are seen beside the bulk."""
    most = max(counts, default=0) or 1
    return [round(100 * math.sqrt(number / most), 1) for number in counts]


def bins_outside(histogram: TensorHistogram) -> list[bool]:
    """Return which bins lie outside the range that integers express: values there are clipped."""
    width = (histogram.high - histogram.low) / (len(histogram.counts) or 1)
    middles = [histogram.low + (index + 0.5) * width for index in range(len(histogram.counts))]
    return [not histogram.range_low <= middle <= histogram.range_high for middle in middles]


def clipped(histogram: TensorHistogram) -> str:
    """Return how much of a tensor lies outside its range, e.g. `0.3% clipped`, or nothing."""
    counted = zip(histogram.counts, bins_outside(histogram), strict=True)
    beyond = sum(number for number, outside in counted if outside)
    return f"{percent(beyond / sum(histogram.counts))} clipped" if beyond else ""
