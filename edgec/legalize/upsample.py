"""Nearest-neighbour resizing by whole factors, as copies that XNNPACK takes.

RESIZE_NEAREST_NEIGHBOR never reaches XNNPACK, so it breaks the partition. Doubling is

    [N,H,W,C] ─▶ [N·H·W, C] ─ concat(x, x, axis 1) ─▶ [N·H, 2·W·C] ─ concat(x, x, axis 1) ─▶ [N,2H,2W,C]

Asymmetric coordinates take source pixel floor(i / f); half pixels take floor((i + ½) / f), and that is the
same pixel for a whole factor f.

Whether it is faster depends on the bytes of a pixel: the builtin kernel pays for every pixel, the copies in
XNNPACK for every byte. Measured with ai-edge-litert 2.3.0 on x86-64, one thread, between two 1x1
convolutions, speed of this form over the builtin kernel's:

    bytes a pixel    8      32     64     128    256          512
    float32          3.8    2.8    2.2    1.4    0.95 - 1.2   1.0
    int8             1.2    1.1    1.0    0.95   0.96         0.98
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import Node, Value
from edgec.legalize.moves import Moves, refusal
from edgec.ops import Builder
from edgec.ops.infer import expect
from edgec.ops.resize import ResizeNearestNeighborAttributes
from edgec.rewrite import NoMatch, no_match

MAX_FACTOR = 8
MAX_PIXEL_BYTES = {4: 512, 2: 128, 1: 32}
"""Largest pixel for which the copies are as fast as the builtin kernel, by element size in bytes."""


@dataclass(frozen=True)
class DecomposeResizeNearest:
    """resize_nearest_neighbor by whole factors → reshape and concatenation of the tensor with itself."""

    name: str = "decompose_resize_nearest"
    kinds: tuple[str, ...] = ("resize_nearest_neighbor",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Repeat along the width, then along the height."""
        if expect(node.attributes, ResizeNearestNeighborAttributes).align_corners:
            return no_match("aligned corners do not repeat pixels evenly")
        refused = refusal(node, ("concatenation", "reshape"), "xnnpack")
        if refused is not None:
            return refused
        x = node.operand(0)
        n, height, width, channels = x.shape
        new_height, new_width = node.result.shape[1:3]
        if new_height % height or new_width % width:
            return no_match(f"{height}x{width} to {new_height}x{new_width} is no whole factor")
        tall, wide = new_height // height, new_width // width
        if (tall, wide) == (1, 1) or max(tall, wide) > MAX_FACTOR:
            return no_match(f"factors {tall}x{wide} are not within 2..{MAX_FACTOR}")
        itemsize = x.dtype.numpy.itemsize
        if channels * itemsize > MAX_PIXEL_BYTES[itemsize]:
            return no_match(f"a pixel of {channels * itemsize} bytes is copied faster by the builtin kernel")
        moves = Moves.like(x, build)
        pixels = moves.repeat(moves.reshape(x, (n * height * width, channels)), 1, wide)
        rows = moves.repeat(moves.reshape(pixels, (n * height, new_width * channels)), 1, tall)
        return [moves.reshape(rows, node.result.shape)]
