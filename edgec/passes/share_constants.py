"""Equal constants are stored once.

f(x, c1), g(y, c2) with c1 == c2 in type and bytes  →  f(x, c1), g(y, c1)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from edgec.ir import Model, Value
from edgec.passes.contract import PassResult


@dataclass(frozen=True)
class ShareConstants:
    """Merges constants by a digest of their bytes: linear in the size of the weights."""

    name: str = "share_constants"

    def run(self, model: Model) -> PassResult:
        """Merge within each graph."""
        modified = False
        for graph in model.graphs:
            first: dict[object, Value] = {}
            for value in graph.constants():
                kept = first.setdefault(_key(value), value)
                if kept is not value:
                    graph.replace_uses(value, kept)
                    modified = True
        return PassResult(model, modified)


def _key(value: Value) -> object:
    data = np.ascontiguousarray(value.constant())
    return value.type, hashlib.blake2b(data.reshape(-1).view(np.uint8).data, digest_size=16).digest()
