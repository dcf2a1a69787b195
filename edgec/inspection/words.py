"""What every view says in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgec.frontends.outline import SourceTensor
from edgec.inspection.model import Board, Inspection, Reason
from edgec.reports.words import count, size


def shape(tensor: SourceTensor) -> str:
    """Return a shape, e.g. `batch × 3 × 224 × 224`."""
    if tensor.shape is None:
        return "unknown rank"
    return " × ".join(map(str, tensor.shape)) or "scalar"


def quantization(tensor: SourceTensor) -> str:
    """Return what an integer stands for, empty where it stands for itself."""
    if tensor.per_axis:
        return f"{tensor.per_axis} scales"
    if tensor.scale is None:
        return ""
    return f"{tensor.scale:.6g} × (q − {tensor.zero_point or 0})"


def costs(found: Inspection) -> list[tuple[str, str]]:
    """Return what the model costs, by name."""
    peak = found.activation_peak
    return [
        ("size", size(found.size_bytes)),
        ("parameters", count(found.parameters)),
        ("multiply-accumulates", count(found.macs)),
        ("activation peak", "unknown" if peak is None else f"{size(peak.bytes)} at {peak.node}"),
    ]


def by_result(boards: Sequence[Board]) -> list[tuple[str, list[Board]]]:
    """Return the precisions of each target; targets with the same results stand together."""
    by_target: dict[str, list[Board]] = {}
    for board in boards:
        by_target.setdefault(board.target, []).append(board)
    same: dict[tuple[Board, ...], list[str]] = {}
    for target, rows in by_target.items():
        same.setdefault(tuple(replace(row, target="") for row in rows), []).append(target)
    return [(", ".join(targets), list(rows)) for rows, targets in same.items()]


def blockers(boards: Sequence[Board]) -> list[tuple[Reason, list[str]]]:
    """Return every reason once, with the boards and precisions it keeps the model from."""
    found: dict[Reason, list[Board]] = {}
    for board in boards:
        for reason in board.reasons:
            found.setdefault(reason, []).append(board)
    return [(reason, _affected(affected, boards)) for reason, affected in found.items()]


def _affected(some: Sequence[Board], every: Sequence[Board]) -> list[str]:
    """Return `rpi3, rpi4: float32, int8` for each set of precisions; a target alone means all of its own."""
    if len(some) == len(every):
        return ["every target"]
    whole = _precisions(every)
    same: dict[tuple[str, ...], list[str]] = {}
    for target, precisions in _precisions(some).items():
        same.setdefault(() if precisions == whole[target] else tuple(precisions), []).append(target)
    return [", ".join(targets) + (f": {', '.join(key)}" if key else "") for key, targets in same.items()]


def _precisions(boards: Sequence[Board]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for board in boards:
        found.setdefault(board.target, []).append(board.precision)
    return found
