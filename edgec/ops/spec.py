"""What the registry knows about one op kind: everything that any stage may ask, in one entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from edgec.ir import NO_ATTRIBUTES, Array, Attributes, DType, Node, TensorType, Value

Permutation = tuple[int, ...]
Operands = Sequence[Value | None]
Infer = Callable[[Operands, Attributes], tuple[TensorType, ...]]
Fold = Callable[[Node], tuple[Array, ...] | None]


class Padding(StrEnum):
    """The schema's `Padding`."""

    SAME = "SAME"
    VALID = "VALID"


class ActivationFunctionType(StrEnum):
    """The schema's fused activations that kernels implement."""

    NONE = "NONE"
    RELU = "RELU"
    RELU_N1_TO_1 = "RELU_N1_TO_1"
    RELU6 = "RELU6"


class MirrorPadMode(StrEnum):
    """The schema's `MirrorPadMode`."""

    REFLECT = "REFLECT"
    SYMMETRIC = "SYMMETRIC"


class InferenceError(ValueError):
    """Operands or attributes an op cannot take; the message completes "conv_2d: ..."."""


@dataclass(frozen=True, slots=True)
class Rewired:
    """A node under a permutation of its data: new attributes, new constant operands, result permutations.

    `delivered` says for each data operand index which permutation it must arrive in.
    """

    delivered: Mapping[int, Permutation]
    results: tuple[Permutation, ...]
    attributes: Attributes
    constants: Mapping[int, Array] = field(default_factory=dict[int, Array])


@dataclass(frozen=True, slots=True)
class Layout:
    """How a node behaves when its data arrives as `stored = transpose(canonical, permutation)`.

    `rewire(node, operand index, permutation)` returns the node that computes the same from permuted data
    (its results are permuted too), or None where only the identity will do.
    """

    name: str
    rewire: Callable[[Node, Permutation], Rewired | None]


class Constraint(Enum):
    """What the int8 specification demands of a node's activation parameters."""

    FREE = "free"
    SAME_SCALE = "same_scale"
    FIXED_OUTPUT_SCALE = "fixed_output_scale"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Weights:
    """Which operand holds weights, the axis of its per-axis scales, and where the bias is.

    `per_axis=False` says that the int8 kernels take one scale only, and that the operand may be computed at
    run time; `hybrid=False` that int8 weights with float activations have no kernel in XNNPACK. `int4` are
    the activation types beside which LiteRT's kernels compute right with int4 weights (measured, 2.3.0).

    `axes` names the axes: o of the results' channels, i of the data's (of one group's), y and x of a kernel's
    taps. Where `o` alone has channels, each output channel reads one input channel, in order. `scatters` says
    that an element of the data adds a kernel to the result, instead of a kernel gathering each result.
    """

    operand: int
    quantized_dimension: int
    bias: int | None = None
    data: int = 0
    per_axis: bool = True
    hybrid: bool = True
    int4: frozenset[DType] = frozenset()
    axes: str = ""
    scatters: bool = False


@dataclass(frozen=True, slots=True)
class ScaleRatio:
    """XNNPACK takes a node only where `low <= scale of an input / scale of the output < high`.

    `product=True` speaks of the product of the inputs' scales instead. Outside, slower kernels run it.
    """

    low: float
    high: float
    product: bool = False


@dataclass(frozen=True, slots=True)
class Quant:
    """The quantization facts of an op kind (TFLite int8 specification; int16 where it differs).

    `lookup` marks functions of single elements: without a kernel that always works, a table computes them.
    `refuses_zero` is an operand whose int8 kernel ends the run where one of its elements stands for 0.
    `blends` marks same-scale ops that mix values (averages, interpolation). All others pick among their
    operands' values, so an operand may saturate where the result never looks. `int16_reason` says why an
    int16 kernel that runs is of no use, `int16_only` that there is one though there is none for int8.
    """

    constraint: Constraint = Constraint.FREE
    fixed_int8: tuple[float, int] | None = None
    fixed_int16: tuple[float, int] | None = None
    weights: Weights | None = None
    reason: str = ""
    blends: bool = False
    ratio: ScaleRatio | None = None
    refuses_zero: int | None = None
    lookup: bool = False
    int16_reason: str = ""
    int16_only: bool = False

    @property
    def supported(self) -> bool:
        """Whether an int8 kernel exists."""
        return self.constraint is not Constraint.UNSUPPORTED

    def supports(self, dtype: DType) -> bool:
        """Whether a kernel exists for activations of an element type, as far as the op decides."""
        return (self.supported or self.int16_only) if dtype is DType.INT16 else self.supported

    def fixed(self, dtype: DType) -> tuple[float, int] | None:
        """Return the (scale, zero_point) that kernels of an element type prescribe for the result."""
        return {DType.INT8: self.fixed_int8, DType.INT16: self.fixed_int16}.get(dtype)


FREE = Quant()
SAME_SCALE = Quant(Constraint.SAME_SCALE)
BLENDING = Quant(Constraint.SAME_SCALE, blends=True)


def fixed_output_scale(int8: tuple[float, int], int16: tuple[float, int] | None = None) -> Quant:
    """Return facts of an op whose output parameters the kernel prescribes: (scale, zero_point)."""
    return Quant(Constraint.FIXED_OUTPUT_SCALE, fixed_int8=int8, fixed_int16=int16)


def unsupported(reason: str) -> Quant:
    """Return facts of an op without an int8 kernel, with the reason to show."""
    return Quant(Constraint.UNSUPPORTED, reason=reason)


_SHORT = {
    "f32": DType.FLOAT32,
    "f16": DType.FLOAT16,
    "f64": DType.FLOAT64,
    "i4": DType.INT4,
    "i8": DType.INT8,
    "u8": DType.UINT8,
    "i16": DType.INT16,
    "u16": DType.UINT16,
    "i32": DType.INT32,
    "u32": DType.UINT32,
    "i64": DType.INT64,
    "u64": DType.UINT64,
    "bool": DType.BOOL,
    "resource": DType.RESOURCE,
}


@dataclass(frozen=True, slots=True)
class Support:
    """What each kernel library runs of an op, by the element type of its data operand.

    Measured by running one-op models: ai-edge-litert 2.3.0 (builtin kernels, XNNPACK delegate) and
    tflite-micro 2026-10 (reference kernels), ranks up to 8. 8- and 16-bit types mean quantized tensors.

    `max_version` is the newest op version that LiteRT registers. `litert_rank` and `tflm_rank` are the
    highest ranks that run. XNNPACK stops at rank 6: `claims_any_rank` marks the ops it takes beyond that all
    the same, and then fails the whole model. `xnnpack_when` completes "XNNPACK takes it only with ...".
    """

    litert: frozenset[DType] = frozenset()
    xnnpack: frozenset[DType] = frozenset()
    tflm: frozenset[DType] = frozenset()
    max_version: int = 1
    litert_rank: int = 8
    tflm_rank: int = 8
    claims_any_rank: bool = False
    xnnpack_when: str = ""


def support(
    litert: str,
    *,
    xnnpack: str = "",
    tflm: str = "",
    max_version: int = 1,
    litert_rank: int = 8,
    tflm_rank: int = 8,
    claims_any_rank: bool = False,
    xnnpack_when: str = "",
) -> Support:
    """Return the facts from short names of types: `support("f32 i8 i16", xnnpack="f32 i8")`."""
    return Support(
        _types(litert),
        _types(xnnpack),
        _types(tflm),
        max_version,
        litert_rank,
        tflm_rank,
        claims_any_rank,
        xnnpack_when,
    )


def _types(words: str) -> frozenset[DType]:
    return frozenset(_SHORT[word] for word in words.split())


class NonNegative(Enum):
    """What is known of the sign of an op's results: nothing, never negative, or as all data operands."""

    UNKNOWN = "unknown"
    ALWAYS = "always"
    OF_OPERANDS = "of_operands"


class Homogeneity(Enum):
    """Which operands' positive factors an op passes on to its results, channel by channel (the last axis).

    `FIRST`: f(s x, y) = s f(x, y). `EACH`: of either operand alone, while the other one stays. `TOGETHER`:
    only one and the same of both, f(s x, s y) = s f(x, y).
    """

    NONE = "none"
    FIRST = "first"
    EACH = "each"
    TOGETHER = "together"


class Gathering(Enum):
    """How elements of the first operand make one of the result: unknown, by one (or near it), by a mean."""

    UNKNOWN = "unknown"
    ONE = "one"
    MEAN = "mean"


class InPlace(Enum):
    """Whether LiteRT's builtin kernel may write its result over an operand.

    `ALIASES`: the bytes stay as they are, so result and operand are one buffer even if others read it too.
    `ONLY_READER`: only where nobody else reads the operand. Neither touches the graph's inputs and outputs.
    Measured by the tensors' addresses (ai-edge-litert 2.3.0).
    """

    NEVER = "never"
    ONLY_READER = "only_reader"
    ALIASES = "aliases"


@dataclass(frozen=True, slots=True)
class Emit:
    """How the node is written: builtin operator, options table, lowest version that expresses it.

    Option fields are the attribute fields in the schema's spelling, so no table maps them. `states` are the
    operand positions of variable tensors, which the emitter makes from the attributes' `states`.
    """

    builtin: str
    options: str | None = None
    version: Callable[[Node], int] = lambda node: 1
    states: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One way to call the op, used by generated tests: operand shapes or arrays and attributes."""

    name: str
    operands: tuple[object, ...]
    attributes: Attributes = NO_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One op kind. `operands` names them in order: `x`, optional `bias?`, variadic `inputs*`.

    `macs(node)` counts multiply-accumulates of one inference. `fold` computes movement ops on constants
    in NumPy; all other folding runs the kernel itself. `carries` says that the result holds the operand's
    numbers in their order, be it in another shape or element type.
    """

    name: str
    operands: tuple[str, ...]
    infer: Infer
    emit: Emit
    layout: Layout
    attributes: type[Attributes] = Attributes
    quant: Quant = FREE
    fold: Fold | None = None
    macs: Callable[[Node], int] = lambda node: 0
    cases: tuple[Case, ...] = ()
    support: Support = Support()
    non_negative: NonNegative = NonNegative.UNKNOWN
    in_place: InPlace = InPlace.NEVER
    homogeneous: Homogeneity = Homogeneity.NONE
    gathers: Gathering = Gathering.UNKNOWN
    carries: bool = False

    @property
    def data_operand(self) -> int:
        """Index of the operand whose element type decides which kernel runs."""
        return self.operands.index("x") if "x" in self.operands else 0

    @property
    def variadic(self) -> bool:
        """Whether the op takes any number of operands."""
        return any(name.endswith("*") for name in self.operands)

    @property
    def required_operands(self) -> int:
        """How many operands must be present."""
        return sum(not name.endswith("?") for name in self.operands)
