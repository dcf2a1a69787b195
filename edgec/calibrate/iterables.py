"""Samples of a live Python object: a list, a data loader, a generator.

What can be iterated again is; a generator gives its samples once, so they are kept. Items are as those of a
function (`edgec.calibrate.functions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.functions import function_samples
from edgec.calibrate.preprocess import Preprocess
from edgec.calibrate.samples import InputSpec, SampleSet

MAX_KEPT_BYTES = 512 << 20


def iterable_samples(
    source: Iterable[object], inputs: Sequence[InputSpec], preprocess: Preprocess | None, limit: int | None
) -> SampleSet:
    """Return the samples that an object yields; E0310 for a generator of more than `MAX_KEPT_BYTES`."""
    where = f"Python {type(source).__name__}"
    again = _kept(source, where, limit) if isinstance(source, Iterator) else source
    return function_samples(lambda: again, inputs, preprocess, limit, where)


def _kept(source: Iterator[object], where: str, limit: int | None) -> list[object]:
    items: list[object] = []
    size = 0
    for item in source:
        items.append(_copied(item))
        size += _bytes(item)
        if size > MAX_KEPT_BYTES:
            raise problems.fail(
                problems.FUNCTION,
                where,
                f"gives more than {MAX_KEPT_BYTES >> 20} MiB of samples",
                "It can be read only once, and samples are needed several times.",
                "Pass the function that makes it, or limit the number of samples.",
            )
        if limit is not None and len(items) >= limit:
            break
    return items


def _copied(item: object) -> object:
    """Return the arrays of an item as they are now: generators may fill one buffer again and again."""
    if isinstance(item, np.ndarray):
        return item.copy()
    if isinstance(item, Mapping):
        return {name: _copied(value) for name, value in item.items()}
    if isinstance(item, list | tuple):
        return [_copied(value) for value in item]
    return item


def _bytes(item: object) -> int:
    if isinstance(item, Mapping):
        return sum(map(_bytes, item.values()))
    if isinstance(item, list | tuple):
        return sum(map(_bytes, item))
    size = getattr(item, "nbytes", 0)
    return size if isinstance(size, int) else 0
