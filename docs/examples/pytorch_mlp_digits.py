"""A PyTorch MLP 784-128-10 that reads digits: exported to ONNX, compiled to int8 for a Raspberry Pi 4.

    torch.nn.Sequential ── torch.onnx.export ──▶ .onnx ── edgec.compile ──▶ int8 .tflite

The data are scikit-learn's handwritten digits, enlarged from 8×8 pixels to the 28×28 of this classic net.
"""

from __future__ import annotations

from pathlib import Path

import torch
from _common import Array, Labels, accuracy, closing_table, digits, parser, predict, save
from torch import nn

import edgec


def build() -> nn.Module:
    """Return the untrained net."""
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def train(net: nn.Module, images: Array, labels: Labels, epochs: int) -> None:
    """Minimize cross-entropy with Adam, in batches of 64."""
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()


def export(net: nn.Module, path: Path) -> None:
    """Write the net as ONNX with named input and output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {"input_names": ["pixels"], "output_names": ["scores"]}
    torch.onnx.export(net.eval(), (torch.zeros(1, 784),), path, **names, verbose=False, external_data=False)


def main() -> None:
    """Train, export, compile, compare on the held-out digits."""
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    data = digits(28)
    train_pixels, test_pixels = data.train.reshape(-1, 784), data.test.reshape(-1, 784)

    net = build()
    train(net, train_pixels, data.train_labels, epochs=3 if options.quick else 30)
    with torch.no_grad():
        before = accuracy(net(torch.from_numpy(test_pixels)).numpy(), data.test_labels)

    source = options.output / "pytorch_mlp_digits.onnx"
    export(net, source)
    # int8 needs to see what values occur; a hundred images that the net was trained on are enough
    calibration = {"pixels": train_pixels[:100]}
    compiled = edgec.compile(source, target="rpi4", precision="int8", calibration=calibration)

    saved = save(compiled, options.output, "pytorch_mlp_digits")
    after = accuracy(predict(saved, test_pixels), data.test_labels)
    closing_table(saved, "accuracy", f"{before:.1%}", f"{after:.1%}")


if __name__ == "__main__":
    main()
