"""Quantization: the float IR becomes integer, float16 or dynamic-range IR, and integer IR is verified.

float IR ──int8_rules───▶ int8_problems ────▶ calibrate ──▶ quantize_integer ──▶ check_quantized
           int16_rules    int16x8_problems                  (IntegerScheme)
float IR ──────────────────────────────▶ quantize_float16, quantize_dynamic, quantize_weight_only
"""

from edgec.quantize.check import check_quantized
from edgec.quantize.dynamic import DynamicWeights, quantize_dynamic
from edgec.quantize.float16 import quantize_float16
from edgec.quantize.int16_forms import int16_rules
from edgec.quantize.integer import int8_problems, int16x8_problems, quantize_int8, quantize_int16x8
from edgec.quantize.prepare import int8_rules
from edgec.quantize.quantizer import quantize_integer
from edgec.quantize.roles import observed_values
from edgec.quantize.scheme import IntegerScheme
from edgec.quantize.weight_only import quantize_weight_only
from edgec.quantize.weights import ChosenWeights

__all__ = [
    "ChosenWeights",
    "DynamicWeights",
    "IntegerScheme",
    "check_quantized",
    "int8_problems",
    "int8_rules",
    "int16_rules",
    "int16x8_problems",
    "observed_values",
    "quantize_dynamic",
    "quantize_float16",
    "quantize_int8",
    "quantize_int16x8",
    "quantize_integer",
    "quantize_weight_only",
]
