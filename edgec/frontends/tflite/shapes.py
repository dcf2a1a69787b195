"""Pins open dimensions: the batch becomes 1, everything else the user must say (`--input-shape`)."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.diagnostics import Diagnostic, Diagnostics
from edgec.frontends.tflite.tensors import Tensor
from edgec.ir import DYNAMIC, Shape


def pin_shape(
    name: str, tensor: Tensor, given: Sequence[int] | None, diagnostics: Diagnostics
) -> Shape | None:
    """Return an input's static shape, or None after a diagnostic (E0109) that names the option to add."""
    declared = tensor.declared
    shown = ",".join("?" if dim == DYNAMIC else str(dim) for dim in declared)
    where = f"input '{name}' [{shown}]"
    if given is not None:
        fits = len(given) == len(declared) and all(
            size > 0 and dim in (DYNAMIC, size) for dim, size in zip(declared, given, strict=True)
        )
        if fits:
            return tuple(int(size) for size in given)
        what = f"cannot become [{','.join(map(str, given))}]"
        diagnostics.add(
            Diagnostic("E0109", where, what, "Its fixed dimensions must stay.", "Correct --input-shape.")
        )
        return None
    if DYNAMIC in declared[1:]:
        why = "Kernels are compiled for one shape; only the batch has a default (1)."
        example = f"Add --input-shape {name}=... with a number for each ?."
        diagnostics.add(Diagnostic("E0109", where, "leaves dimensions open", why, example))
        return None
    return tuple(1 if dim == DYNAMIC else dim for dim in declared)
