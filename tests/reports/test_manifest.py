"""The manifest: digests and options, the same bytes on every machine."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType

import pytest

from edgec.diagnostics import CompileError
from edgec.reports.manifest import Manifest, manifest_of, manifest_path, write_manifest

OPTIONS = {"target": "rpi4", "int8": True, "prune": 0.5, "report": ("a.html", "/tmp/b.html"), "recipe": None}


def test_it_lies_beside_the_artifact() -> None:
    assert manifest_path(Path("out/m.rpi4.int8.tflite")) == Path("out/m.rpi4.int8.manifest.json")


def test_it_holds_what_a_firmware_team_checks(samples: ModuleType, tmp_path: Path) -> None:
    """Digests and sizes of both files, what the integers mean, and the options that make it again."""
    artifact = tmp_path / "digits.rpi4.int8.tflite"
    path = write_manifest(manifest_of(samples.INT8, str(artifact), OPTIONS), artifact)
    data = json.loads(path.read_text())
    assert path == tmp_path / "digits.rpi4.int8.manifest.json"
    assert data["schema_version"] == 1
    assert data["artifact"] == {"file": artifact.name, "sha256": "ef" * 32, "size_bytes": 34_560}
    assert data["source"] == {
        "file": "digits.onnx",
        "sha256": "ab" * 32,
        "size_bytes": 120_000,
        "format": "onnx",
        "opset": 17,
    }
    assert data["inputs"][0]["scale"] == 0.00392157
    assert data["calibration"] == {"sha256": "12" * 32, "samples": 100}
    assert data["tool"] == {"name": "edgec", "version": "0.1.0"}
    assert Manifest.load(path) == manifest_of(samples.INT8, str(artifact), OPTIONS)


def test_the_same_build_gives_the_same_bytes_anywhere(samples: ModuleType) -> None:
    """Another folder, another order of options: no difference, and no trace of the machine."""
    here = manifest_of(
        samples.INT8, "/home/me/m.tflite", {"calibration": PurePosixPath("/home/me/digits"), **OPTIONS}
    )
    there = manifest_of(
        samples.INT8, "m.tflite", {**OPTIONS, "calibration": PureWindowsPath("C:\\data\\digits")}
    )
    assert here.to_json() == there.to_json()
    assert not [place for place in ("/home", "/tmp", "C:") if place in here.to_json()]
    assert here.options["report"] == ("a.html", "b.html")


def test_relative_paths_stay_as_given(samples: ModuleType) -> None:
    """They are true on any machine that has the checkout, and needed to make the artifact again."""
    options = {"calibration": PurePosixPath("data/digits"), "loader": "my_module:samples"}
    assert manifest_of(samples.FLOAT, "m.tflite", options).options == {
        "calibration": "data/digits",
        "loader": "my_module:samples",
    }


def test_without_calibration_it_is_null(samples: ModuleType) -> None:
    assert manifest_of(samples.FLOAT, "m.tflite", {}).to_dict()["calibration"] is None


def test_a_broken_manifest_names_the_field(samples: ModuleType, tmp_path: Path) -> None:
    data = manifest_of(samples.FLOAT, "m.tflite", {}).to_dict()
    del data["artifact"]["sha256"]  # type: ignore[index, arg-type, union-attr]
    path = tmp_path / "m.manifest.json"
    path.write_text(json.dumps(data))
    with pytest.raises(
        CompileError, match=r"E0505 .*m\.manifest\.json: artifact\.sha256: this field is missing"
    ):
        Manifest.load(path)
