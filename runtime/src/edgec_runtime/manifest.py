"""The manifest that the compiler writes beside a model, and whether the model is the one it speaks of.

model.rpi4.int8.tflite          model.rpi4.int8.manifest.json   {"artifact": {"sha256": "…"}, …}
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgec_runtime.flatbuffer_check import mapped

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ManifestCheck:
    """`status` is "absent", "match" or "mismatch"; `problem` says what to do about a mismatch."""

    status: str
    path: str = ""
    problem: str = ""


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with mapped(path) as view:
        for start in range(0, len(view), _CHUNK):
            digest.update(view[start : start + _CHUNK])
    return digest.hexdigest()


def check_manifest(model: str | Path, sha256: str) -> ManifestCheck:
    """Compare a model's digest with the one in the manifest beside it, if there is one."""
    model = Path(model)
    for path in (model.with_suffix(".manifest.json"), model.with_name(f"{model.name}.manifest.json")):
        if path.is_file():
            return _compare(path, sha256)
    return ManifestCheck("absent")


def _compare(path: Path, sha256: str) -> ManifestCheck:
    try:
        expected = _digest(cast(object, json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        return ManifestCheck("mismatch", str(path), f"the manifest cannot be read: {error}")
    if expected is None:
        return ManifestCheck("mismatch", str(path), "the manifest has no artifact.sha256 to compare with")
    if expected.lower() == sha256:
        return ManifestCheck("match", str(path))
    return ManifestCheck(
        "mismatch",
        str(path),
        f"the manifest says sha256 {expected}, the file has {sha256}: it was changed after it was compiled, "
        "damaged on the way, or belongs to another manifest. Copy model and manifest again together",
    )


def _digest(document: object) -> str | None:
    if not isinstance(document, dict):
        return None
    artifact = cast("dict[str, object]", document).get("artifact")
    if not isinstance(artifact, dict):
        return None
    digest = cast("dict[str, object]", artifact).get("sha256")
    return digest if isinstance(digest, str) else None
