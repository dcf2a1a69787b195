"""The JSON contract of the compile report."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgec.diagnostics import CompileError, Diagnostic
from edgec.reports.model import Report, ReportedDiagnostic


@pytest.mark.parametrize("name", ["FLOAT", "INT8", "EXACT"])
def test_a_report_survives_json(samples: ModuleType, name: str) -> None:
    """Written and read again it is equal, so nothing is lost or changes its type."""
    report: Report = getattr(samples, name)
    assert Report.from_dict(json.loads(report.to_json())) == report


def test_the_keys_that_scripts_rely_on(samples: ModuleType) -> None:
    """These names and places are the contract; renaming one breaks other people's scripts."""
    data = samples.INT8.to_dict()
    assert data["schema_version"] == 1
    assert set(data) >= {
        *(
            "source",
            "target",
            "precision",
            "inputs",
            "outputs",
            "ops",
            "transposes",
            "size_bytes",
            "parameters",
        ),
        *("macs", "arena_bytes", "verification", "quantization", "timings", "diagnostics"),
    }
    assert set(data["source"]) >= {"format", "sha256", "opset"}
    assert set(data["inputs"][0]) == {*("name", "shape", "dtype", "scale", "zero_point", "layout", "pixels")}
    assert set(data["verification"]["outputs"][0]) >= {"name", "max_abs_error", "sqnr_db", "cosine"}
    assert (data["ops"]["conv_2d"], data["transposes"]) == (12, 1)
    assert data["inputs"][0]["shape"] == [1, 8, 8, 1]


def test_the_same_report_gives_the_same_bytes(samples: ModuleType) -> None:
    """Keys keep the logical order of the fields, so that a reader meets the summary first."""
    text = samples.INT8.to_json()
    assert text == Report.from_dict(json.loads(text)).to_json()
    assert list(json.loads(text))[:5] == ["schema_version", "kind", "tool", "source", "artifact"]
    assert text.endswith("}\n")


@pytest.mark.parametrize(("value", "written"), [(math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan")])
def test_what_json_cannot_hold_is_text(samples: ModuleType, value: float, written: str) -> None:
    """An exact output has an SQNR of infinity; strict JSON parsers reject the bare word."""
    text = replace(samples.FLOAT, verification=samples.verified(samples.check("y", value))).to_json()
    data = json.loads(text, parse_constant=lambda word: pytest.fail(f"bare {word} in the JSON"))
    assert data["verification"]["outputs"][0]["sqnr_db"] == written
    checked = Report.from_dict(data).verification
    assert checked is not None
    assert str(checked.outputs[0].sqnr_db) == str(value)


def test_numpy_scalars_are_plain_numbers(samples: ModuleType) -> None:
    """Measurements come from NumPy; the JSON must not care."""
    odd = replace(samples.FLOAT, size_bytes=np.int64(5), timings={"emit": np.float32(0.5)})
    assert json.loads(odd.to_json())["size_bytes"] == 5
    assert json.loads(odd.to_json())["timings"] == {"emit": 0.5}


def test_what_is_no_json_is_refused(samples: ModuleType) -> None:
    with pytest.raises(TypeError, match="ndarray has no place"):
        replace(samples.FLOAT, macs=np.zeros(2)).to_json()


def test_hostile_names_survive_json(samples: ModuleType) -> None:
    """JSON keeps names exactly, lone surrogates included, and stays valid UTF-8."""
    ops = dict.fromkeys(samples.HOSTILE, 1)
    text = replace(samples.FLOAT, ops=ops).to_json()
    assert json.loads(text.encode("utf-8"))["ops"] == ops


def _error(data: dict[str, object]) -> str:
    with pytest.raises(CompileError) as caught:
        Report.from_dict(data, "old.json")  # type: ignore[arg-type]
    return str(caught.value)


def _without(data: dict[str, object], *path: str | int) -> dict[str, object]:
    """Remove one key of a deep copy."""
    copy = json.loads(json.dumps(data))
    place = copy
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return copy


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("ops",), "ops"),
        (("gates",), "gates"),
        (("source", "sha256"), "source.sha256"),
        (("verification", "outputs", 1, "sqnr_db"), "verification.outputs[1].sqnr_db"),
        (("quantization", "calibration", "observer"), "quantization.calibration.observer"),
    ],
)
def test_a_missing_field_is_named(samples: ModuleType, path: tuple[str | int, ...], field: str) -> None:
    """However deep, and also in a section that may be null as a whole."""
    text = _error(_without(samples.INT8.to_dict(), *path))
    assert text.startswith(f"E0505 old.json: {field}: this field is missing.")


def test_what_older_reports_do_not_say_is_null(samples: ModuleType) -> None:
    """A report made before inputs could be pixels and recipes were tried is still a report."""
    old = _without(_without(samples.INT8.to_dict(), "inputs", 0, "pixels"), "quantization", "candidates")
    read = Report.from_dict(old, "old.json")  # type: ignore[arg-type]
    assert read.inputs[0].pixels is None
    assert read.quantization is not None
    assert read.quantization.candidates is None


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("size_bytes", "12", 'size_bytes: must be a whole number, is "12"'),
        ("size_bytes", True, "size_bytes: must be a whole number, is true"),
        ("size_bytes", 1.5, "size_bytes: must be a whole number, is 1.5"),
        ("ops", [], "ops: must be an object, is []"),
        ("ops", {"add": None}, "ops.add: must be a whole number, is null"),
        ("inputs", {}, "inputs: must be a list, is {}"),
        ("timings", {"emit": "soon"}, 'timings.emit: must be a number, is "soon"'),
        ("target", 4, "target: must be text, is 4"),
        ("verification", [], "verification: must be an object, is []"),
    ],
)
def test_a_wrong_type_is_named(samples: ModuleType, field: str, value: object, expected: str) -> None:
    assert _error({**samples.INT8.to_dict(), field: value}).startswith(f"E0505 old.json: {expected}.")


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_another_schema_version_is_refused(samples: ModuleType, version: object) -> None:
    """A later version may mean something else by the same names, so it is never guessed at."""
    text = _error({**samples.FLOAT.to_dict(), "schema_version": version})
    assert text.startswith("E0505 old.json: schema_version: ")
    assert "This edgec reads version 1. Read it with the edgec that wrote it" in text


def test_unknown_fields_are_ignored(samples: ModuleType) -> None:
    """A later edgec may add facts to version 1 without breaking today's tools."""
    assert Report.from_dict({**samples.FLOAT.to_dict(), "co2": 1}) == samples.FLOAT


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is not JSON: "),
        (b"[1]", "it holds no JSON object"),
        (b"\xff\xfe", "it is not JSON: "),
        (b'{"a": NaN}', 'NaN is no JSON number (write it as "NaN")'),
        (b"[" * 200_000, "it is nested too deeply"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_report(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CompileError) as caught:
        Report.load(path)
    assert str(caught.value).startswith(f"E0504 {path}: cannot read this JSON document.")
    assert why in str(caught.value)


def test_passed_is_verification_and_all_gates(samples: ModuleType) -> None:
    """Exit code 3 hangs on it: one failed gate or output is enough, no verification is not a failure."""
    assert samples.FLOAT.passed
    assert samples.EXACT.passed
    assert not samples.INT8.passed, "its gate max-drop is not met"
    assert replace(samples.INT8, gates=samples.INT8.gates[:1]).passed
    assert not replace(
        samples.FLOAT, verification=samples.verified(samples.check("y", 10.0, passed=False))
    ).passed


def test_the_worst_output_has_the_lowest_sqnr_and_nan_is_worst(samples: ModuleType) -> None:
    checks = [samples.check(str(value), value) for value in (40.0, math.inf, 30.0)]
    worst = replace(samples.FLOAT, verification=samples.verified(*checks)).worst_output
    assert worst is not None
    assert worst.name == "30.0"
    worst = replace(
        samples.FLOAT, verification=samples.verified(*checks, samples.check("nan", math.nan))
    ).worst_output
    assert worst is not None
    assert worst.name == "nan"
    assert samples.FLOAT.worst_output is None


def test_a_diagnostic_becomes_a_reported_one() -> None:
    assert ReportedDiagnostic.of(Diagnostic("E0101", "m.onnx", "is empty")) == ReportedDiagnostic(
        "E0101", "error", "m.onnx", "is empty", "", ""
    )
