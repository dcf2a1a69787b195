"""Rewrites of the FLOAT graph that make it quantizable, or faster once it is int8. Run before calibration.

    without int8 kernel              stays int8 because
    square, pow, neg                 → mul                                 (`powers`)

    a form for every step            one for all
    x + fully_connected(y) + c       → x + fully_connected(y, c)           (`sums`)
    fully_connected of every row     → fully_connected of all rows         (`products`)
    1x1 convolution behind another   → one convolution                     (`pointwise`)

    int8 kernel outside XNNPACK      inside
    div(x, constant)                 → mul(x, 1 / constant)                (`powers`)
    hard_swish, hard sigmoid         → add, mul, fused relu6               (`gates`)
    prelu                            → depthwise_conv_2d over x, relu(x)   (`slopes`)
    average_pool_2d                  → depthwise_conv_2d                   (`pools`)
    max_pool_2d 1x1 with a stride    → strided_slice                       (`pools`)
    relu, relu6 of their own         → a clamp that saturation makes idle  (`clamps`)

    inside, but slow or coarse       faster and finer
    x * c + d, one c, d a channel    → depthwise_conv_2d, 1x1              (`channels`)
    x * g, one g a channel computed  → weights * g, or rows of pixels      (`gated`)

Every node left outside ends a partition of the delegate and runs on scalar code: six 1x1 convolutions with
hard_swish at 56x56 run 3.5 ms with the node of their own and 0.4 ms with add and mul. XNNPACK (2026) turns a
chain of int8 ops on one operand and constants of one element into a single table look-up.

Float results change by rounding alone, within 1e-6 of the result.
"""

from __future__ import annotations

from edgec.quantize.prepare.channels import ScaleChannels
from edgec.quantize.prepare.clamps import PoolActivation
from edgec.quantize.prepare.gated import GateWeights, JoinPixels
from edgec.quantize.prepare.gates import AbsorbScaleBehindRelu6, DecomposeHardSwish
from edgec.quantize.prepare.pointwise import ComposePointwise
from edgec.quantize.prepare.pools import AveragePoolToDepthwise, SubsampleByStrides
from edgec.quantize.prepare.powers import DecomposeNeg, DecomposePow, DecomposeSquare, ReplaceDivision
from edgec.quantize.prepare.products import JoinProducts
from edgec.quantize.prepare.slopes import DecomposePRelu
from edgec.quantize.prepare.sums import MoveBiasBeforeSum, SkipReshapeBeforeSum
from edgec.rewrite import Rule

NEEDED: tuple[Rule, ...] = (DecomposeSquare(), DecomposePow(), DecomposeNeg())
"""Without these a node would have no int8 form at all."""

JOINED: tuple[Rule, ...] = (
    SkipReshapeBeforeSum(),
    MoveBiasBeforeSum(),
    JoinProducts(),
    ComposePointwise(),
)
"""For every kernel library: fewer roundings, and one weight tensor for one node."""

DELEGATED: tuple[Rule, ...] = (
    ReplaceDivision(),
    DecomposeHardSwish(),
    AbsorbScaleBehindRelu6(),
    DecomposePRelu(),
    AveragePoolToDepthwise(),
    SubsampleByStrides(),
    ScaleChannels(),
    PoolActivation(),
    GateWeights(),
    JoinPixels(),
)
"""For targets that run XNNPACK: microcontroller kernels are as fast or faster with the original nodes."""


def int8_rules(*, delegate: bool = True) -> tuple[Rule, ...]:
    """Return the rules to apply before calibrating for int8; `delegate`: the target runs XNNPACK."""
    return (*NEEDED, *JOINED, *(DELEGATED if delegate else ()))
