"""Follows elements of a tensor through nodes that only move data: by numbers sent in their place.

x ─ reshape ─ slice ─ transpose ─ y        which element of x is y[0, 3, 1]?  →  number it, move it, look
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgec.ir import Node, Value
from edgec.ops import spec_of
from edgec.passes.canonicalize.matching import NONE, activation_of

Numbers = npt.NDArray[np.int64]


def moved(node: Node, elements: Mapping[Value, Numbers]) -> list[Numbers] | None:
    """Return the numbers of a node's results, 0 where it adds zeros; None if it does more than move data.

    `elements` holds the numbers of values, from 1 on; every float operand has to be in there.
    """
    fold = spec_of(node).fold
    if activation_of(node) is not NONE or fold is None:
        return None
    if any(v not in elements for v in node.operands if v is not None and v.dtype.is_float):
        return None
    operands = [v and Value(v.name, v.type, elements.get(v, v.data)) for v in node.operands]
    if any(v is not None and v.data is None for v in operands):
        return None
    results = [Value(result.name, result.type) for result in node.results]
    folded = fold(Node(node.kind, operands, results, node.attributes))
    return None if folded is None else [np.asarray(each, np.int64) for each in folded]
