"""Example inputs: torch traces a program by running it, so somebody has to say what it is run on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.torch.load import ExampleInputs

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a call."""


def given_arguments(torch: Any, examples: ExampleInputs) -> Arguments:
    """Return the arguments that the user's examples stand for; arrays become tensors."""
    if isinstance(examples, Mapping):
        return (), {name: _tensor(torch, value) for name, value in examples.items()}
    if isinstance(examples, np.ndarray | torch.Tensor):
        examples = (examples,)
    return tuple(_tensor(torch, value) for value in examples), {}


def _tensor(torch: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return torch.from_numpy(np.array(value))
    if isinstance(value, list | tuple):
        return type(value)(_tensor(torch, item) for item in value)
    if isinstance(value, dict):
        return {name: _tensor(torch, item) for name, item in value.items()}
    return value


def drawn_arguments(
    torch: Any, names: Sequence[str], shapes: Mapping[str, Sequence[int]], where: str, dtype: Any
) -> Arguments:
    """Return tensors for inputs of these names and shapes: normal(0, 1) floats, or integer zeros.

    CompileError (E0601, E0120) where shapes are missing, open or of inputs that do not exist.
    """
    given = dict(shapes)
    if "" in given and len(names) == 1:
        given[names[0]] = given.pop("")
    unknown = [name for name in given if name not in names]
    if unknown:
        what = f"the model has no input '{unknown[0]}'"
        raise CompileError(Diagnostic("E0601", "--input-shape", what, f"It has: {', '.join(names)}."))
    missing = [name for name in names if name not in given]
    if missing or not names:
        raise CompileError(_no_examples(where, missing))
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(_fixed(name, given[name]), generator=generator) for name in names]
    return tuple(
        x.to(dtype) if dtype.is_floating_point else torch.zeros(x.shape, dtype=dtype) for x in drawn
    ), {}


def _fixed(name: str, shape: Sequence[object]) -> list[int]:
    fixed = [dim for dim in shape if isinstance(dim, int) and dim > 0]
    if len(fixed) == len(shape):
        return fixed
    shown = ",".join(map(str, shape))
    why = "The program is traced in one shape."
    step = "Give numbers; in Python, example_inputs= beside dynamic_shapes= says what it is traced on."
    raise CompileError(Diagnostic("E0109", f"input '{name}'", f"[{shown}] is not a fixed shape", why, step))


def _no_examples(where: str, missing: Sequence[str]) -> Diagnostic:
    what = f"does not say what shape its inputs have ({', '.join(missing)})" if missing else "has no inputs"
    return Diagnostic(
        "E0120",
        where,
        what,
        "torch traces a model by running it once.",
        f"Add --input-shape {missing[0] if missing else 'NAME'}=1,3,224,224 for each; in Python, "
        "edgec.compile(model, example_inputs=(example,)), which also says the element types.",
    )


def with_open_sizes(
    torch: Any, module: Any, arguments: Arguments, shapes: Mapping[str, Sequence[object]]
) -> tuple[Arguments, dict[str, Any] | None]:
    """Return the arguments and torch's `dynamic_shapes` for the dimensions that `shapes` leaves open by name.

    torch takes an example's size 1 for a constant, so along an open dimension such an example is doubled.
    """
    bound = inspect.signature(module.forward).bind(*arguments[0], **arguments[1])
    opened: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        wanted = shapes.get(name, shapes.get("", ()) if len(bound.arguments) == 1 else ())
        axes = [axis for axis, dim in enumerate(wanted) if isinstance(dim, str)]
        opened[name] = None
        if isinstance(value, torch.Tensor) and value.dim() == len(wanted) and axes:
            opened[name] = dict.fromkeys(axes, torch.export.Dim.AUTO)
            for axis in axes:
                value = value if value.shape[axis] > 1 else value.repeat_interleave(2, axis)
            bound.arguments[name] = value
    if not any(opened.values()):
        return arguments, None
    return (bound.args, bound.kwargs), opened
