"""Axis numbers as ONNX writes them: negative ones count from the end, lists are attributes or operands."""

from __future__ import annotations

from edgec.frontends.onnx.context import LoweringContext, LoweringError


def checked_axis(axis: int, rank: int) -> int:
    """Return a non-negative axis; LoweringError where a tensor of `rank` axes does not have it."""
    if not -rank <= axis < rank:
        raise LoweringError(
            f"axis {axis} is out of range",
            f"Its tensor has {rank} axes.",
            "Correct the axis in the source model.",
        )
    return axis % rank


def int_setting(ctx: LoweringContext, name: str, index: int) -> list[int] | None:
    """Return a list that old opsets keep in attribute `name` and newer ones in operand `index`.

    None where neither is given; LoweringError where the operand is computed at run time.
    """
    if ctx.optional_input(index) is not None:
        return ctx.constant_ints(index)
    return ctx.ints(name)


def axes_setting(ctx: LoweringContext, index: int, rank: int) -> list[int] | None:
    """Return the distinct axes named by attribute `axes` or operand `index`, in the order given, or None."""
    axes = int_setting(ctx, "axes", index)
    return None if axes is None else list(dict.fromkeys(checked_axis(axis, rank) for axis in axes))
