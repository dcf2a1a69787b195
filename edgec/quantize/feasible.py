"""What keeps a float model from being quantized: found before ranges are known, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgec.diagnostics import Diagnostic
from edgec.ir import DType, Graph, Model, Node
from edgec.quantize import problems
from edgec.quantize.names import unknown_names, where
from edgec.quantize.roles import Choices, Role, Roles, Treatment, assign_roles, is_real


def quantization_problems(model: Model, choices: Choices, *, allow_float_islands: bool) -> list[Diagnostic]:
    """Return all that keeps a float model from the form that was chosen."""
    roles = assign_roles(model.graph, choices)
    islands = [] if allow_float_islands else _without_kernel(model.graph, roles)
    return [
        *_subgraphs(model, choices),
        *unknown_names(model.graph, sorted(choices.named)),
        *_constants(model.graph, roles),
        *islands,
    ]


def _subgraphs(model: Model, choices: Choices) -> list[Diagnostic]:
    if not model.subgraphs:
        return []
    what = (
        f"has {len(model.subgraphs)} subgraphs (control flow), which {choices.activations} does not cover yet"
    )
    return [Diagnostic(problems.SUBGRAPHS, "model", what, next_step="Use --float16 or --dynamic.")]


def _without_kernel(graph: Graph, roles: Roles) -> list[Diagnostic]:
    return [
        Diagnostic(
            problems.NO_INT8_KERNEL,
            where(node),
            f"cannot be {roles[node].dtype}",
            roles[node].reason[:1].upper() + roles[node].reason[1:],
            _OTHER_WAYS[roles[node].dtype],
        )
        for node in graph
        if roles[node].reason
    ]


_OTHER_WAYS = {
    DType.INT8: "Allow float islands, use --float16 or --dynamic, or replace the layer",
    DType.INT16: "Allow float islands, use --int8, or replace the layer",
}


def _constants(graph: Graph, roles: Roles) -> list[Diagnostic]:
    """Find constants no scale can hold: NaN anywhere, infinity where the constant's own range counts."""
    return [problem for node in graph if roles[node].quantized for problem in _of_node(node, roles[node])]


def _of_node(node: Node, role: Role) -> Iterator[Diagnostic]:
    saturates = role.treatment is Treatment.LINKED and _reads_activation(node, role)
    for value in node.operands:
        if value is None or value.data is None or not is_real(value):
            continue
        usable = ~np.isnan(value.data) if saturates else np.isfinite(value.data)
        if not usable.all():
            count = int((~usable).sum())
            yield Diagnostic(
                problems.CONSTANT,
                where(node),
                f"reads constant '{value.name}', which holds {count} values that are NaN or infinite",
                "No scale covers them.",
                "Repair the constant in the source model.",
            )


def _reads_activation(node: Node, role: Role) -> bool:
    return any(not node.operand(index).is_constant for index in role.data)
