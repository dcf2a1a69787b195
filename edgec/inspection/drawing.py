"""The outline as boxes and arrows: what is drawn, before anybody decides where.

input ─▶ Conv ─▶ Relu ─▶ Add ─▶ output        constants are no boxes; they are listed with their reader
           └──────────────▲
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgec.frontends.outline import Outline, SourceOperator, SourceTensor

COLLAPSE_ABOVE = 400


@dataclass(frozen=True, slots=True)
class Box:
    """One node of the picture: an operator, a run of them, an input or an output.

    `lines` are (label, text) pairs for whoever asks for details; `is_blocked` marks what an error names.
    """

    title: str
    subtitle: str
    role: str
    lines: tuple[tuple[str, str], ...] = ()
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes in the file's order and arrows between their indices, without repeats."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]


def draw(outline: Outline, blocked: Iterable[str] = (), collapse_above: int = COLLAPSE_ABOVE) -> Drawing:
    """Return the picture of an outline; above so many boxes, runs of single-consumer chains become one."""
    names = frozenset(blocked)
    boxes = [_port(tensor, "input") for tensor in outline.inputs]
    made = {_drawn_name(outline, index): index for index in range(len(boxes))}
    arrows: dict[tuple[int, int], None] = {}
    constants = set(outline.constants)
    for operator in outline.operators:
        number = len(boxes)
        if constants.issuperset(name for name in operator.inputs if name):
            constants.update(operator.outputs)
            if not names.intersection((operator.name, *operator.outputs)):
                continue  # computed before the model runs; drawn only where it is what fails
        boxes.append(_operator(operator, outline, names))
        arrows |= dict.fromkeys((made[name], number) for name in operator.inputs if name in made)
        made |= dict.fromkeys((name for name in operator.outputs if name), number)
    for position, tensor in enumerate(outline.outputs):
        name = _output_name(outline, position)
        if name in made:
            arrows[made[name], len(boxes)] = None
        boxes.append(_port(tensor, "output"))
    drawing = Drawing(tuple(boxes), tuple(arrows))
    return collapsed(drawing) if len(boxes) > collapse_above else drawing


def collapsed(drawing: Drawing) -> Drawing:
    """Merge every run of operators in which each has one consumer and each consumer one producer."""
    after, before = neighbours(drawing)
    group: dict[int, int] = {}
    for index, box in enumerate(drawing.boxes):
        producers = before[index]
        joins = box.role == "operator" and len(producers) == 1 and len(after[producers[0]]) == 1
        joins = joins and drawing.boxes[producers[0]].role == "operator"
        group[index] = group[producers[0]] if joins else index
    members: dict[int, list[int]] = {}
    for index, head in group.items():
        members.setdefault(head, []).append(index)
    number = {head: position for position, head in enumerate(members)}
    boxes = tuple(_run([drawing.boxes[index] for index in run]) for run in members.values())
    arrows = ((number[group[a]], number[group[b]]) for a, b in drawing.arrows if group[a] != group[b])
    return Drawing(boxes, tuple(dict.fromkeys(arrows)))


def neighbours(drawing: Drawing) -> tuple[Mapping[int, Sequence[int]], Mapping[int, Sequence[int]]]:
    """Return, for each box, the boxes that its arrows lead to, and those that lead to it."""
    after: dict[int, list[int]] = {index: [] for index in range(len(drawing.boxes))}
    before: dict[int, list[int]] = {index: [] for index in range(len(drawing.boxes))}
    for start, end in drawing.arrows:
        after[start].append(end)
        before[end].append(start)
    return after, before


def _run(boxes: Sequence[Box]) -> Box:
    if len(boxes) == 1:
        return boxes[0]
    title = (
        f"{boxes[0].title} … {boxes[-1].title}" if len(boxes) > 2 else f"{boxes[0].title}, {boxes[1].title}"
    )
    lines = tuple(
        (box.title, f"{box.lines[0][1] if box.lines else ''} {box.subtitle}".strip()) for box in boxes
    )
    head = ("operators", str(len(boxes)))
    subtitle = f"{len(boxes)} operators, {boxes[-1].subtitle}"
    return Box(title, subtitle, "run", (head, *lines), any(box.is_blocked for box in boxes))


def _port(tensor: SourceTensor, role: str) -> Box:
    return Box(tensor.name, str(tensor), role, (("name", tensor.name), (role, str(tensor))))


def _operator(operator: SourceOperator, outline: Outline, blocked: frozenset[str]) -> Box:
    lines = [("name", operator.name)]
    for label, names in (("reads", operator.inputs), ("makes", operator.outputs)):
        lines += [(label, _described(name, outline)) for name in names if name]
    lines += operator.attributes
    shown = next((outline.tensors[name] for name in operator.outputs if name in outline.tensors), None)
    is_blocked = operator.name in blocked or any(name in blocked for name in operator.outputs)
    return Box(operator.kind, "" if shown is None else str(shown), "operator", tuple(lines), is_blocked)


def _described(name: str, outline: Outline) -> str:
    tensor = outline.tensors.get(name)
    kind = "constant " if name in outline.constants else ""
    quantized = (
        f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}" if tensor and tensor.scale else ""
    )
    quantized = f", {tensor.per_axis} scales" if tensor and tensor.per_axis else quantized
    return f"{kind}{name}" + (f": {tensor}{quantized}" if tensor else "")


def _drawn_name(outline: Outline, index: int) -> str:
    return outline.input_tensors[index] if outline.input_tensors else outline.inputs[index].name


def _output_name(outline: Outline, index: int) -> str:
    return outline.output_tensors[index] if outline.output_tensors else outline.outputs[index].name
