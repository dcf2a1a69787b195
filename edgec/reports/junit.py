"""The report for CI systems: JUnit XML with one test case per verified output and per gate."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from edgec.reports import words
from edgec.reports.escape import visible
from edgec.reports.model import Gate, OutputCheck, Report, Tolerance


def render_junit(report: Report) -> str:
    """Return the report as JUnit XML; a compile without verification has one skipped case that says so."""
    suite = Xml.Element(
        "testsuite", name=visible(f"edgec {report.source.file} {report.target} {report.precision}")
    )
    _properties(suite, report)
    _verification(suite, report)
    for gate in report.gates:
        _gate(suite, gate)
    for name, tag in (
        ("tests", "testcase"),
        ("failures", "testcase/failure"),
        ("skipped", "testcase/skipped"),
    ):
        suite.set(name, str(len(suite.findall(tag))))
    suite.set("errors", "0")
    suite.set("time", f"{sum(report.timings.values()):.3f}")
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _properties(suite: Xml.Element, report: Report) -> None:
    properties = Xml.SubElement(suite, "properties")
    facts = {
        "tool": f"{report.tool.name} {report.tool.version}",
        "source.sha256": report.source.sha256,
        "artifact.sha256": report.artifact.sha256,
        "size_bytes": str(report.size_bytes),
        "arena_bytes": "unknown" if report.arena_bytes is None else str(report.arena_bytes),
        "macs": "unknown" if report.macs is None else str(report.macs),
        "transposes": str(report.transposes),
    }
    for name, value in facts.items():
        Xml.SubElement(properties, "property", name=name, value=visible(value))


def _verification(suite: Xml.Element, report: Report) -> None:
    if report.verification is None:
        case = Xml.SubElement(suite, "testcase", classname="edgec.verification", name="all outputs")
        Xml.SubElement(case, "skipped", message="the model was not compared with its source (--no-verify)")
        return
    for output in report.verification.outputs:
        _output(suite, output, report.verification.tolerance)


def _output(suite: Xml.Element, output: OutputCheck, tolerance: Tolerance) -> None:
    case = Xml.SubElement(suite, "testcase", classname="edgec.verification", name=visible(output.name))
    numbers = (
        f"SQNR {words.decibels(output.sqnr_db)}, max abs error {output.max_abs_error:g}, "
        f"max rel error {output.max_rel_error:g}, cosine {output.cosine}"
    )
    if not output.passed:
        failure = Xml.SubElement(
            case, "failure", message=visible(words.verdict(output)), type="VerificationFailure"
        )
        failure.text = f"{numbers}\ntolerance: {words.tolerance(tolerance)}"
    Xml.SubElement(case, "system-out").text = numbers


def _gate(suite: Xml.Element, gate: Gate) -> None:
    case = Xml.SubElement(suite, "testcase", classname="edgec.gate", name=visible(gate.name))
    text = visible(f"{gate.name} is {gate.actual:g} {gate.unit}, the limit is {gate.limit:g} {gate.unit}")
    if not gate.passed:
        Xml.SubElement(case, "failure", message=text, type="GateFailure")
    Xml.SubElement(case, "system-out").text = text
