"""Settles symbolic dimensions: the batch becomes 1, everything else the user must say.

`--input-shape` pins them; a name or `?` in `--dynamic-shape` leaves one to the run time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgec.diagnostics import CompileError, Diagnostic
from edgec.ir import DYNAMIC, Shape

if TYPE_CHECKING:
    import onnx

_ZERO_IS_A_SIZE_SINCE = 7
"""IR version of 2020: exporters since then name unknown dimensions, so 0 means an empty tensor."""

InputShapes = Mapping[str, Sequence[int | str]]
"""By input name: a number for each pinned dimension, a name or `?` for each that stays dynamic."""


def pin_shapes(
    inputs: Sequence[onnx.ValueInfoProto], wanted: InputShapes, ir_version: int = 0
) -> dict[str, Shape]:
    """Return a shape for every graph input: static unless `wanted` leaves dimensions to the run time.

    An entry of `wanted` under the empty name speaks of the only input. CompileError (E0601, E0109) names
    every input whose shape is unknown or contradicted, with the option to add.
    """
    by_name = _resolve_anonymous(inputs, wanted)
    errors = _unknown_names(inputs, by_name)
    pinned: dict[str, Shape] = {}
    for info in inputs:
        declared = declared_dims(info, zero_is_a_size=ir_version >= _ZERO_IS_A_SIZE_SINCE)
        given = by_name.get(info.name)
        problem = _conflict(declared, given) if given is not None else _unknown(declared)
        if problem:
            errors.append(Diagnostic("E0109", f"input '{info.name}' {_show(declared)}", *problem))
            continue
        pinned[info.name] = _default(declared) if given is None else tuple(map(_settled, given))
    if errors:
        raise CompileError(errors)
    return pinned


def _settled(dim: int | str) -> int:
    return DYNAMIC if isinstance(dim, str) else dim


def declared_dims(info: onnx.ValueInfoProto, *, zero_is_a_size: bool = False) -> list[int | str] | None:
    """Return the declared dimensions: sizes, or names of symbolic ones; None for an unknown rank.

    Old exporters write 0 for "unknown".
    """
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    smallest = 0 if zero_is_a_size else 1
    dims: list[int | str] = []
    for dim in tensor.shape.dim:
        known = dim.HasField("dim_value") and dim.dim_value >= smallest
        dims.append(int(dim.dim_value) if known else (dim.dim_param or "?"))
    return dims


def _resolve_anonymous(
    inputs: Sequence[onnx.ValueInfoProto], wanted: InputShapes
) -> dict[str, Sequence[int | str]]:
    by_name = dict(wanted)
    if "" in by_name:
        if len(inputs) != 1:
            names = ", ".join(info.name for info in inputs)
            raise CompileError(
                Diagnostic(
                    "E0601",
                    "--input-shape",
                    f"the model has {len(inputs)} inputs",
                    f"They are {names}.",
                    "Write --input-shape NAME=1,3,224,224 for each.",
                )
            )
        by_name[inputs[0].name] = by_name.pop("")
    return by_name


def _unknown_names(inputs: Sequence[onnx.ValueInfoProto], wanted: InputShapes) -> list[Diagnostic]:
    names = [info.name for info in inputs]
    return [
        Diagnostic(
            "E0601", "--input-shape", f"the model has no input '{name}'", f"It has: {', '.join(names)}."
        )
        for name in wanted
        if name not in names
    ]


def _default(declared: list[int | str] | None) -> Shape:
    return tuple(1 if isinstance(dim, str) else dim for dim in declared or [])


def _unknown(declared: list[int | str] | None) -> tuple[str, str, str] | None:
    """Only the first dimension may be symbolic: that is the batch, and one sample is what a device runs."""
    if declared is None:
        return (
            "has no declared rank",
            "Kernels are compiled for one shape.",
            "Add --input-shape NAME=1,3,224,224.",
        )
    symbolic = [dim for dim in declared[1:] if isinstance(dim, str)]
    if not symbolic:
        return None
    example = ",".join("1" if isinstance(dim, str) and i == 0 else str(dim) for i, dim in enumerate(declared))
    return (
        f"leaves {', '.join(symbolic)} open",
        "Kernels are compiled for one shape; only the batch has a default (1).",
        f"Add --input-shape with numbers in place of names: {example}. --dynamic-shape leaves them open.",
    )


def _conflict(declared: list[int | str] | None, given: Sequence[int | str]) -> tuple[str, str, str] | None:
    shown = ",".join(map(str, given))
    if declared is not None and list(given) == declared:
        return None  # also where a size is 0: the model says so itself
    if any(isinstance(dim, int) and dim < 1 for dim in given):
        return f"cannot become [{shown}]", "Dimensions are positive.", "Correct --input-shape."
    if declared is None:
        return None
    fits = len(declared) == len(given) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(declared, given, strict=True)
    )
    if fits:
        return None
    return f"cannot become [{shown}]", "Its fixed dimensions must stay.", "Correct --input-shape."


def _show(declared: list[int | str] | None) -> str:
    return "[unknown rank]" if declared is None else f"[{', '.join(map(str, declared))}]"
