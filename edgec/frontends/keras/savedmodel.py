"""SavedModel folders, through the loader that reads every age of them.

`tf.saved_model.load` rebuilds Python objects and fails on folders that TensorFlow 2.3 wrote with an
optimizer inside; the graph loader of `tf.compat.v1` needs the graph and its variables alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.foreign import quiet
from edgec.frontends.keras.convert import convert
from edgec.frontends.keras.load import KerasFile
from edgec.frontends.keras.program import ProgramInput
from edgec.frontends.keras.tensorflow import tensorflow
from edgec.ir import Array, Shape

SignatureDef = Any  # protocol buffers of TensorFlow, without type annotations

_DEFAULT = "serving_default"
_INTERNAL = "__saved_model_init_op"


def open_savedmodel(source: KerasFile, signature: str | None) -> SavedModelProgram:
    """Load a folder; CompileError where it is damaged or has no such signature."""
    tf = tensorflow(source.name)
    with quiet():
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(source.path))
        except Exception as error:  # the loader raises OSError, RuntimeError, errors of TensorFlow's own ...
            why = " ".join(str(error).split())[:300]
            raise CompileError(
                Diagnostic("E0102", source.name, "this SavedModel cannot be loaded", why, "Export it again.")
            ) from None
    return SavedModelProgram(session, _chosen(source.name, meta.signature_def, signature), source.name)


def _chosen(name: str, signatures: Mapping[str, SignatureDef], wanted: str | None) -> SignatureDef:
    known = [key for key in signatures if key != _INTERNAL]
    if wanted is None and (_DEFAULT in known or len(known) == 1):
        wanted = _DEFAULT if _DEFAULT in known else known[0]
    if wanted in known:
        return signatures[wanted]
    what = f"there is no signature '{wanted}'" if wanted else "there are several signatures and no default"
    why = f"The folder has: {', '.join(sorted(known)) or 'none'}."
    step = "Choose one with --signature." if known else "Export the model with signatures."
    raise CompileError(Diagnostic("E0114", name, what, why, step))


class SavedModelProgram:
    """One signature of a SavedModel; inputs and outputs are in the order of their names."""

    def __init__(self, session: Any, signature: SignatureDef, name: str) -> None:
        self.session, self.name = session, name
        self._inputs = {key: signature.inputs[key] for key in sorted(signature.inputs, key=_natural)}
        self._outputs = {key: signature.outputs[key] for key in sorted(signature.outputs, key=_natural)}
        with quiet():
            graph = session.graph
            tensors = {key: graph.get_tensor_by_name(info.name) for key, info in self._inputs.items()}
        self.inputs = tuple(
            ProgramInput(key, tensor.dtype.name, self._dims(key, tensor)) for key, tensor in tensors.items()
        )
        self.outputs = tuple(self._outputs)

    def _dims(self, name: str, tensor: Any) -> tuple[int | None, ...]:
        if tensor.shape.rank is None:
            what, step = "has no declared rank", "Export the model with an input signature."
            raise CompileError(Diagnostic("E0109", f"input '{name}'", what, next_step=step))
        return tuple(tensor.shape.as_list())

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Compute every output."""
        with quiet():
            feeds = {
                self._inputs[item.name].name: np.asarray(inputs[item.name], item.dtype)
                for item in self.inputs
            }
            wanted = [info.name for info in self._outputs.values()]
            return [np.asarray(array) for array in self.session.run(wanted, feeds)]

    def convert(self, shapes: Mapping[str, Shape]) -> bytes:
        """Freeze the variables, give the inputs these shapes, and convert."""
        tf = tensorflow(self.name)
        outputs = [info.name for info in self._outputs.values()]
        with quiet():
            try:
                frozen = self._frozen(outputs)
            except Exception as error:  # errors of TensorFlow's own
                what, why = "the SavedModel's variables cannot be frozen", " ".join(str(error).split())[:300]
                raise CompileError(Diagnostic("E0119", self.name, what, why)) from None

            def call(*arguments: Any) -> list[Any]:
                given = dict(zip((info.name for info in self._inputs.values()), arguments, strict=True))
                return list(tf.graph_util.import_graph_def(frozen, given, outputs, name=""))

            specs = [
                tf.TensorSpec(shapes[item.name], item.dtype, name=f"in{index:04d}")
                for index, item in enumerate(self.inputs)
            ]
            function = tf.function(call, input_signature=specs, autograph=False)
            return convert(tf, function, len(outputs), self.name)

    def _frozen(self, outputs: list[str]) -> Any:
        freezing = import_module("tensorflow.python.framework.convert_to_constants")
        names = [name.split(":")[0] for name in outputs]
        definition = self.session.graph.as_graph_def(add_shapes=True)
        return freezing.convert_variables_to_constants_from_session_graph(self.session, definition, names)


def _natural(name: str) -> list[tuple[int, str]]:
    """Order output_10 behind output_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
