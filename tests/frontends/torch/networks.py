"""Networks of the kinds that people bring from PyTorch; imported only where torch is installed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mlp(nn.Module):
    """784-128-10."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, digits: Tensor) -> Tensor:
        return self.layers(digits)


class Cnn(nn.Module):
    """Convolution, batch norm, a residual block, global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 10)
        for item in self.modules():
            if isinstance(item, nn.BatchNorm2d):
                item.running_mean.uniform_(-0.5, 0.5)
                item.running_var.uniform_(0.5, 1.5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        x = torch.relu(x + self.second(self.first(x)))
        return self.head(x.mean((2, 3)))


class Recurrent(nn.Module):
    """Token embedding, a bidirectional LSTM, a linear head on the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.lstm = nn.LSTM(6, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0][:, -1])


class Encoder(nn.Module):
    """One transformer encoder layer between a projection and a mean over the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(5, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True, activation="gelu")
        self.head = nn.Linear(16, 4)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.head(self.layer(self.project(sequence)).mean(1))


class Decoder(nn.Module):
    """A generator: from a code to a picture by transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(6, 4 * 4 * 4)
        self.grow = nn.Sequential(
            nn.ConvTranspose2d(4, 8, 4, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, code: Tensor) -> Tensor:
        return self.grow(self.start(code).reshape(-1, 4, 4, 4))


class Several(nn.Module):
    """Two inputs and a plain value; results in a dictionary, one of them a list."""

    def forward(self, zeta: Tensor, alpha: Tensor, factor: float = 2.0) -> dict[str, object]:
        difference = zeta - alpha * factor
        return {"score": difference.sum(1), "parts": [difference, zeta + alpha]}


class Borders(nn.Module):
    """An input that is an output, one that is not read, a result given twice, and None."""

    def forward(self, x: Tensor, unread: Tensor) -> tuple[Tensor | None, ...]:
        doubled = x * 2
        return x, None, doubled, doubled


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return x + self.calls


class Plain(nn.Module):
    """Returns a number beside a tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x * 2, 3


class Noisy(nn.Module):
    """Dropout, which evaluation mode switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x) * 2


class Untranslatable(nn.Module):
    """The Bessel function has no ONNX operator."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def seeded(build: type[nn.Module]) -> nn.Module:
    """Return a network in training mode, as a user's own script has it; the weights are always the same."""
    torch.manual_seed(0)
    return build()


def exported(build: type[nn.Module], *examples: Tensor, **options: object) -> torch.export.ExportedProgram:
    """Return a network's exported program in evaluation mode."""
    return torch.export.export(seeded(build).eval(), examples, **options)
