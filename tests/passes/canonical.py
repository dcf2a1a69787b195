"""What tests of canonical form share."""

from __future__ import annotations

from edgec.ir import Array
from edgec.passes.canonicalize import CANONICALIZE
from tests.support.ir_graphs import (
    Body,
    Input,
    Rewritten,
    rewritten,
)

ONE_ROUNDING = 2.0**-22
"""Two roundings in float32 in place of one: twice 2^-24, doubled because the result may be the smaller."""


def canonical(body: Body, *inputs: Input, rtol: float = 0.0, feeds: list[Array] | None = None) -> Rewritten:
    return rewritten(CANONICALIZE, body, *inputs, rtol=rtol, feeds=feeds)
