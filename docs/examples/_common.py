"""What the examples share: their two options, the digits, running what was compiled, the closing table."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgec import Compiled
from edgec.compile import Saved
from edgec.reports.render import write_report
from edgec_runtime import Model

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

HELD_OUT = 360


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every example has."""
    found = argparse.ArgumentParser(description=description.splitlines()[0])
    found.add_argument("--quick", action="store_true", help="train for seconds only: less accurate")
    found.add_argument("--output", type=Path, default=Path("edgec-examples"), metavar="DIR")
    return found


@dataclass(frozen=True, slots=True)
class Digits:
    """Images float32 [n, size, size] in 0..1 with their labels 0..9; none is in both parts."""

    train: Array
    train_labels: Labels
    test: Array
    test_labels: Labels


def digits(size: int) -> Digits:
    """Return scikit-learn's 1797 handwritten digits, enlarged from 8×8 to size×size pixels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    levels, labels = load_digits(return_X_y=True)  # grey levels 0..16
    images = np.stack([enlarged(image, size) for image in levels.reshape(-1, 8, 8) / 16])
    parts = train_test_split(images, labels, test_size=HELD_OUT, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = parts
    return Digits(train, train_labels, test, test_labels)


def enlarged(image: NDArray[np.float64], size: int) -> Array:
    """Return a square image, enlarged smoothly."""
    large = Image.fromarray(image.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(large), 0, 1)


def save(compiled: Compiled, folder: Path, name: str) -> Saved:
    """Write the model with its manifest, and the report as a page (.html) and as data (.json)."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = compiled.saved(folder / f"{name}.{compiled.report.precision}.tflite")
    for suffix in (".html", ".json"):
        write_report(saved.report, saved.path.with_suffix(suffix))
    return saved


def predict(saved: Saved, inputs: Array) -> Array:
    """Run a compiled model as a device does, sample by sample; real values in and out."""
    model = Model(saved.path)
    return np.concatenate([model(sample[None])[model.outputs[0].name] for sample in inputs])


def accuracy(scores: Array, labels: Labels) -> float:
    """Return the share of samples whose highest score is at their label."""
    return float(np.mean(scores.argmax(axis=1) == labels))


def closing_table(saved: Saved, measure: str, before: str, after: str) -> None:
    """Print what the model was worth and weighed before and after, and where the files are."""
    report = saved.report
    sizes = [f"{size / 1000:.1f} kB" for size in (report.source.size_bytes, report.size_bytes)]
    print(f"\n{'':<22}{'before (float)':>16}{f'after ({report.precision})':>18}")
    print(f"{measure:<22}{before:>16}{after:>18}")
    print(f"{'size':<22}{sizes[0]:>16}{sizes[1]:>18}")
    print(f"\nmodel   {saved.path}\nreport  {saved.path.with_suffix('.html')}")
