"""A PyTorch VAE: its decoder alone goes to the device, from 8 numbers to a picture, as int8.

    training    digit ─▶ encoder ─▶ code ─▶ decoder ─▶ digit
    device                          code ─▶ decoder ─▶ digit

The decoder grows 7×7 to 28×28 by two transposed convolutions; edgec takes it as a saved program (.pt2).
Quality is the PSNR of held-out digits after encoding and decoding. The data are scikit-learn's handwritten
digits, enlarged from 8×8 to 28×28 pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from _common import Array, closing_table, digits, parser, predict, save
from torch import Tensor, nn

import edgec

CODE = 8


def encoder() -> nn.Module:
    """Return a net from images [n, 1, 28, 28] to mean and log-variance of codes [n, 16]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 2 * CODE),
    )


def decoder() -> nn.Module:
    """Return a net from codes [n, 8] to images [n, 1, 28, 28]."""
    return nn.Sequential(
        nn.Linear(CODE, 64 * 7 * 7),
        nn.ReLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        nn.Sigmoid(),
    )


def train(encode: nn.Module, decode: nn.Module, images: Tensor, epochs: int) -> None:
    """Minimize reconstruction error plus the divergence of codes from a normal distribution."""
    optimizer = torch.optim.Adam([*encode.parameters(), *decode.parameters()], lr=2e-3)
    for _ in range(epochs):
        for x in images[torch.randperm(len(images))].split(64):
            mean, log_variance = encode(x).chunk(2, dim=1)
            code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
            error = ((decode(code) - x) ** 2).sum()
            divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
            optimizer.zero_grad()
            (error + 0.1 * divergence).backward()
            optimizer.step()


def psnr(decoded: Array, wanted: Array) -> float:
    """Return the peak signal-to-noise ratio in dB; pixels are 0..1."""
    return float(-10 * np.log10(np.mean((decoded.reshape(wanted.shape) - wanted) ** 2)))


def main() -> None:
    """Train, save the decoder as a program, compile it, compare on the held-out digits."""
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    data = digits(28)
    images = torch.from_numpy(data.train)[:, None]

    encode, decode = encoder(), decoder()
    train(encode, decode, images, epochs=4 if options.quick else 30)
    with torch.no_grad():
        codes = encode(images)[:100, :CODE].numpy()  # what int8 is calibrated with
        test_codes = encode(torch.from_numpy(data.test)[:, None])[:, :CODE]
        before = psnr(decode(test_codes).numpy(), data.test)

    options.output.mkdir(parents=True, exist_ok=True)
    source = options.output / "pytorch_vae_decoder.pt2"
    torch.export.save(torch.export.export(decode.eval(), (torch.zeros(1, CODE),)), source)
    compiled = edgec.compile(source, target="rpi4", precision="int8", calibration={"input": codes})

    saved = save(compiled, options.output, "pytorch_vae")
    after = psnr(predict(saved, test_codes.numpy()), data.test)
    closing_table(saved, "reconstruction PSNR", f"{before:.2f} dB", f"{after:.2f} dB")


if __name__ == "__main__":
    main()
