"""NonMaxSuppression: one kernel call for each class of each image, the rows put together at the end.

    box numbers [k] + class number · boxes  ── the first `count` ──▶ codes, joined ──▶ [image, class, box]

Codes number every box of every class through, so that the joined list is taken apart only once. How many
rows there are is known at run time only.
"""

from __future__ import annotations

import numpy as np

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.integers import number
from edgec.frontends.onnx.lowerings.movement import box, concatenated, sliced
from edgec.frontends.onnx.registry import lowers
from edgec.ir import DType, Value
from edgec.ops.bits import BitcastAttributes
from edgec.ops.movement import ReshapeAttributes
from edgec.ops.reduce import ReducerAttributes

_FAR = np.float32(2.0**40)
"""Farther than any coordinate; areas and sums of areas stay well inside float32."""


@lowers("NonMaxSuppression")
def non_max_suppression(ctx: LoweringContext) -> Value:
    """The boxes of each image and class by falling score, without those that overlap a better one."""
    boxes, scores = ctx.input(0), ctx.input(1)
    if (
        boxes.type.rank != 3
        or scores.type.rank != 3
        or boxes.shape[2] != 4
        or ((boxes.shape[0], boxes.shape[1]) != (scores.shape[0], scores.shape[2]))
    ):
        raise LoweringError(
            f"has boxes {list(boxes.shape)} and scores {list(scores.shape)}",
            "Boxes are [images, boxes, 4], scores [images, classes, boxes].",
            "Correct the operands.",
        )
    if ctx.optional_input(2) is None or not _most(ctx, boxes.shape[1]):
        return ctx.build.constant(np.zeros((0, 3), np.int64))
    corners = _apart(ctx, _corners(ctx, boxes))
    images, classes, _ = scores.shape
    codes = [_chosen(ctx, corners, scores, image, kind) for image in range(images) for kind in range(classes)]
    return _rows(ctx, concatenated(ctx.build, codes, 0), classes, boxes.shape[1])


def _most(ctx: LoweringContext, boxes: int) -> int:
    """Return a bound of the boxes of one class: all of them where the limit is computed."""
    limit = ctx.input(2).data
    return boxes if limit is None else max(0, min(boxes, int(limit.reshape(-1)[0])))


def _corners(ctx: LoweringContext, boxes: Value) -> Value:
    """Return two opposite corners of each box; which axis is which does not matter to overlaps."""
    if not ctx.int("center_point_box"):
        return boxes
    centre, size = (sliced(ctx.build, boxes, 2, start, 2) for start in (0, 2))
    half = ctx.build.op("mul", [size, number(ctx, 0.5, size)])
    ends = [ctx.build.op(kind, [centre, half]) for kind in ("sub", "add")]
    return concatenated(ctx.build, ends, 2)


def _apart(ctx: LoweringContext, boxes: Value) -> Value:
    """Return boxes of which those that drop no other are far away from all.

    Boxes without area overlap nothing, and a threshold of 1 is exceeded by nothing. The kernel removes a
    chosen box from the candidates by its overlap with itself, so it would choose such a box again and again.
    """
    build, overlap = ctx.build, ctx.optional_input(3)
    corners = [sliced(build, boxes, 2, start, 2) for start in (0, 2)]
    area = build.op("reduce_prod", [build.op("sub", corners), build.constant([2])], ReducerAttributes(True))
    idle = build.op("equal", [area, number(ctx, 0.0, area)])
    if overlap is not None:
        useless = build.op("greater_equal", [build.reshape(overlap, ()), number(ctx, 1.0, overlap)])
        idle = build.op("logical_or", [idle, useless])
    steps = np.arange(boxes.shape[1], dtype=np.float32)[:, None] * np.array([2, 0, 2, 0], np.float32)
    distant = (steps + np.array([2, 0, 3, 1], np.float32)) * _FAR
    return build.op("select_v2", [idle, build.constant(distant[None]), boxes])


def _chosen(ctx: LoweringContext, boxes: Value, scores: Value, image: int, kind: int) -> Value:
    """Return the codes [?] of the boxes chosen for one class of one image."""
    build, (_, classes, count) = ctx.build, scores.shape
    own_boxes = build.reshape(box(build, boxes, [image, 0, 0], [1, count, 4]), [count, 4])
    own_scores = build.reshape(box(build, scores, [image, kind, 0], [1, 1, count]), [count])
    operands = [own_boxes, own_scores, build.constant(_most(ctx, count)), *_thresholds(ctx)]
    codes, found = build.node("non_max_suppression_v4", operands).results
    limit = ctx.input(2)
    if limit.data is None:
        limit = build.op("maximum", [build.reshape(ctx.cast(limit, DType.INT32), ()), build.constant(0)])
        found = build.op("minimum", [found, limit])
    offset = (image * classes + kind) * count
    if offset:
        codes = build.op("add", [codes, build.constant(offset)])
    return build.op("slice", [codes, build.constant([0]), build.reshape(found, [1])])


def _thresholds(ctx: LoweringContext) -> list[Value]:
    """Return the kernel's thresholds. It drops boxes that reach its overlap, ONNX those that exceed it."""
    overlap, score = ctx.optional_input(3), ctx.optional_input(4)
    overlap = ctx.build.constant(0.0) if overlap is None else ctx.build.reshape(overlap, ())
    score = ctx.build.constant(-np.inf) if score is None else ctx.build.reshape(score, ())
    return [_next_number(ctx, overlap), score]


def _next_number(ctx: LoweringContext, x: Value) -> Value:
    """Return the next larger float32 of a number in [0, 1), its next pattern of bits; 1 stays 1."""
    if x.data is not None:
        return ctx.build.constant(np.minimum(np.nextafter(x.data, np.float32(np.inf)), np.float32(1)))
    bits = ctx.build.op("bitcast", [x], BitcastAttributes(DType.INT32))
    bits = ctx.build.op("add", [bits, ctx.build.constant(1)])
    following = ctx.build.op("bitcast", [bits], BitcastAttributes(DType.FLOAT32))
    return ctx.build.op("minimum", [following, number(ctx, 1.0, x)])


def _rows(ctx: LoweringContext, codes: Value, classes: int, boxes: int) -> Value:
    """Return int64 [?, 3] from codes [?]: image, class and box of each."""
    build = ctx.build
    codes = build.op("reshape", [codes, build.constant([-1, 1])], ReshapeAttributes((-1, 1)))
    group = build.op("div", [codes, build.constant(boxes)])
    image = build.op("div", [group, build.constant(classes)])
    kind = build.op("floor_mod", [group, build.constant(classes)])
    place = build.op("floor_mod", [codes, build.constant(boxes)])
    return ctx.cast(concatenated(build, [image, kind, place], 1), DType.INT64)
