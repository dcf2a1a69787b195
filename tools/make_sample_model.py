"""Make the sample model and its data: `samples/` and `calibration_data/digits/`.

    pip install 'edgec[sample]'
    python tools/make_sample_model.py

Trains the network of `sample_model/network.py` on scikit-learn's digits (offline, some seconds) and writes

    samples/digits_cnn.onnx               the model: `image` [batch,1,8,8] in 0..1 -> `logits` [batch,10]
    samples/digits_test.npz               held-out images and labels: `image` float32, `label` int64
    calibration_data/digits/*.png         100 calibration images, ten of each class, LABEL_INDEX.png

Seeded: two runs on one machine with the same package versions write the same bytes. Another processor may add
floats in another order, so its weights can differ in the last digits.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sample_model.digits import Digits, Split, load_digits_split

ROOT = Path(__file__).resolve().parent.parent
SEED = 20240
LEAST_TOP1 = 0.97  # a worse model is a broken training run, not a sample


def main() -> None:
    """Split, train, check, and only then replace the files."""
    digits = load_digits_split(SEED)
    model = trained_onnx(digits)
    accuracy = top1(model, digits.held_out)
    print(f"float top-1 on {len(digits.held_out.labels)} held-out images: {accuracy:.2%}")
    if accuracy < LEAST_TOP1:
        raise SystemExit(f"that is below {LEAST_TOP1:.0%}; nothing was written. Check the training settings.")
    write_atomically(ROOT / "samples/digits_cnn.onnx", model)
    write_atomically(ROOT / "samples/digits_test.npz", npz_bytes(digits.held_out))
    write_calibration_images(ROOT / "calibration_data/digits", digits.calibration)
    print(f"wrote samples/ ({len(model)} bytes of ONNX) and calibration_data/digits/")


def trained_onnx(digits: Digits) -> bytes:
    """Train on the training split and return the ONNX file's bytes."""
    from sample_model.network import train
    from sample_model.onnx_graph import build_model

    network = train(digits.train, SEED)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return build_model(weights).SerializeToString(deterministic=True)


def top1(model: bytes, split: Split) -> float:
    """Return the share of images whose largest logit is the label's, measured in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    logits = np.asarray(session.run(["logits"], {"image": split.images()})[0])
    return float(np.mean(logits.argmax(axis=1) == split.labels))


def npz_bytes(split: Split) -> bytes:
    """Return the split as a compressed archive; equal arrays give equal bytes: NumPy dates members 1980."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, image=split.images(), label=split.labels)
    return buffer.getvalue()


def write_calibration_images(folder: Path, split: Split) -> None:
    """Write one grey PNG per image and drop those of an earlier split."""
    files = {
        f"{label}_{index:04d}.png": png_bytes(pixels)
        for pixels, label, index in zip(split.pixels, split.labels, split.indices, strict=True)
    }
    for name, content in files.items():
        write_atomically(folder / name, content)
    for stale in set(folder.glob("*.png")) - {folder / name for name in files}:
        stale.unlink()


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Return `pixels` [height,width] as an 8-bit grey PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the destination, then rename: a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as temporary:
        temporary.write(content)
    Path(temporary.name).chmod(0o644)  # temporary files are born 0600
    Path(temporary.name).replace(path)


if __name__ == "__main__":
    main()
