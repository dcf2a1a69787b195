"""The boards as rows of words: what `edgec targets` prints and what the documentation shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

from edgec.targets.load import list_targets, load_target
from edgec.targets.model import Cpu, Memory, Target


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One board in words; the field names are the column titles."""

    target: str
    description: str
    cpu: str
    features: str
    memory: str
    profile: str
    precisions: str


def targets_table(targets: Iterable[Target] | None = None) -> tuple[TargetRow, ...]:
    """Return one row per board (default: all known boards), in the order of `list_targets()`."""
    boards = (load_target(name) for name in list_targets()) if targets is None else targets
    return tuple(_row(board) for board in boards)


def targets_markdown() -> str:
    """Return the known boards as a Markdown table with links to the sources of its facts (for docs)."""
    titles = [field.name for field in fields(TargetRow)]
    lines = [_cells(*titles, "sources"), _cells(*["---"] * (len(titles) + 1))]
    for name in list_targets():
        target = load_target(name)
        links = ", ".join(f"[{title}]({url})" for title, url in target.sources.items())
        lines.append(_cells(*astuple(_row(target)), links))
    return "\n".join(lines) + "\n"


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") or "–" for cell in cells) + " |"


def _row(target: Target) -> TargetRow:
    return TargetRow(
        target=target.name,
        description=target.description,
        cpu=_cpu(target.cpu),
        features=", ".join(target.cpu.features),
        memory=_memory(target.memory),
        profile=target.profile,
        precisions=", ".join(_with_weights(precision, target.profile) for precision in target.precisions),
    )


def _with_weights(precision: str, profile: str) -> str:
    """Return a precision and what `--weights` may be beside it: "int8 (weights int8, int4)"."""
    from edgec.quantize.legality import weight_types

    types = weight_types(precision, profile)
    return f"{precision} (weights {', '.join(types)})" if types else precision


def _cpu(cpu: Cpu) -> str:
    if cpu.core is None:
        return cpu.arch
    cores = f"{cpu.cores} × " if cpu.cores else ""
    clock = f" at {cpu.clock_mhz} MHz" if cpu.clock_mhz else ""
    return f"{cores}{cpu.core}{clock}"


def _memory(memory: Memory) -> str:
    parts = (("RAM", memory.ram_kib), ("flash", memory.flash_kib), ("arena", memory.tensor_arena_kib))
    return ", ".join(f"{_size(kib)} {name}" for name, kib in parts if kib is not None)


def _size(kib: int) -> str:
    for unit, step in (("GiB", 1024 * 1024), ("MiB", 1024)):
        if kib % step == 0:
            return f"{kib // step} {unit}"
    return f"{kib} KiB"
