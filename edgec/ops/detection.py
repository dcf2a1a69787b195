"""non_max_suppression_v4: greedy choice of the boxes with the best scores that do not overlap much."""

from __future__ import annotations

import numpy as np

from edgec.ir import DYNAMIC, Attributes, DType, TensorType
from edgec.ops.infer import int_list, required
from edgec.ops.layout import FIXED
from edgec.ops.spec import Case, Emit, InferenceError, Operands, OpSpec, support, unsupported


def _infer_suppression(operands: Operands, attributes: Attributes) -> tuple[TensorType, ...]:
    """Results: box numbers by falling score, filled up with zeros; how many of them are meant."""
    boxes, scores, limit = (required(operands, index) for index in range(3))
    if boxes.type.rank != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise InferenceError(f"boxes {boxes.shape} with scores {scores.shape} are not [n, 4] with [n]")
    size = DYNAMIC if limit.data is None else int_list(limit.data)[0]
    return (TensorType((size,), DType.INT32), TensorType((), DType.INT32))


_BOXES = np.array([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 2, 1, 3]], np.float32)

OPS = (
    OpSpec(
        name="non_max_suppression_v4",
        operands=("x", "scores", "max_output_size", "iou_threshold", "score_threshold"),
        infer=_infer_suppression,
        layout=FIXED,
        quant=unsupported("the kernel has no int8 form"),
        emit=Emit("NON_MAX_SUPPRESSION_V4", "NonMaxSuppressionV4Options"),
        support=support("f32"),
        cases=(
            Case(
                "overlapping",
                (
                    _BOXES,
                    np.array([0.5, 0.9, 0.4], np.float32),
                    np.array(3, np.int32),
                    np.array(0.5, np.float32),
                    np.array(0.1, np.float32),
                ),
            ),
        ),
    ),
)
