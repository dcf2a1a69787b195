"""Random branching graphs of a few ops: their plans exercise every decision of the planners."""

from __future__ import annotations

import random

from edgec.ir import Value
from edgec.ops import InferenceError
from edgec.ops.movement import ConcatenationAttributes, ReshapeAttributes
from tests.legalize.graphs import Net

_KINDS = ("conv", "conv", "add", "mul", "transpose", "reshape", "slice", "relu", "concatenation", "softmax")


def random_net(seed: int) -> Net:
    """Return the same graph for the same seed; odd seeds are int8."""
    choose = random.Random(seed)
    net = Net(int8=seed % 2 == 1)
    values = [net.input(1, choose.choice([8, 16, 15]), choose.choice([8, 16, 13]), choose.choice([4, 8, 5]))]
    for _ in range(choose.randint(4, 20)):
        x = choose.choice(values[-4:])
        kind = choose.choice(_KINDS)
        if net.int8 and kind == "softmax":
            kind = "relu"
        try:
            values.append(_grow(net, choose, kind, x, values))
        except InferenceError:
            continue
    return net.returns(*[value for value in values[1:] if value.is_unused])


def _grow(net: Net, choose: random.Random, kind: str, x: Value, values: list[Value]) -> Value:
    n, h, w, c = x.shape
    if kind == "conv":
        stride = choose.choice([1, 1, 2])
        return net.conv(
            x, choose.choice([4, 7, 8, 16]), choose.choice([1, 3]), stride_h=stride, stride_w=stride
        )
    if kind in ("add", "mul"):
        return net.op(kind, [x, choose.choice([value for value in values if value.shape == x.shape])])
    if kind == "transpose":
        return net.op("transpose", [x, net.ints([0, 2, 1, 3])])
    if kind == "reshape":
        return net.op("reshape", [x, net.ints([n, w, h, c])], ReshapeAttributes((n, w, h, c)))
    if kind == "slice":
        return net.op("slice", [x, net.ints([0] * 4), net.ints([n, (h + 1) // 2, w, c])])
    if kind == "concatenation":
        alike = [value for value in values if value.shape[:3] == x.shape[:3]][-3:]
        return net.op("concatenation", alike, ConcatenationAttributes(axis=3))
    return net.op(kind, [x])
