"""Quantization: the float IR becomes int8, float16 or dynamic-range IR, and int8 IR is verified.

float IR ──int8_rules──▶ int8_problems ──▶ calibrate ──▶ quantize_int8 ──▶ check_quantized
"""

from edgec.quantize.check import check_quantized
from edgec.quantize.dynamic import quantize_dynamic
from edgec.quantize.float16 import quantize_float16
from edgec.quantize.int8 import int8_problems, quantize_int8
from edgec.quantize.prepare import int8_rules
from edgec.quantize.roles import observed_values
from edgec.quantize.weights import ChosenWeights

__all__ = [
    "ChosenWeights",
    "check_quantized",
    "int8_problems",
    "int8_rules",
    "observed_values",
    "quantize_dynamic",
    "quantize_float16",
    "quantize_int8",
]
