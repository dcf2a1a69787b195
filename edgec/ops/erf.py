"""The error function, for which there is no kernel, and how to recognize it again.

    erf(x) ≈ c · P(c²) / Q(c²),   c = min(max(x, -3.92), 3.92)

P and Q of degree 5 were fitted to erf on [0, 3.92] for the least relative error, 2e-8; float32 arithmetic
makes it 4e-7 (erf rounds to ±1 beyond). Odd by construction, no digits are lost near 0, and every op in it
has a delegated kernel. Fusing erf into gelu asks `erf_argument` which value a quotient is the erf of.
"""

from __future__ import annotations

import numpy as np

from edgec.ir import Value
from edgec.ops.builder import Builder

_LIMIT = 3.92
_NUMERATOR = (1.12837915, 0.19038697, 0.0527462048, 0.00376480875, 0.00028486909, 2.05028636e-06)
_DENOMINATOR = (1.0, 0.502058803, 0.11410111, 0.0149675799, 0.00116234902, 3.80930914e-05)


def build_erf(build: Builder, x: Value) -> Value:
    """Return erf(x), elementwise in float32, within 4e-7."""
    above = build.op("maximum", [x, build.constant(-_LIMIT)])
    clamped = build.op("minimum", [above, build.constant(_LIMIT)])
    square = build.op("mul", [clamped, clamped])
    numerator = build.op("mul", [clamped, _polynomial(build, square, _NUMERATOR)])
    return build.op("div", [numerator, _polynomial(build, square, _DENOMINATOR)])


def _polynomial(build: Builder, x: Value, coefficients: tuple[float, ...]) -> Value:
    """Horner's scheme; coefficients by rising power."""
    result = build.op("mul", [x, build.constant(coefficients[-1])])
    for coefficient in coefficients[-2:0:-1]:
        result = build.op("mul", [build.op("add", [result, build.constant(coefficient)]), x])
    return build.op("add", [result, build.constant(coefficients[0])])


def erf_argument(value: Value) -> Value | None:
    """Return x where `value` is what `build_erf` made of x, else None."""
    quotient = value.producer
    if quotient is None or quotient.kind != "div":
        return None
    product = quotient.operand(0).producer
    if product is None or product.kind != "mul":
        return None
    clamped = product.operand(0)
    if _coefficients(product.operand(1)) != _as_float32(_NUMERATOR):
        return None
    if _coefficients(quotient.operand(1)) != _as_float32(_DENOMINATOR):
        return None
    below = clamped.producer
    above = below.operand(0).producer if below is not None and below.kind == "minimum" else None
    return above.operand(0) if above is not None and above.kind == "maximum" else None


def _coefficients(value: Value) -> tuple[float, ...]:
    """Return the constants of a chain of adds and muls, the outermost first."""
    found: list[float] = []
    node = value.producer
    while node is not None and node.kind in ("add", "mul"):
        constants = [v.data for v in node.operands if v is not None and v.data is not None]
        found += [float(data.reshape(-1)[0]) for data in constants if data.size == 1]
        node = node.operand(0).producer if len(found) < len(_NUMERATOR) else None
    return tuple(found)


def _as_float32(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(np.float32(coefficient)) for coefficient in coefficients)
