"""A Keras model or SavedModel as TensorFlow computes it: the oracle for models that come in through it."""

from __future__ import annotations

from collections.abc import Mapping

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.keras.program import Program
from edgec.ir import Array


class KerasSource:
    """The original model, unpinned and not unrolled, in inference mode."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return every output, in the model's order."""
        try:
            return self._program.run(inputs)
        except Exception as error:  # TensorFlow raises whatever its layers raise
            raise CompileError(
                Diagnostic(
                    "E0702",
                    "verification",
                    "TensorFlow cannot run the source model",
                    " ".join(str(error).split())[:400],
                    "Compile with --no-verify if you know the model to be right.",
                )
            ) from None
