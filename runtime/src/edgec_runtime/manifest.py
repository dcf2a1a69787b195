"""The manifest that the compiler writes beside a model, and whether the model is the one it speaks of.

model.rpi4.int8.tflite          model.rpi4.int8.manifest.json   {"artifact": {"sha256": "…"}, …}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgec_runtime.flatbuffer_check import mapped

_CHUNK = 1 << 20


@dataclass(frozen=True)
class PixelFeed:
    """An input that takes raw pixels 0..255, less `subtract`; `resize` is how images of another size fit."""

    name: str
    color: str
    resize: str
    subtract: int

    def __str__(self) -> str:
        kind = f"int8 pixels less {self.subtract}" if self.subtract else "uint8 pixels 0..255"
        return f"{self.name}: {kind}, {self.color}" + (f", resize {self.resize}" if self.resize else "")


@dataclass(frozen=True)
class ManifestCheck:
    """`status` is "absent", "match" or "mismatch"; `problem` says what to do about a mismatch.

    `pixels` are the inputs that take raw pixels, as a matching manifest says.
    """

    status: str
    path: str = ""
    problem: str = ""
    pixels: tuple[PixelFeed, ...] = ()


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
        document = cast(object, json.loads(path.read_text(encoding="utf-8")))
        expected = _digest(document)
    except (OSError, ValueError) as error:
        return ManifestCheck("mismatch", str(path), f"the manifest cannot be read: {error}")
    if expected is None:
        return ManifestCheck("mismatch", str(path), "the manifest has no artifact.sha256 to compare with")
    if expected.lower() == sha256:
        return ManifestCheck("match", str(path), pixels=tuple(_pixel_feeds(document)))
    return ManifestCheck(
        "mismatch",
        str(path),
        f"the manifest says sha256 {expected}, the file has {sha256}: it was changed after it was compiled, "
        "damaged on the way, or belongs to another manifest. Copy model and manifest again together",
    )


def _pixel_feeds(document: object) -> Iterator[PixelFeed]:
    """Yield the inputs of raw pixels; what is not as the compiler writes it is passed over."""
    inputs = cast("dict[str, object]", document).get("inputs")
    for item in cast("list[object]", inputs) if isinstance(inputs, list) else ():
        entry = cast("dict[str, object]", item) if isinstance(item, dict) else {}
        found = entry.get("pixels")
        if isinstance(found, dict):
            feed = cast("dict[str, object]", found)
            subtract = feed.get("subtract")
            yield PixelFeed(
                str(entry.get("name")),
                str(feed.get("color")),
                str(feed.get("resize") or ""),
                subtract if isinstance(subtract, int) else 0,
            )


def _digest(document: object) -> str | None:
    if not isinstance(document, dict):
        return None
    artifact = cast("dict[str, object]", document).get("artifact")
    if not isinstance(artifact, dict):
        return None
    digest = cast("dict[str, object]", artifact).get("sha256")
    return digest if isinstance(digest, str) else None
