"""The stream of samples: its digest, whoever reads it and however far."""

from __future__ import annotations

import hashlib
import threading

import numpy as np

from edgec.calibrate.data import InputSpec, open_samples

SMALL = InputSpec("small", (1, 4), np.dtype(np.float32))
LARGE = InputSpec("large", (1, 200, 200), np.dtype(np.float32))  # 160 kB: read by a thread
ROWS = {
    "small": np.arange(20, dtype=np.float32).reshape(5, 4),
    "large": np.random.default_rng(0).normal(size=(5, 200, 200)).astype(np.float32),
}


def digest_threads() -> int:
    """How many threads of the digest are left."""
    return sum(thread.name.startswith("edgec-digest") for thread in threading.enumerate())


def test_the_digest_is_that_of_all_tensors_in_order() -> None:
    """Name, type, shape and bytes of each tensor, large and small ones in turn, read in one go."""
    expected = hashlib.sha256()
    for row in range(5):
        for spec in (SMALL, LARGE):
            expected.update(f"{spec.name}\0<f4\0{spec.shape}\0".encode())
            expected.update(ROWS[spec.name][row].tobytes())
    samples = open_samples(ROWS, [SMALL, LARGE])
    for _ in samples:
        pass
    assert samples.sha256 == expected.hexdigest()


def test_who_stops_early_leaves_no_thread() -> None:
    """And has no digest: the next whole pass makes it."""
    samples = open_samples(ROWS, [SMALL, LARGE])
    stream = iter(samples)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert digest_threads() == 0
    assert samples.sha256 == open_samples(ROWS, [SMALL, LARGE]).sha256
    assert digest_threads() == 0
