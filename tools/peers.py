"""Runs other tools in their own interpreters: they come with gigabytes that edgec does not depend on."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgec.ir import Array

CHILD = Path(__file__).with_name("quantization_peers.py")
NEEDS_KERAS = ("tflite-converter", "keras-float", "keras-zoo")


class PeerError(RuntimeError):
    """A peer made no model; the message is the last line it wrote."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Where peers are, how long they may take, and the folder that keeps what they make."""

    folder: Path
    python: Path | None = None
    keras_python: Path | None = None
    timeout: int = 900

    def make(self, tool: str, model: Path | str, arrays: Sequence[Array] = ()) -> Path:
        """Return the file a peer makes of a model and calibration samples, an array for each input.

        One that was made before from the same bytes is taken from the folder. PeerError where there is none.
        """
        python = self.keras_python if tool in NEEDS_KERAS else self.python
        if python is None:
            raise PeerError(f"{tool} needs --{'keras' if tool in NEEDS_KERAS else 'peer'}-python")
        suffix = "keras" if tool == "keras-zoo" else "tflite"
        out = self.folder / f"{Path(model).stem}.{tool}.{_digest(tool, model, arrays)}.{suffix}"
        if not out.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._run(python, tool, model, arrays, out)
        return out

    def _run(self, python: Path, tool: str, model: Path | str, arrays: Sequence[Array], out: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            calibration, made = Path(scratch) / "calibration.npz", Path(scratch) / "made"
            named = {f"in{index}": array for index, array in enumerate(arrays)}
            np.savez(calibration, allow_pickle=False, **named)
            command = [python, CHILD, tool, model, calibration, made]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout)
            except subprocess.TimeoutExpired:
                raise PeerError(f"{tool}: no result after {self.timeout} s") from None
            except OSError as error:
                raise PeerError(f"{python} does not start: {error.strerror}") from None
            if done.returncode != 0 or not made.is_file():
                said = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
                raise PeerError(f"{tool}: exit code {done.returncode}: {said[-1].strip()[:300]}")
            made.replace(out)


def _digest(tool: str, model: Path | str, arrays: Sequence[Array]) -> str:
    """Return what decides about a peer's file: its code here, the model's bytes and the samples' bytes."""
    digest = hashlib.sha256(f"{tool}\0{CHILD.read_text()}\0".encode())
    digest.update(Path(model).read_bytes() if Path(model).is_file() else str(model).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where peers are."""
    parser.add_argument("--peer-python", type=Path, metavar="PYTHON", help="has ai-edge-quantizer")
    parser.add_argument(
        "--keras-python", type=Path, metavar="PYTHON", help="has tensorflow; adds Keras models"
    )
    parser.add_argument("--peer-timeout", type=int, default=900, help="seconds for a peer (default 900)")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="keep what peers make; the same input is not made again"
    )


def from_options(options: argparse.Namespace, scratch: Path) -> Peers:
    """Return the peers that the options name; without --cache their files go to `scratch`."""
    folder = options.cache or scratch
    return Peers(folder, options.peer_python, options.keras_python, options.peer_timeout)
