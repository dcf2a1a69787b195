"""Rewrites of the FLOAT graph for int16 activations: ops without an int16 kernel, from ops that have one.

    depth_to_space, space_to_depth   → reshape, transpose, reshape
    squared_difference(x, y)         → d * d,  d = x - y
    relu_n1_to_1(x)                  → min(max(x, -1), 1)
    prelu(x, a)                      → relu(x) + a * min(x, 0)
    elu(x)                           → relu(x) + (exp(min(x, 0)) - 1)
    hard_swish(x)                    → mul(x, mul(relu6(x + 3), 1/6))              (`prepare`)
    div(x, constant)                 → mul(x, 1 / constant): its kernel gives up where a divisor rounds to 0
    softmax over many classes        → exp(d) / (n * mean(exp(d))),  d = max(x - max x, -20)
    log_softmax over few classes     → d - log(n * mean(exp(d))),  d as above
    arg_max(x)                       → arg_max(x - max x == 0): of booleans there is a kernel
    less(x, y), equal(x, y), ...     → less(x - y, 0): their kernels compare integers, and 0 is 0 in any scale

l2_normalization has no form: int16 kernels of rsqrt and div end the run where a small vector's sum of
squares rounds to 0, and a table of log is coarse there. TFLM has none of exp, log and reduce_max in int16, so
what needs them is refused for it.

Run before calibration, in place of `int8_rules`. Float results change by rounding alone; elu by 1e-7, since
exp(x) - 1 is less exact near 0 than its own kernel, far below a step of int16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.ir import DYNAMIC, DType, Node, Value
from edgec.ops import Builder
from edgec.ops.infer import expect
from edgec.ops.normalization import SoftmaxAttributes
from edgec.ops.reduce import ArgMaxAttributes, ReducerAttributes
from edgec.ops.resize import DepthToSpaceAttributes, SpaceToDepthAttributes
from edgec.quantize.prepare import JOINED, NEEDED
from edgec.quantize.prepare.gates import DecomposeHardSwish
from edgec.quantize.prepare.powers import ReplaceDivision
from edgec.rewrite import NoMatch, Rule, no_match

KERNEL_CLASSES = 256
"""Up to here the int16 softmax is exact to 256 * exp(-10) = 1 %, 38 dB, which int8 weights hide. The longer
form is exacter, but has a calibrated range: an answer surer than any in calibration would be cut off."""

LOG_CLASSES = 64
"""Up to here the table of the logarithm is near enough; see `DecomposeLogSoftmax`."""

_NOT_FLOAT = no_match("quantization touches float tensors alone")


def _is_float(node: Node) -> bool:
    return node.operand(0).dtype is DType.FLOAT32


@dataclass(frozen=True)
class DecomposeDepthToSpace:
    """`[nh, w, i, j, c] → [nh, i, w, j, c]`: i and j are a pixel's place in its block."""

    name: str = "decompose_depth_to_space"
    kinds: tuple[str, ...] = ("depth_to_space",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Bring rows of a block next to the image's rows; rank 5, which every library transposes."""
        x, block = node.operand(0), expect(node.attributes, DepthToSpaceAttributes).block_size
        if not _is_float(node) or DYNAMIC in x.shape:
            return no_match("not float, or of open size")
        n, height, width, channels = x.shape
        parts = build.reshape(x, (n * height, width, block, block, channels // block**2))
        moved = build.transpose(parts, (0, 2, 1, 3, 4))
        return [build.reshape(moved, node.result.shape)]


@dataclass(frozen=True)
class DecomposeSpaceToDepth:
    """`[nh, i, w, j, c] → [nh, w, i, j, c]`: the same the other way."""

    name: str = "decompose_space_to_depth"
    kinds: tuple[str, ...] = ("space_to_depth",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Bring the rows of a block behind the image's columns."""
        x, block = node.operand(0), expect(node.attributes, SpaceToDepthAttributes).block_size
        if not _is_float(node) or DYNAMIC in x.shape:
            return no_match("not float, or of open size")
        n, height, width, channels = x.shape
        parts = build.reshape(x, (n * height // block, block, width // block, block, channels))
        moved = build.transpose(parts, (0, 2, 1, 3, 4))
        return [build.reshape(moved, node.result.shape)]


@dataclass(frozen=True)
class DecomposeSquaredDifference:
    """`squared_difference(x, y) → mul(x - y, x - y)`."""

    name: str = "decompose_squared_difference"
    kinds: tuple[str, ...] = ("squared_difference",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Subtract once, multiply by itself."""
        if not _is_float(node):
            return _NOT_FLOAT
        difference = build.op("sub", [node.operand(0), node.operand(1)])
        return [build.op("mul", [difference, difference])]


@dataclass(frozen=True)
class DecomposeReluN1To1:
    """`relu_n1_to_1(x) → minimum(maximum(x, -1), 1)`."""

    name: str = "decompose_relu_n1_to_1"
    kinds: tuple[str, ...] = ("relu_n1_to_1",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Clamp from both sides."""
        if not _is_float(node):
            return _NOT_FLOAT
        low = build.op("maximum", [node.operand(0), build.constant(-1.0)])
        return [build.op("minimum", [low, build.constant(1.0)])]


@dataclass(frozen=True)
class DecomposePRelu:
    """`prelu(x, a) → relu(x) + a * minimum(x, 0)`."""

    name: str = "decompose_prelu_into_sum"
    kinds: tuple[str, ...] = ("prelu",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Scale what is negative; for any slope, also above 1 or below 0."""
        x, slope = node.operand(0), node.operand(1)
        if not _is_float(node):
            return _NOT_FLOAT
        below = build.op("minimum", [x, build.constant(0.0)])
        return [build.op("add", [build.op("relu", [x]), build.op("mul", [below, slope])])]


@dataclass(frozen=True)
class DecomposeElu:
    """`elu(x) → relu(x) + (exp(minimum(x, 0)) - 1)`."""

    name: str = "decompose_elu"
    kinds: tuple[str, ...] = ("elu",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """The exponential sees no positive number, so that its range ends at 1."""
        x = node.operand(0)
        if not _is_float(node):
            return _NOT_FLOAT
        below = build.op("exp", [build.op("minimum", [x, build.constant(0.0)])])
        below = build.op("sub", [below, build.constant(1.0)])
        return [build.op("add", [build.op("relu", [x]), below])]


@dataclass(frozen=True)
class DecomposeWideSoftmax:
    """softmax(x) → exp(d) / mean(exp(d)) * (1 / n),  d = maximum(x - reduce_max(x), -20)

    The int16 kernel takes exp(-10) for all that is smaller. Among a thousand classes that is 1000 * 4.5e-5,
    4 % of the sum: 26 dB, and 13 dB among six thousand, where this form has 67 and 61. The table of exp spans
    what its operand does: ending at -20 keeps it fine, and six thousand times exp(-20) is still nothing.
    """

    name: str = "decompose_wide_softmax"
    kinds: tuple[str, ...] = ("softmax",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Divide by the mean, which is at least 1/n: every kernel computes it, and none divides by 0."""
        x, options = node.operand(0), expect(node.attributes, SoftmaxAttributes)
        classes = x.shape[-1]
        if not _is_float(node) or classes <= KERNEL_CLASSES:
            return no_match(f"{classes} classes are few enough for the kernel")
        axis, keep = build.constant([x.type.rank - 1]), ReducerAttributes(keep_dims=True)
        if options.beta != 1.0:
            x = build.op("mul", [x, build.constant(options.beta)])
        below = build.op("sub", [x, build.op("reduce_max", [x, axis], keep)])
        powers = build.op("exp", [build.op("maximum", [below, build.constant(-20.0)])])
        ratios = build.op("div", [powers, build.op("mean", [powers, axis], keep)])
        return [build.op("mul", [ratios, build.constant(1.0 / classes)])]


@dataclass(frozen=True)
class DecomposeLogSoftmax:
    """log_softmax(x) → d - log(n * mean(exp(d))),  d = x - reduce_max(x), in the mean at least -20

    The sum lies between 1 and n. The kernel of log draws lines between 512 entries for -n..n: near 1 they are
    (n / 256)² / 8 off, 0.008 for 64 classes; for a thousand it would be 2.
    """

    name: str = "decompose_log_softmax"
    kinds: tuple[str, ...] = ("log_softmax",)

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Compute the logarithm of the sum once a row."""
        x = node.operand(0)
        classes = x.shape[-1]
        if not _is_float(node) or not 0 < classes <= LOG_CLASSES:
            return no_match(f"{classes} classes are too many for a table of the logarithm")
        axis, keep = build.constant([x.type.rank - 1]), ReducerAttributes(keep_dims=True)
        below = build.op("sub", [x, build.op("reduce_max", [x, axis], keep)])
        powers = build.op("exp", [build.op("maximum", [below, build.constant(-20.0)])])
        total = build.op("mul", [build.op("mean", [powers, axis], keep), build.constant(float(classes))])
        return [build.op("sub", [below, build.op("log", [total])])]


@dataclass(frozen=True)
class ArgOfEqual:
    """arg_max(x) → arg_max(equal(x - reduce_max(x), 0)), and arg_min(x) with reduce_min

    The first of equal flags is the first of equal elements. In int16 the difference of the two largest may
    round to 0 where they are one step apart; then the first of them is taken.
    """

    name: str = "arg_of_equal"
    kinds: tuple[str, ...] = ("arg_max", "arg_min")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Ask for the first element that is no less than the largest."""
        x, axis = node.operand(0), node.operand(1)
        if not _is_float(node) or axis.data is None:
            return no_match("not float, or along an axis that is computed at run time")
        extreme = "reduce_max" if node.kind == "arg_max" else "reduce_min"
        along = build.constant([int(axis.data.reshape(-1)[0])])
        most = build.op(extreme, [x, along], ReducerAttributes(keep_dims=True))
        flags = build.op("equal", [build.op("sub", [x, most]), build.constant(0.0)])
        return [build.op("arg_max", [flags, axis], ArgMaxAttributes(node.result.dtype))]


@dataclass(frozen=True)
class CompareWithZero:
    """`less(x, y) → less(x - y, 0)`, and so for all six comparisons."""

    name: str = "compare_with_zero"
    kinds: tuple[str, ...] = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")

    def apply(self, node: Node, build: Builder) -> Sequence[Value] | NoMatch:
        """Subtract; for finite floats the difference is 0 only where both are equal."""
        x, y = node.operand(0), node.operand(1)
        if not _is_float(node):
            return _NOT_FLOAT
        if y.data is not None and not y.data.any():
            return no_match("compares with zero already")
        return [build.op(node.kind, [build.op("sub", [x, y]), build.constant(0.0)])]


FORMS: tuple[Rule, ...] = (
    DecomposeDepthToSpace(),
    DecomposeSpaceToDepth(),
    DecomposeSquaredDifference(),
    DecomposeReluN1To1(),
    DecomposePRelu(),
    DecomposeHardSwish(),
    ReplaceDivision(),
    CompareWithZero(),
)


WITH_EXP: tuple[Rule, ...] = (DecomposeElu(), DecomposeWideSoftmax(), DecomposeLogSoftmax(), ArgOfEqual())
"""For LiteRT; TFLM has no int16 exp, log and reduce_max."""


def int16_rules(*, exp: bool = True) -> tuple[Rule, ...]:
    """Return the rules to apply before calibrating for int16; `exp`: the target has an int16 one."""
    return (*NEEDED, *JOINED, *FORMS, *(WITH_EXP if exp else ()))
