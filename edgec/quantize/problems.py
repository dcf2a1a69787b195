"""The codes of quantization messages."""

from __future__ import annotations

from edgec.diagnostics import Diagnostic

NO_INT8_KERNEL = "E0421"  # a node that the int8 specification does not cover
CONSTANT = "E0422"  # a constant with NaN, or with infinity where a range is needed
NO_RANGE = "E0423"  # calibration gave no usable range for a tensor
SUBGRAPHS = "E0424"  # control flow
UNKNOWN_NODE = "E0425"  # a recipe names a node that the graph does not have
SCHEME = "E0426"  # a combination of activations and weights without kernels
UNEQUAL_SCALES = "E0431"  # E043x: the quantized IR breaks a rule of the int8 specification
FIXED_SCALE = "E0432"
WEIGHTS = "E0433"
BIAS = "E0434"
MULTIPLIER = "E0435"
PARAMETERS = "E0436"
FLOAT_INSIDE = "E0437"
SLOW_RATIO = "W0441"  # runs, but outside XNNPACK
FLOAT_ISLAND = "W0442"  # a node of a quantized source model that has no int8 form
NO_INT4 = "W0445"  # int4 weights were asked for, and there are none
SLOW_SCHEME = "W0443"  # a combination that the delegate does not run
UNLIKE_HEAD = "W0444"  # an output whose parts cannot share a scale is joined in float


def fault(code: str, where: str, what: str, why: str = "") -> Diagnostic:
    """Return an error about quantized IR that edgec itself made wrong."""
    return Diagnostic(code, where, what, why, "This is a fault of edgec: please report it with the model.")
