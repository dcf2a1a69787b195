"""The samples that rounding learns from: the same ones in the same order, however they came.

Samples are ordered by the digest of their contents. So neither the sums nor the halves that judge each other
depend on the order of files in a folder, and of more samples than fit the budget the same ones are kept.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np

from edgec.ir import Array, Port

Sample = Mapping[str, Array]

MAX_SAMPLES = 128
MIN_SAMPLES = 2


def take_feeds(ports: Sequence[Port], samples: Iterable[Sample], budget: int) -> list[list[Array]]:
    """Return at most `MAX_SAMPLES` samples, and at least two if there are, as the graph's inputs take them.

    Memory holds no more than it returns and the one sample at hand.
    """
    size = sum(prod(max(n, 1) for n in port.shape) * port.dtype.numpy.itemsize for port in ports)
    count = min(max(budget // max(size, 1), MIN_SAMPLES), MAX_SAMPLES)
    digested = ((_digest(feed), feed) for feed in (_feed(ports, sample) for sample in samples))
    return [feed for _, feed in heapq.nsmallest(count, digested, key=lambda pair: pair[0])]


def _feed(ports: Sequence[Port], sample: Sample) -> list[Array]:
    """Return a sample's arrays in the layout that was emitted."""
    return [
        sample[port.name]
        if port.permutation is None
        else np.asarray(np.transpose(sample[port.name], port.permutation), order="C")  # a scalar stays one
        for port in ports
    ]


def _digest(feed: Sequence[Array]) -> bytes:
    digest = hashlib.sha256()
    for array in feed:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
