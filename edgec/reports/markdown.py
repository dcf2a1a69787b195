"""The report as GitHub Markdown: for pull requests and release notes. Names are code, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edgec.reports import words
from edgec.reports.escape import markdown_code as code
from edgec.reports.escape import markdown_text as text
from edgec.reports.model import Quantization, Report, TensorInfo

_LISTED = 12  # rows of the long tables; the JSON report has them all


def render_markdown(report: Report) -> str:
    """Return the report as Markdown; sections of stages that did not run are left out."""
    sections = (
        _summary(report),
        _verification(report),
        _gates(report),
        _tensors(report),
        _graph(report),
        _quantization(report),
        _explanation(report),
        _pruning(report),
        _diagnostics(report),
        _reproduce(report),
    )
    lines = [line for section in sections for line in section]
    return "\n".join(lines).rstrip() + "\n"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> Iterator[str]:
    """Yield a Markdown table of cells that are Markdown already; columns in `numbers` align right."""
    right = set(numbers)
    yield "| " + " | ".join(titles) + " |"
    yield "| " + " | ".join("---:" if index in right else "---" for index in range(len(titles))) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _summary(report: Report) -> Iterator[str]:
    state = {"OK": "passed", "POOR": "POOR", "FAILED": "FAILED"}[words.state(report)]
    yield f"# {code(report.source.file)} for {text(report.target)}, {text(report.precision)}: {state}"
    yield ""
    yield f"{text(words.headline(report))}."
    yield ""
    facts = {
        "size": f"{words.size(report.size_bytes)}, {words.size_change(report)}".rstrip(", "),
        "parameters": words.count(report.parameters),
        "multiply-accumulates": words.count(report.macs),
        "tensor arena": "unknown" if report.arena_bytes is None else words.size(report.arena_bytes),
        "delegate": text(words.partitions(report.partitions)),
        "source": f"{text(report.source.format)}, sha256 {code(report.source.sha256)}",
        "artifact": f"{code(report.artifact.file or 'not saved')}, sha256 {code(report.artifact.sha256)}",
    }
    yield from table(("", ""), facts.items())


def _verification(report: Report) -> Iterator[str]:
    checked = report.verification
    yield "## Compared with the source"
    yield ""
    if checked is None:
        yield "Not compared (`--no-verify`)."
        yield ""
        return
    yield f"On {text(checked.inputs)} ({words.plural(checked.samples, 'sample')})."
    yield f"Tolerance: {text(words.tolerance(checked.tolerance))}."
    yield ""
    rows = (
        (
            code(output.name),
            words.decibels(output.sqnr_db),
            f"{output.max_abs_error:.3g}",
            "–" if output.cosine is None else f"{output.cosine:.6f}",
            text(words.verdict(output)),
        )
        for output in checked.outputs
    )
    yield from table(("output", "SQNR", "max error", "cosine", "verdict"), rows, numbers=(1, 2, 3))


def _gates(report: Report) -> Iterator[str]:
    if report.accuracy is not None:
        yield f"Accuracy: {text(words.accuracy(report.accuracy))}."
        yield ""
    if not report.gates:
        return
    yield "## Gates"
    yield ""
    rows = (
        (
            code(gate.name),
            f"{gate.actual:g} {text(gate.unit)}".strip(),
            f"{gate.limit:g}",
            "met" if gate.passed else "**not met**",
        )
        for gate in report.gates
    )
    yield from table(("gate", "actual", "limit", ""), rows, numbers=(1, 2))


def _tensors(report: Report) -> Iterator[str]:
    yield "## Inputs and outputs"
    yield ""
    named = [("in", info) for info in report.inputs] + [("out", info) for info in report.outputs]
    rows = (
        (role, code(info.name), words.shape(info.shape), text(info.dtype), _quantized(info))
        for role, info in named
    )
    yield from table(("", "name", "shape", "type", "real value"), rows)
    for info in report.inputs:
        if info.pixels is not None:
            yield f"Feed {code(info.name)}: {text(words.pixel_feed(info.pixels))}."
            yield ""


def _quantized(info: TensorInfo) -> str:
    return text(words.real_value(info.scale, info.zero_point))


def _graph(report: Report) -> Iterator[str]:
    yield "## Graph"
    yield ""
    yield ", ".join(f"{code(kind)} {number}" for kind, number in words.by_count(report.ops)) + "."
    yield ""
    yield f"{words.plural(report.transposes, 'transpose')} left."
    yield ""
    for site in report.transpose_sites:
        yield f"- transpose at {code(site.node)}: {text(site.why)}"
    for breaker in report.partitions.breakers if report.partitions else ():
        yield f"- not delegated: {code(breaker.node)} ({text(breaker.kind)}): {text(breaker.why)}"
    yield ""


def _quantization(report: Report) -> Iterator[str]:
    found = report.quantization
    if found is None:
        return
    yield "## Quantization"
    yield ""
    yield f"Scheme: {text(found.scheme)}."
    if found.calibration:
        data = found.calibration
        samples = words.plural(data.samples, "sample")
        yield f"Calibrated on {samples} of {code(data.source)} with {text(data.observer)},"
        yield f"sha256 {code(data.sha256)}."
    yield ""
    yield from _recipes(found)
    for node in found.float_ops:
        yield f"- stays in float: {code(node.node)} ({text(node.kind)}): {text(node.why)}"
    yield ""
    titles = ("tensor", "min", "max", "SQNR")
    rows = [
        (code(item.name), f"{item.minimum:.4g}", f"{item.maximum:.4g}", words.decibels(item.sqnr_db))
        for item in words.worst_first(found.tensors)
    ]
    if all(item.sqnr_db is None for item in found.tensors):
        titles, rows = titles[:3], [row[:3] for row in rows]
    if rows:
        yield from table(titles, rows[:_LISTED], numbers=(1, 2, 3))
    yield from _more(len(rows))


def _recipes(found: Quantization) -> Iterator[str]:
    """Yield what repairs won, and the recipes that were tried."""
    for repair in found.repairs:
        yield f"- repair {text(words.repair(repair))}"
    yield ""
    if found.candidates:
        gains = [
            (text(item.recipe), f"{item.gain_db:+.1f} dB", "chosen" if item.chosen else "")
            for item in found.candidates
        ]
        yield from table(("recipe, on held-out samples", "gain", ""), gains, numbers=(1,))
        yield ""
    if found.trials:
        trials = [
            (
                text(item.recipe),
                f"{item.drop:.3g}",
                words.decibels(item.sqnr_db),
                words.size(item.size_bytes),
                cost,
            )
            for item, cost in words.relative_costs(found.trials)
        ]
        yield from table(
            ("recipe, cheapest first", "drop", "SQNR", "size", "cost"), trials, numbers=(1, 2, 3, 4)
        )
        yield ""


def _explanation(report: Report) -> Iterator[str]:
    found = report.explanation
    if found is None:
        return
    yield "## Where accuracy goes"
    yield ""
    yield f"On {text(found.inputs)}."
    yield ""
    for cause in found.causes:
        measured = cause.gain_db is not None
        gain = f" ({cause.gain_db:+.1f} dB without it: {text(cause.tried)})" if measured else ""
        what = f"{text(cause.what)}{gain}. {text(cause.next_step)}"
        yield f"- **{text(cause.kind)}**, {code(cause.where)}: {what}"
    if not found.causes:
        yield "No cause stands out: what is lost is lost evenly."
    yield ""
    rows = [
        (code(layer.node), text(layer.kind), words.decibels(layer.sqnr_db), _share(layer.share))
        for layer in words.worst_layers(found.layers)
    ]
    titles = ("layer, the least exact first", "kind", "SQNR", "share of the noise")
    if rows:
        yield from table(titles, rows[:_LISTED], numbers=(2, 3))
    yield from _more(len(rows))


def _share(share: float | None) -> str:
    return "–" if share is None else words.percent(share)


def _pruning(report: Report) -> Iterator[str]:
    found = report.pruning
    if found is None:
        return
    yield "## Pruning"
    yield ""
    share = (
        f"{words.percent(found.achieved)} of the weights removed ({words.percent(found.requested)} asked for)"
    )
    yield f"{share}, structure: {text(found.structure)}. {text(found.target_note)}"
    yield ""
    rows = [
        (
            code(layer.name),
            text(layer.kind),
            words.shape(layer.shape),
            f"{layer.removed} / {layer.total}",
            words.percent(layer.sparsity),
        )
        for layer in found.layers
    ]
    yield from table(("node", "kind", "weights", "removed", ""), rows[:_LISTED], numbers=(3, 4))
    yield from _more(len(rows))


def _more(total: int) -> Iterator[str]:
    if total > _LISTED:
        yield f"… and {total - _LISTED} more in the JSON report."
        yield ""


def _diagnostics(report: Report) -> Iterator[str]:
    if not report.diagnostics:
        return
    yield "## Messages"
    yield ""
    for item in report.diagnostics:
        sentence = " ".join(part for part in (f"{item.what}.", item.why, item.next_step) if part)
        yield f"- {text(item.severity)} {code(item.code)} {code(item.where)}: {text(sentence)}"
    yield ""


def _reproduce(report: Report) -> Iterator[str]:
    yield "## Reproduce"
    yield ""
    total = words.seconds(sum(report.timings.values()))
    if report.command:
        yield f"{code(report.command)}"
        yield ""
    yield f"{text(report.tool.name)} {text(report.tool.version)}, {total}."
