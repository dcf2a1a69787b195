"""Keras models: loaded safely, run as they are, traced for fixed shapes.

Settings that change meanwhile are put back: recurrent layers are traced unrolled (their loop has no builtin
without TensorList ops), and every layer computes in float32 (a mixed policy casts around float32 weights).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.foreign import quiet
from edgec.frontends.keras.config import (
    check_layers,
    read_hdf5_config,
    read_keras_config,
    saved_layers,
    shims,
)
from edgec.frontends.keras.convert import convert
from edgec.frontends.keras.load import KerasFile
from edgec.frontends.keras.program import ProgramInput
from edgec.frontends.keras.tensorflow import keras, tensorflow
from edgec.ir import Array, Shape

LiveModel = Any  # keras.Model, which has no usable type annotations
Layer = Any

MAX_UNROLLED_STEPS = 512


def open_keras(source: KerasFile) -> KerasProgram:
    """Load the file (or take the live model); CompileError where Keras cannot."""
    if source.path is None:
        keras(source.name)
        return KerasProgram(source.live, source.name)
    return KerasProgram(_loaded(source, source.path), source.name)


def _loaded(source: KerasFile, path: Path) -> LiveModel:
    library = keras(source.name)
    config = read_hdf5_config(path) if source.format == "hdf5" else read_keras_config(path)
    layers = list(saved_layers(config))
    check_layers(layers, library)
    with quiet():
        try:
            model = _load(library, path, source.format, shims(layers, library))
            if not config.get("keras_version", "3").startswith("3"):
                _restore_hard_sigmoid(model, library)
            return model
        except Exception as error:  # Keras raises whatever its layers raise
            first = " ".join(str(error).split())[:300]
            raise CompileError(
                Diagnostic(
                    "E0118",
                    source.name,
                    "Keras cannot load this model",
                    first,
                    "Load it in Python yourself and pass it to edgec.compile(model).",
                )
            ) from None


def _load(library: Any, path: Path, format: str, custom: dict[str, type]) -> LiveModel:
    suffixes = (".h5", ".hdf5", ".keras")
    right = path.suffix in (suffixes[:2] if format == "hdf5" else suffixes[2:])
    if right:
        return library.models.load_model(path, custom_objects=custom, compile=False, safe_mode=True)
    import tempfile

    with tempfile.TemporaryDirectory() as folder:  # Keras goes by the suffix
        link = Path(folder) / f"model{'.h5' if format == 'hdf5' else '.keras'}"
        link.symlink_to(path.resolve())
        return library.models.load_model(link, custom_objects=custom, compile=False, safe_mode=True)


def _restore_hard_sigmoid(model: LiveModel, library: Any) -> None:
    """Keras 2 meant `clip(0.2 x + 0.5, 0, 1)`; Keras 3 computes `relu6(x + 3) / 6` under the same name."""

    def hard_sigmoid(x: Any) -> Any:
        return library.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    for layer in _layers(model):
        for name in ("activation", "recurrent_activation"):
            holder = getattr(layer, "cell", layer)
            if getattr(holder, name, None) is library.activations.hard_sigmoid:
                setattr(holder, name, hard_sigmoid)


class KerasProgram:
    """A `keras.Model` with known inputs."""

    def __init__(self, model: LiveModel, name: str) -> None:
        self.model, self.name = model, name
        declared = getattr(model, "inputs", None)
        if not declared:
            raise CompileError(
                Diagnostic(
                    "E0120",
                    name,
                    "the model has no declared inputs",
                    "A subclassed or unbuilt model gets its shapes from the first call.",
                    "Wrap it: keras.Model(inputs, model(inputs)) with inputs = keras.Input(shape=...).",
                )
            )
        self.inputs = tuple(ProgramInput(x.name, str(x.dtype), tuple(x.shape)) for x in declared)
        self.outputs = _output_names(model)
        _refuse_stateful(model, name)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Compute every output as the model was saved, in float32."""
        with quiet(), _inference_settings(self.model, unroll=False):
            feeds = [np.asarray(inputs[item.name], item.dtype) for item in self.inputs]
            return [np.asarray(array) for array in _flat(self.model(_argument(feeds), training=False))]

    def convert(self, shapes: Mapping[str, Shape]) -> bytes:
        """Trace the model for these shapes and convert it."""
        tf = tensorflow(self.name)
        with quiet(), _inference_settings(self.model, unroll=True):
            specs = [
                tf.TensorSpec(shapes[item.name], item.dtype, name=f"in{index:04d}")
                for index, item in enumerate(self.inputs)
            ]

            @tf.function(input_signature=specs, autograph=False)
            def call(*arguments: Any) -> list[Any]:
                return _flat(self.model(_argument(list(arguments)), training=False))

            return convert(tf, call, len(self.outputs), self.name)


def _argument(arguments: Sequence[Any]) -> Any:
    return arguments[0] if len(arguments) == 1 else list(arguments)


def _flat(results: Any) -> list[Any]:
    """Return the outputs in the order of `model.outputs`."""
    return list(import_module("keras").tree.flatten(results))


def _output_names(model: LiveModel) -> tuple[str, ...]:
    """Return the name of the layer behind each output; a layer with several outputs gets numbers."""
    names = [str(name) for name in getattr(model, "output_names", None) or []]
    if len(names) != len(model.outputs):  # Sequential; its tensors' names count up from process start
        names = [str(tensor._keras_history.operation.name) for tensor in model.outputs]
    seen: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name] - 1}")
    return tuple(unique)


def _layers(model: LiveModel) -> list[Layer]:
    return list(model._flatten_layers())


def _refuse_stateful(model: LiveModel, name: str) -> None:
    problems = [
        Diagnostic(
            "E0121",
            f"layer '{layer.name}' ({type(layer).__name__})",
            "is stateful: it keeps its state from call to call",
            "A compiled graph has no memory between runs.",
            "Make the state an input and an output (initial_state=..., return_state=True).",
        )
        for layer in _layers(model)
        if getattr(layer, "stateful", False) and hasattr(layer, "unroll")
    ]
    if problems:
        raise CompileError(problems)


@contextmanager
def _inference_settings(model: LiveModel, *, unroll: bool) -> Iterator[None]:
    float32 = import_module("keras").dtype_policies.DTypePolicy("float32")
    kept: list[tuple[Layer, str, object]] = []
    try:
        for layer in _layers(model):
            if unroll and hasattr(layer, "unroll") and _steps(layer) <= MAX_UNROLLED_STEPS:
                kept.append((layer, "unroll", layer.unroll))
                layer.unroll = True
            if getattr(layer, "compute_dtype", "float32") != "float32":
                kept.append((layer, "dtype_policy", layer.dtype_policy))
                layer.dtype_policy = float32
        yield
    finally:
        for layer, name, value in reversed(kept):
            setattr(layer, name, value)


def _steps(layer: Layer) -> int:
    """Return how many time steps a recurrent layer runs over, 0 where that is not known before tracing."""
    try:
        return int(layer.input.shape[1] or 0)
    except (AttributeError, ValueError, TypeError, IndexError):
        return 0
