"""Quantization: the float IR becomes integer, float16 or dynamic-range IR, and integer IR is verified.

float IR ──int8_rules───▶ int8_problems ────▶ calibrate ──▶ quantize_int8 ────▶ check_quantized
           int16_rules    int16x8_problems                  quantize_int16x8
float IR ──────────────────────────────▶ quantize_float16, quantize_dynamic, quantize_weight_only
"""

from edgec.quantize.check import check_quantized
from edgec.quantize.dynamic import DynamicWeights, quantize_dynamic
from edgec.quantize.float16 import quantize_float16
from edgec.quantize.int8 import int8_problems, quantize_int8
from edgec.quantize.int16_forms import int16_rules
from edgec.quantize.int16x8 import int16x8_problems, quantize_int16x8
from edgec.quantize.prepare import int8_rules
from edgec.quantize.roles import observed_values
from edgec.quantize.weight_only import quantize_weight_only
from edgec.quantize.weights import ChosenWeights

__all__ = [
    "ChosenWeights",
    "DynamicWeights",
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
    "quantize_weight_only",
]
