"""Repairs of weights and ranges: what makes an int8 model better without training it.

Each takes a float model in the state that will be quantized (after the int8 passes, before `quantize_int8`)
and returns a `RepairOutcome`, so that any of them can be left out:

    statistics ── absorb_high_biases ── equalize ── [rounding] ── correct_bias_analytically or correct_bias
                  constant parts        channel      integers      what the integers shift, taken back
                                        factors      of weights
"""

from edgec.repair.absorb import absorb_high_biases
from edgec.repair.bias import Quantize, correct_bias, correct_bias_analytically
from edgec.repair.channels import ChannelStatistics, Statistics, collect_channel_statistics
from edgec.repair.equalize import equalize
from edgec.repair.outcome import Gain, RepairOutcome

__all__ = [
    "ChannelStatistics",
    "Gain",
    "Quantize",
    "RepairOutcome",
    "Statistics",
    "absorb_high_biases",
    "collect_channel_statistics",
    "correct_bias",
    "correct_bias_analytically",
    "equalize",
]
