"""Print the top-1 accuracy of compiled models on labelled images, with the runtime wheel alone.

    demo/runtime-venv/bin/python tools/demo_accuracy.py samples/digits_test.npz FLOAT.tflite INT8.tflite

The archive holds `image` [n,1,height,width] and `label` [n]. Every model is compared with the first one.
With --at-least 97 it ends with exit code 1 when a model has less than 97 % right. Needs NumPy and
edgec-runtime, as on the board; edgec itself is not there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgec_runtime import Model


def main() -> None:
    """Print one row per model."""
    options = _options()
    with np.load(options.archive) as held_out:
        images, labels = held_out["image"], held_out["label"]
    print(f"{'model':<34} {'bytes':>8} {'right':>11} {'top-1':>8} {'points':>8}")
    shares: list[float] = []
    for path in options.models:
        right = int(np.sum(predictions(path, images) == labels))
        shares.append(100 * right / len(labels))
        change = f"{shares[-1] - shares[0]:+.2f}" if len(shares) > 1 else ""
        of_all = f"{right}/{len(labels)}"
        print(
            f"{path.stem:<34} {path.stat().st_size:>8} {of_all:>11} {shares[-1]:>7.2f}% {change:>8}".rstrip()
        )
    if min(shares) < options.at_least:
        sys.exit(f"demo_accuracy: top-1 is below the {options.at_least:g} % asked for")


def predictions(path: Path, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the class of each image; the runtime takes and gives real values, whatever the model holds."""
    model = Model(path)
    (image,) = model.inputs
    (logits,) = model.outputs
    # one channel: nchw and nhwc hold the same numbers in the same order, so a reshape serves both layouts
    results = (model.run({image.name: one.reshape(image.shape)})[logits.name] for one in images)
    return np.array([np.argmax(result) for result in results])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Top-1 accuracy of compiled models on labelled images.")
    parser.add_argument("archive", type=Path, help="npz with `image` and `label`")
    parser.add_argument("models", type=Path, nargs="+", help="tflite files; the first one is compared with")
    parser.add_argument(
        "--at-least", type=float, default=0.0, metavar="PERCENT", help="fail below this top-1"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
