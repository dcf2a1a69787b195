"""Live Python objects as samples: lists, loaders that start anew, generators that do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edgec.calibrate import iterables
from edgec.calibrate.data import InputSpec, open_samples
from edgec.diagnostics import CompileError

SPEC = InputSpec("x", (1, 2), np.dtype(np.float32))


def rows(count: int) -> Iterator[dict[str, np.ndarray]]:
    buffer = np.zeros((1, 2), np.float32)
    for index in range(count):
        buffer[:] = index
        yield {"x": buffer}


class Loader:
    """Starts anew at every pass, as data loaders do."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.passes += 1
        return iter([np.full((1, 2), value, np.float32) for value in (1.0, 2.0)])


def test_a_generator_is_read_once_and_gives_its_samples_at_every_pass() -> None:
    """Also one that fills the same buffer again and again."""
    samples = open_samples(rows(3), [SPEC])
    for _ in range(2):
        assert [float(sample["x"][0, 0]) for sample in samples] == [0.0, 1.0, 2.0]
    assert str(samples.describe()).startswith("3 samples from Python generator")


def test_a_limit_stops_an_endless_generator() -> None:
    """No more is taken than asked for."""
    generator = rows(10**9)
    assert len(open_samples(generator, [SPEC], limit=4)) == 4
    assert float(next(generator)["x"][0, 0]) == 4.0


def test_what_starts_anew_is_not_kept() -> None:
    """A loader is asked again for every pass, so its samples may be larger than memory."""
    loader = Loader()
    samples = open_samples(loader, [SPEC])
    before = loader.passes
    assert len(list(samples)) == 2
    assert loader.passes == before + 1


def test_a_list_of_arrays_is_samples() -> None:
    samples = open_samples([np.zeros((1, 2), np.float32), np.ones(2, np.float32)], [SPEC])
    assert [float(sample["x"].max()) for sample in samples] == [0.0, 1.0]


def test_a_generator_too_large_to_keep_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 bytes a sample, 20 are allowed."""
    monkeypatch.setattr(iterables, "MAX_KEPT_BYTES", 20)
    with pytest.raises(CompileError) as caught:
        open_samples(rows(3), [SPEC])
    assert "E0310 Python generator: gives more than 0 MiB" in str(caught.value)
    assert "Pass the function that makes it" in str(caught.value)


def test_what_is_no_source_is_said() -> None:
    with pytest.raises(CompileError, match="E0301 int: is no source of samples"):
        open_samples(7, [SPEC])  # pyright: ignore[reportArgumentType]
