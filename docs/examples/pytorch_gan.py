"""A conditional PyTorch GAN: its generator writes the digit that it is asked for, on the device, as int8.

    noise [16], digit [10] ─▶ generator ─▶ 28×28 ─▶ discriminator: real or made, given the digit?

The generator grows 7×7 to 28×28 by two transposed convolutions. Accuracy is how often a classifier that
was trained on real digits sees the digit asked for. The data are scikit-learn's handwritten digits, enlarged
from 8×8 to 28×28 pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from _common import Digits, closing_table, digits, parser, predict, save
from sklearn.svm import SVC
from torch import Tensor, nn

import edgec

NOISE, CLASSES = 16, 10


def generator() -> nn.Module:
    """Return a net from noise and digit [n, 26] to images [n, 1, 28, 28]."""
    return nn.Sequential(
        nn.Linear(NOISE + CLASSES, 64 * 7 * 7, bias=False),
        nn.BatchNorm1d(64 * 7 * 7),
        nn.ReLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        nn.Sigmoid(),
    )


def discriminator() -> nn.Module:
    """Return a net from an image below ten planes, of which that of its digit is lit, to one score."""
    return nn.Sequential(
        nn.Conv2d(1 + CLASSES, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 7 * 7, 1),
    )


def requests(digit: Tensor) -> Tensor:
    """Return what makes the generator write these digits: noise, and a one at the digit."""
    return torch.cat([torch.randn(len(digit), NOISE), nn.functional.one_hot(digit, CLASSES)], dim=1)


def train(generate: nn.Module, judge: nn.Module, data: Digits, epochs: int) -> None:
    """Let both nets improve against each other, by turns."""
    images, labels = torch.from_numpy(data.train)[:, None], torch.from_numpy(data.train_labels)
    steps = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.99)) for net in (generate, judge)]
    loss = nn.functional.binary_cross_entropy_with_logits

    def score(pictures: Tensor, digit: Tensor) -> Tensor:
        lit = nn.functional.one_hot(digit, CLASSES)[:, :, None, None].expand(-1, -1, 28, 28)
        return judge(torch.cat([pictures, lit], dim=1))

    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            digit = labels[batch]
            made = generate(requests(digit))
            real, fake = score(images[batch], digit), score(made.detach(), digit)
            steps[1].zero_grad()
            (loss(real, torch.full_like(real, 0.9)) + loss(fake, torch.zeros_like(fake))).backward()
            steps[1].step()
            fooled = score(made, digit)
            steps[0].zero_grad()
            loss(fooled, torch.ones_like(fooled)).backward()
            steps[0].step()


def reader(data: Digits) -> SVC:
    """Return a classifier of real digits."""
    return SVC().fit(data.train.reshape(len(data.train), -1), data.train_labels)


def main() -> None:
    """Train, compile the live generator, compare what both write for the same requests."""
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    data = digits(28)

    generate = generator()
    train(generate, discriminator(), data, epochs=10 if options.quick else 40)
    generate.eval()

    asked = torch.arange(600) % CLASSES
    test = requests(asked)
    read = reader(data)
    reliability = read.score(data.test.reshape(len(data.test), -1), data.test_labels)
    print(f"the classifier itself is right on {reliability:.1%} of held-out real digits")
    with torch.no_grad():
        before = np.mean(read.predict(generate(test).numpy().reshape(600, -1)) == asked.numpy())

    calibration = {"input": requests(torch.arange(100) % CLASSES).numpy()}
    compiled = edgec.compile(
        generate, example_inputs=(test[:1],), target="rpi4", precision="int8", calibration=calibration
    )

    saved = save(compiled, options.output, "pytorch_gan")
    after = np.mean(read.predict(predict(saved, test.numpy()).reshape(600, -1)) == asked.numpy())
    closing_table(saved, "right digit written", f"{before:.1%}", f"{after:.1%}")


if __name__ == "__main__":
    main()
