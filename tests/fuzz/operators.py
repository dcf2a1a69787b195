"""The generators of nodes: each draws attributes and operands, and adds its node to a growing graph.

A generator may add nothing (no fitting operand, or onnxruntime refuses the draw).
"""

from __future__ import annotations

from tests.fuzz import elementwise, movement, windows
from tests.fuzz.drawing import Generator

GENERATORS: tuple[tuple[int, int, Generator], ...] = (
    *(
        (7, 1, f)
        for f in (
            elementwise.unary,
            elementwise.parametric,
            elementwise.prelu,
            elementwise.clip,
            elementwise.positive,
            elementwise.variadic,
            elementwise.cast,
            windows.dropout,
            movement.flatten,
        )
    ),
    (7, 3, elementwise.binary),
    (11, 1, elementwise.stepping),
    (9, 2, elementwise.compare_and_select),
    (14, 1, elementwise.modern_activation),
    *(
        (7, 2, f)
        for f in (
            movement.transpose,
            movement.reshape,
            movement.concat,
            movement.split,
            movement.slice_,
            movement.pad,
            movement.gather,
        )
    ),
    *((7, 1, f) for f in (movement.computed_reshape, movement.squeeze_unsqueeze, movement.space_depth)),
    (8, 2, movement.expand_tile),
    *(
        (7, 3, f)
        for f in (windows.conv, windows.conv_transpose, windows.pool, movement.resize, windows.reduce)
    ),
    *((7, 2, f) for f in (windows.matmul, windows.gemm, windows.softmax)),
    *(
        (7, 1, f)
        for f in (
            windows.global_pool,
            windows.arg_reduce,
            windows.top_k,
            windows.batch_norm,
            windows.instance_norm,
            windows.other_norm,
        )
    ),
    (17, 1, windows.layer_norm),
    (18, 1, windows.group_norm),
)
"""Generators with the lowest opset that has their operators, and how often they are drawn."""
