"""TorchScript: programs of torch's older compiler, which say what their inputs are called and little else."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.foreign import quiet
from edgec.frontends.torch.archive import SAVE
from edgec.frontends.torch.examples import Arguments, drawn_arguments, given_arguments
from edgec.frontends.torch.exported import evaluating, no_onnx, output_names, to_array
from edgec.frontends.torch.library import in_one_line, onnx_exporter, torch
from edgec.frontends.torch.load import LiveProgram, TorchFile
from edgec.ir import Array

OPSET = 17
"""The newest opset that the exporter of TorchScript was kept complete for."""


def open_script(source: TorchFile, shapes: Mapping[str, Sequence[int]]) -> ScriptSource:
    """Load TorchScript and run it once on example inputs; CompileError (E0118, E0120) where that fails."""
    library = torch(source.name)
    module = source.live if source.live is not None else _loaded(library, source)
    names = _required_arguments(module)
    if source.example_inputs is not None:
        return _called(library, module, names, [given_arguments(library, source.example_inputs)], source.name)
    guesses = [
        drawn_arguments(library, names, shapes, source.name, dtype)
        for dtype in (library.float32, library.int64)
    ]
    return _called(library, module, names, guesses, source.name)


def _loaded(library: Any, source: TorchFile) -> LiveProgram:
    stream = source.stream()
    with quiet():
        try:
            return library.jit.load(stream if isinstance(stream, io.BytesIO) else str(stream), "cpu")
        except Exception as error:  # torch raises RuntimeError and what its own parser raises
            raise CompileError(
                Diagnostic(
                    "E0118",
                    source.name,
                    f"torch {library.__version__} cannot load this TorchScript archive",
                    in_one_line(error),
                    f"Export the model it was made from: {SAVE}.",
                )
            ) from None


def _required_arguments(module: LiveProgram) -> list[str]:
    """Return the names of the inputs that `forward` cannot do without."""
    arguments = module.forward.schema.arguments[1:]  # the first is self
    return [item.name for item in arguments if not item.has_default_value()]


def _called(
    library: Any, module: LiveProgram, names: Sequence[str], guesses: Sequence[Arguments], name: str
) -> ScriptSource:
    """Return the program on the first of the arguments that it takes."""
    errors: list[Exception] = []
    for args, kwargs in guesses:
        ordered = (*args, *(kwargs[item] for item in names[len(args) :] if item in kwargs))
        with quiet(), evaluating(library, module):
            try:
                results = module(*ordered)
            except Exception as error:  # TorchScript raises RuntimeError, and custom classes what they like
                errors.append(error)
                continue
        return ScriptSource(library, module, tuple(names[: len(ordered)]), ordered, results, name)
    raise CompileError(
        Diagnostic(
            "E0118",
            name,
            "the TorchScript program does not run on inputs of these shapes",
            in_one_line(errors[0]),
            "Correct --input-shape; where some inputs are floats and some integers, give example_inputs= "
            "in Python.",
        )
    )


class ScriptSource:
    """A TorchScript module with example arguments."""

    def __init__(
        self,
        library: Any,
        module: LiveProgram,
        names: tuple[str, ...],
        examples: tuple[Any, ...],
        results: Any,
        name: str,
    ) -> None:
        self._torch, self._module, self._examples, self._name = library, module, examples, name
        if not all(isinstance(item, library.Tensor) for item in examples):
            what = "takes inputs that are not tensors"
            step = f"Export the model it was made from: {SAVE}."
            raise CompileError(Diagnostic("E0110", name, what, "TorchScript is traced by tensors.", step))
        self.inputs = names
        self.outputs = output_names(library, library.utils._pytree.tree_structure(results))

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Compute every output in evaluation mode."""
        feeds = [
            self._torch.from_numpy(np.array(inputs[name])).to(example.dtype)
            for name, example in zip(self.inputs, self._examples, strict=True)
        ]
        with quiet(), evaluating(self._torch, self._module):
            return [to_array(item) for item in self._torch.utils._pytree.tree_leaves(self._module(*feeds))]

    def to_onnx(self) -> bytes:
        """Translate with the exporter of TorchScript: the newer one takes exported programs only."""
        exporter = onnx_exporter(self._name)
        sink = io.BytesIO()
        with quiet(), evaluating(self._torch, self._module):
            try:
                exporter.export(
                    self._module,
                    self._examples,
                    sink,
                    dynamo=False,
                    verbose=False,
                    opset_version=OPSET,
                    input_names=list(self.inputs),
                )
            except Exception as error:  # the exporter raises whatever its parts raise
                raise CompileError(no_onnx(self._name, error)) from None
        return sink.getvalue()
