"""Calls TensorFlow's converter and says in one sentence what it says in a thousand."""

from __future__ import annotations

import re
import tempfile
from importlib import import_module
from typing import Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.foreign import quiet

Module = Any  # TensorFlow has no usable type annotations
Function = Any

_NOT_BUILTIN = re.compile(r"tf\.([A-Z]\w+)|Op type not registered '(\w+)'")


def convert(tf: Module, function: Function, count: int, where: str) -> bytes:
    """Trace a `tf.function` with `count` results and return it as a float flatbuffer with a signature.

    Inputs keep the names of the function's TensorSpecs; results are named out0000, out0001, ... CompileError
    (E0119) where it cannot be traced, or with the names of the operations that no builtin expresses.
    """
    with quiet():
        try:
            frozen = _frozen(function)
        except Exception as error:  # layers raise whatever they like while they are traced
            what, why = "the model cannot be traced for these shapes", " ".join(str(error).split())[:300]
            raise CompileError(Diagnostic("E0119", where, what, why)) from None
        named = tf.function(
            lambda *arguments: {
                f"out{i:04d}": tf.identity(x) for i, x in zip(range(count), frozen(*arguments), strict=True)
            },
            input_signature=function.input_signature,
            autograph=False,
        )
        try:
            return _converted(tf, named)
        except Exception as error:  # the converter raises whatever its parts raise
            raise CompileError(_explained(where, str(error))) from None


def _converted(tf: Module, function: Function) -> bytes:
    """Go through a SavedModel: only from there does the converter write a signature."""
    module = tf.Module()
    module.call = function
    without_gradients = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        tf.saved_model.save(module, folder, function.get_concrete_function(), without_gradients)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def _frozen(function: Function) -> Function:
    """Trace with variables as constants; the converter itself would leave them resources."""
    freezing = import_module("tensorflow.python.framework.convert_to_constants")
    return freezing.convert_variables_to_constants_v2(function.get_concrete_function())


def _explained(where: str, text: str) -> Diagnostic:
    needed = text.split("requires the following", 1)[-1] if "Flex" in text or "flex" in text else text
    names = sorted({a or b for a, b in _NOT_BUILTIN.findall(needed)} - {"Session"})
    if names:
        return Diagnostic(
            "E0119",
            where,
            f"TensorFlow's converter has no builtin for {', '.join(names[:8])}",
            "Only builtins run on a device without TensorFlow.",
            "Replace the layer that uses it.",
        )
    first = " ".join(text.split())[:300]
    return Diagnostic("E0119", where, "TensorFlow's converter fails on this model", first)
