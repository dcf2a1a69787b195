"""Whether a model is quantized already: then its numbers are someone's decision and stay as they are."""

from __future__ import annotations

from edgec.ir import Model


def is_quantized(model: Model) -> bool:
    """Whether any tensor of the model is an integer with scale and zero point.

    Such a model is legalized and emitted, never optimized as float or quantized again.
    """
    for graph in model.graphs:
        for node in graph:
            for value in (*node.operands, *node.results):
                if value is not None and value.type.quantization is not None:
                    return True
    return False
