"""Why a node stays outside XNNPACK, in a sentence for the report."""

from __future__ import annotations

from edgec.ir import DType
from edgec.ops import all_ops

_GENERIC = (
    "XNNPACK takes {op} with static shapes up to rank 6 and constant parameters, and for int8 within limits "
    "on the ratio of scales; this node is outside of these"
)


def explain_breaker(kind: str, dtype: DType | str | None = None) -> str:
    """Return why XNNPACK leaves an op to the builtin kernels.

    `kind` is an op kind or a builtin name (`split`, `SPLIT`); `dtype` its data's element type, where known.
    """
    spec = all_ops().get(kind.lower())
    op = kind.upper()
    if spec is None:
        return f"XNNPACK has no rule for {op} that is known here; LiteRT's builtin kernel runs it."
    types = spec.support.xnnpack
    if not types:
        return f"XNNPACK has no {op} operator."
    given = DType(dtype) if dtype is not None else None
    if given is not None and given not in types:
        return f"XNNPACK runs {op} for {_words(types)}, not for {given}."
    if spec.support.xnnpack_when:
        only = "" if given is not None else f" for {_words(types)}"
        return f"XNNPACK takes {op}{only} only with {spec.support.xnnpack_when}, and rank 6 at most."
    if given is None:
        return f"XNNPACK runs {op} for {_words(types)}, with static shapes up to rank 6."
    return _GENERIC.format(op=op) + "."


def _words(types: frozenset[DType]) -> str:
    names = sorted(types, key=lambda dtype: list(DType).index(dtype))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
