"""What the terminal shows. Names from the model are plain text: neither escapes nor markup take effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from edgec.inspection import words
from edgec.inspection.model import Board, Inspection
from edgec.reports.escape import visible
from edgec.reports.words import by_count, size

_LISTED = 24
_PLACES = 3


def print_inspection(console: Console, found: Inspection) -> None:
    """Print the facts, the ports, the operators, the boards and what blocks them."""
    for index, part in enumerate(_parts(found)):
        if index:
            console.print()
        console.print(part)


def _parts(found: Inspection) -> Iterator[RenderableType]:
    yield Text.assemble((visible(found.name), "bold"), f"  {found.format}")
    yield _facts(found)
    yield _ports(found)
    yield _operators(found)
    yield _boards(found)
    if any(not board.runs for board in found.boards):
        yield _blockers(found)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in columns:
        table.add_column(title, overflow="fold")
    return table


def _facts(found: Inspection) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in (*words.costs(found), *found.outline.facts):
        grid.add_row(Text(visible(name)), Text(visible(value)))
    return grid


def _ports(found: Inspection) -> RenderableType:
    table = _table("", "name", "shape", "type", "layout", "real value of an integer q")
    for role, items in (("in", found.inputs), ("out", found.outputs)):
        for item in items:
            tensor = item.tensor
            cells = (
                role,
                tensor.name,
                words.shape(tensor),
                tensor.dtype,
                item.layout or "–",
                words.quantization(tensor) or "–",
            )
            table.add_row(*(Text(visible(cell)) for cell in cells))
    return table


def _operators(found: Inspection) -> RenderableType:
    table = _table("source operator", "count", "compiled operator", "count")
    left, right = _counted(found.outline.histogram), _counted(found.kinds)
    for row in range(max(len(left), len(right), 1)):
        cells = [*(left[row : row + 1] or [("", "")]), *(right[row : row + 1] or [("", "")])]
        table.add_row(*(Text(visible(text)) for pair in cells for text in pair))
    return table


def _counted(histogram: Mapping[str, int]) -> list[tuple[str, str]]:
    ordered = [(name, str(number)) for name, number in by_count(histogram)]
    if len(ordered) <= _LISTED:
        return ordered
    return [*ordered[:_LISTED], (f"… {len(ordered) - _LISTED} more", "")]


def _boards(found: Inspection) -> RenderableType:
    table = _table("target", "precision", "", "file", "arena")
    for targets, boards in words.by_result(found.boards):
        for index, board in enumerate(boards):
            state = Text(_state(board), style="green" if board.runs else "red")
            table.add_row(Text("" if index else targets), Text(board.precision), state, *_sizes(board))
    return table


def _state(board: Board) -> str:
    return "runs" if board.runs else f"blocked by {', '.join(dict.fromkeys(r.code for r in board.reasons))}"


def _sizes(board: Board) -> list[Text]:
    return [Text("–" if value is None else size(value)) for value in (board.size_bytes, board.arena_bytes)]


def _blockers(found: Inspection) -> RenderableType:
    table = _table("what blocks", "where", "which target")
    for reason, affected in words.blockers(found.boards):
        places = ", ".join(reason.places[:_PLACES])
        more = reason.count - _PLACES
        places += f", … {more} more" if more > 0 else ""
        cells = (str(reason), places, "; ".join(affected))
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table
