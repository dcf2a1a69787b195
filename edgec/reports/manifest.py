"""The manifest beside an artifact: what the file is, what it was made from, and how to make it again.

It holds digests and relative names, no time and no absolute path, so building the same thing twice, on any
machine, gives the same manifest bytes. Firmware teams check an artifact by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath

from edgec.atomic_write import write_text
from edgec.reports.contract import Json, from_jsonable, read_json, to_json_text, to_jsonable
from edgec.reports.model import Calibration, Report, TensorInfo, Tool, check_schema_version

SCHEMA_VERSION = 1
MANIFEST_KIND = "edgec-manifest"

Option = str | bool | int | float | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class File:
    """A file by its name (without folders), SHA-256 and size."""

    file: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SourceFile(File):
    """The model that was compiled; `opset` is null outside ONNX."""

    format: str
    opset: int | None


@dataclass(frozen=True, slots=True)
class CalibrationDigest:
    """The data that ranges were taken from, by digest."""

    sha256: str
    samples: int

    @classmethod
    def of(cls, calibration: Calibration | None) -> CalibrationDigest | None:
        """Take over what a manifest keeps of the report's calibration."""
        return cls(calibration.sha256, calibration.samples) if calibration else None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts of one artifact; `options` are the compile options that make it again."""

    artifact: File
    source: SourceFile
    tool: Tool
    target: str
    precision: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    calibration: CalibrationDigest | None
    options: Mapping[str, Option]

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form, in field order; options are sorted by name."""
        data = to_jsonable(self)
        assert isinstance(data, dict)
        return {"schema_version": SCHEMA_VERSION, "kind": MANIFEST_KIND, **data}

    def to_json(self) -> str:
        """Return the JSON form as text: the same build gives the same bytes."""
        return to_json_text(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Json], file: str = "manifest") -> Manifest:
        """Return the manifest in `data` (error E0505 names `file` and the field)."""
        check_schema_version(data, file, SCHEMA_VERSION)
        return from_jsonable(cls, data, file)

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest file (errors E0504 and E0505)."""
        return cls.from_dict(read_json(path), str(path))


def manifest_path(artifact: Path) -> Path:
    """Return where an artifact's manifest lies: `m.rpi4.int8.tflite` → `m.rpi4.int8.manifest.json`."""
    return artifact.with_name(f"{artifact.stem}.manifest.json")


def manifest_of(report: Report, artifact: str, options: Mapping[str, Option | PurePath]) -> Manifest:
    """Return the manifest of a compile.

    Args:
        report: the report of that compile.
        artifact: file name of the artifact.
        options: the compile options by name; paths are reduced to what is true on any machine.
    """
    source = report.source
    calibration = report.quantization.calibration if report.quantization else None
    return Manifest(
        artifact=File(PurePath(artifact).name, report.artifact.sha256, report.size_bytes),
        source=SourceFile(
            PurePath(source.file).name, source.sha256, source.size_bytes, source.format, source.opset
        ),
        tool=report.tool,
        target=report.target,
        precision=report.precision,
        inputs=report.inputs,
        outputs=report.outputs,
        calibration=CalibrationDigest.of(calibration),
        options={name: _portable(options[name]) for name in sorted(options)},
    )


def write_manifest(manifest: Manifest, artifact: Path) -> Path:
    """Write the manifest beside its artifact, whole or not at all (E0501), and return its path."""
    path = manifest_path(artifact)
    write_text(path, manifest.to_json())
    return path


def _portable(value: Option | PurePath) -> Option:
    """Keep relative paths as they were given; of an absolute path keep the last name."""
    if isinstance(value, PurePath):
        return value.name if value.is_absolute() else value.as_posix()
    if isinstance(value, str) and (PurePath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        return PureWindowsPath(value).name
    if isinstance(value, tuple):
        return tuple(str(_portable(item)) for item in value)
    return value
