"""Float graph and ranges → integer graph, by a scheme or by its fields as keywords.

quantize_int8(model, ranges, float_nodes=["head"])
quantize_integer(model, ranges, IntegerScheme(float_nodes=["head"]))        the same

int8       TFLite's full int8: XNNPACK, microcontrollers, NPUs
int16x8    int16 activations, zero point 0, with int8 weights, whose rounding is what limits accuracy then.
           Every kernel is a builtin one: expect 20 times the time of int8 on a CPU. Microcontroller
           libraries have kernels for most operators of audio models, which is what this form is for.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgec.diagnostics import Diagnostic
from edgec.ir import DType, Model
from edgec.quantize.feasible import quantization_problems
from edgec.quantize.quantizer import quantize_integer
from edgec.quantize.scheme import IntegerScheme


def quantize_int8(model: Model, ranges: Mapping[str, tuple[float, float]], **choices: object) -> Model:
    """Return an int8 model; `choices` are fields of `IntegerScheme`, all else as `quantize_integer`."""
    return quantize_integer(model, ranges, _scheme(DType.INT8, choices))


def quantize_int16x8(model: Model, ranges: Mapping[str, tuple[float, float]], **choices: object) -> Model:
    """Return a model with int16 activations and int8 weights; arguments as `quantize_int8`."""
    return quantize_integer(model, ranges, _scheme(DType.INT16, choices))


def int8_problems(model: Model, **choices: object) -> list[Diagnostic]:
    """Return all that keeps a float model from becoming int8, as `quantize_int8` would raise it.

    Needs no ranges, so it can be asked before a long calibration.
    """
    return _problems(model, _scheme(DType.INT8, choices))


def int16x8_problems(model: Model, **choices: object) -> list[Diagnostic]:
    """Return all that keeps a float model from this form, as `quantize_int16x8` would raise it."""
    return _problems(model, _scheme(DType.INT16, choices))


def _scheme(activations: DType, choices: Mapping[str, object]) -> IntegerScheme:
    return IntegerScheme(activations, **choices)  # pyright: ignore[reportArgumentType]


def _problems(model: Model, scheme: IntegerScheme) -> list[Diagnostic]:
    return quantization_problems(model, scheme.choices, allow_float_islands=scheme.allow_float_islands)
