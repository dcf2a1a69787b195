"""A PyTorch program as torch computes it: the oracle for models that come in through it."""

from __future__ import annotations

from collections.abc import Mapping

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.torch import Program
from edgec.ir import Array


class TorchSource:
    """The original program in evaluation mode, not its ONNX form: the exporter is checked, too."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return every output, in the program's order."""
        try:
            return self._program.run(inputs)
        except Exception as error:  # torch raises whatever the module's own code raises
            raise CompileError(
                Diagnostic(
                    "E0702",
                    "verification",
                    "torch cannot run the source model",
                    " ".join(str(error).split())[:400],
                    "Compile with --no-verify if you know the model to be right.",
                )
            ) from None
