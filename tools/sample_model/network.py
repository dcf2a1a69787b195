"""The sample network in PyTorch, and its training.

    image ─ stem 3×3 ─┬─ depthwise 3×3 ─ pointwise 1×1 ─┐
                      └────────────────────────────────(+)─ maxpool ─ body 3×3 ─ avgpool ─ gemm ─ logits

Small on purpose, yet it holds what a compiler must get right in a CNN: batch norms to fuse, a depthwise
convolution, a residual add of two differently scaled operands, both kinds of pooling, and a matrix product
over a flattened image, whose weights depend on that image's layout.
"""

from __future__ import annotations

import torch  # pyright: ignore[reportMissingImports]  # extra [sample]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from sample_model.digits import CLASSES, Split

CHANNELS, WIDE_CHANNELS = 16, 32
# Shape and epochs were compared on a fifth of the training split, not on the held-out images.
BATCH, EPOCHS, LEARNING_RATE = 64, 40, 0.01


class DigitsNetwork(nn.Module):
    """Takes float32 [n,1,8,8] in 0..1, gives logits float32 [n,10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv_norm(1, CHANNELS, kernel=3)
        self.depthwise = _conv_norm(CHANNELS, CHANNELS, kernel=3, groups=CHANNELS)
        self.pointwise = _conv_norm(CHANNELS, CHANNELS, kernel=1)
        self.body = _conv_norm(CHANNELS, WIDE_CHANNELS, kernel=3)
        self.head = nn.Linear(WIDE_CHANNELS * 2 * 2, CLASSES)  # two poolings leave 2×2 of 8×8

    def forward(self, image: Tensor) -> Tensor:
        """Run the network."""
        stem = functional.relu(self.stem(image))
        branch = self.pointwise(functional.relu(self.depthwise(stem)))
        block = functional.max_pool2d(functional.relu(branch + stem), 2)
        features = functional.avg_pool2d(functional.relu(self.body(block)), 2)
        return self.head(features.flatten(1))


def train(split: Split, seed: int) -> DigitsNetwork:
    """Train from scratch: one thread, deterministic kernels, so two runs on a machine agree bit for bit."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    images, labels = torch.from_numpy(split.images()), torch.from_numpy(split.labels)
    network = DigitsNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _conv_norm(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))
