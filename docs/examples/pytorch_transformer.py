"""A small PyTorch transformer encoder that reads digits as 16 patches, compiled to int8 from the live module.

    28×28 ─▶ 16 patches of 7×7 ─▶ linear + position ─▶ 2 encoder layers, 4 heads ─▶ mean ─▶ linear

No file lies between: the module goes to edgec with an example input, from which torch traces it. The data are
scikit-learn's handwritten digits, enlarged from 8×8 to 28×28 pixels.
"""

from __future__ import annotations

import torch
from _common import Array, Labels, accuracy, closing_table, digits, parser, predict, save
from torch import Tensor, nn

import edgec

PATCH, GRID, WIDTH = 7, 4, 48


class PatchTransformer(nn.Module):
    """A vision transformer, as small as it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH * PATCH, WIDTH)
        self.position = nn.Parameter(torch.randn(1, GRID * GRID, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return scores [n, 10] of images [n, 28, 28]."""
        patches = image.reshape(-1, GRID, PATCH, GRID, PATCH).transpose(2, 3)
        tokens = self.embed(patches.reshape(-1, GRID * GRID, PATCH * PATCH)) + self.position
        return self.head(self.encoder(tokens).mean(dim=1))


def train(net: nn.Module, images: Array, labels: Labels, epochs: int) -> None:
    """Minimize cross-entropy with Adam, in batches of 32; the step falls to zero."""
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()


def main() -> None:
    """Train, compile the module, compare on the held-out digits."""
    options = parser(__doc__).parse_args()
    torch.manual_seed(0)
    data = digits(PATCH * GRID)

    net = PatchTransformer()
    train(net, data.train, data.train_labels, epochs=6 if options.quick else 25)
    net.eval()
    with torch.no_grad():
        before = accuracy(net(torch.from_numpy(data.test)).numpy(), data.test_labels)

    compiled = edgec.compile(
        net,
        example_inputs=(data.train[:1],),
        target="rpi5",
        precision="int8",
        calibration={"image": data.train[:100]},
    )

    saved = save(compiled, options.output, "pytorch_transformer")
    after = accuracy(predict(saved, data.test), data.test_labels)
    closing_table(saved, "accuracy", f"{before:.1%}", f"{after:.1%}")


if __name__ == "__main__":
    main()
