"""Looks through a saved configuration before Keras builds anything from it.

Three things are found here, with the layer's name, that Keras would answer with a trace or not at all: code
stored in the file (never run), classes that are not Keras's own, and settings of Keras 2 that Keras 3 has no
place for. The last are dropped where they hold the only value that means nothing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.keras.tensorflow import hdf5

Config = dict[str, Any]  # JSON of Keras's making
Module = Any  # keras has no usable type annotations

_INNER = ("layer", "forward_layer", "backward_layer", "cell")
_INNER_LISTS = ("layers", "cells")
_MODELS = ("Functional", "Sequential", "Model")
_RECURRENT = ("RNN", "LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_KERAS_2_ONLY: dict[str, dict[str, object]] = {
    "DepthwiseConv2D": {"groups": 1},
    **{name: {"time_major": False} for name in _RECURRENT},
}
"""Settings that Keras 3 refuses, with the value that says nothing, by class."""

_KERAS_2_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


@dataclass(frozen=True, slots=True)
class SavedLayer:
    """One layer of a saved configuration."""

    name: str
    class_name: str
    module: str
    settings: Config


def read_keras_config(path: Path) -> Config:
    """Return the configuration in a `.keras` archive; CompileError (E0102) where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RuntimeError) as error:
        why = f"Its config.json cannot be read ({error})."
        raise CompileError(
            Diagnostic("E0102", str(path), "this is not a whole .keras file", why, "Save the model again.")
        ) from None


def read_hdf5_config(path: Path) -> Config:
    """Return the configuration in an HDF5 file; CompileError where it holds weights alone or is damaged.

    Its `keras_version` is the version that wrote the file (2.x where the file does not say).
    """
    library = hdf5(path.name)
    try:
        with library.File(path, "r") as file:
            text, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "2")
    except (OSError, RuntimeError, ValueError) as error:
        why = f"{' '.join(str(error).split())}."
        raise CompileError(
            Diagnostic("E0102", str(path), "this is not a whole HDF5 file", why, "Save the model again.")
        ) from None
    if text is None:
        raise CompileError(
            Diagnostic(
                "E0116",
                path.name,
                "the file holds weights without a model",
                "There is no model_config in it: it was written by save_weights.",
                "Build the model in Python, load the weights and save it with model.save('model.keras').",
            )
        )
    try:
        return {**json.loads(text), "keras_version": _text(version)}
    except (ValueError, TypeError):
        raise CompileError(
            Diagnostic("E0102", path.name, "its model_config is damaged", "", "Save the model again.")
        ) from None


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def saved_layers(config: Config) -> Iterator[SavedLayer]:
    """Yield every layer of a configuration, also those inside nested models and wrappers."""
    settings = config.get("config")
    if isinstance(settings, list):  # Keras 1 Sequential
        settings = {"layers": settings}
    if not isinstance(settings, dict):
        return
    name = str(settings.get("name", config.get("name", "?")))
    registered = config.get("registered_name") or ""
    module = str(config.get("module") or ("custom" if ">" in registered else ""))
    yield SavedLayer(name, str(config.get("class_name")), module, settings)
    inner = [settings[key] for key in _INNER if key in settings]
    for key in _INNER_LISTS:
        inner += settings[key] if isinstance(settings.get(key), list) else []
    for item in inner:
        if isinstance(item, dict):
            yield from saved_layers(item)


def check_layers(layers: list[SavedLayer], keras: Module) -> None:
    """Raise CompileError with every layer that cannot or must not be rebuilt from the file alone."""
    problems = [problem for layer in layers for problem in _problems(layer, keras)]
    if problems:
        raise CompileError(problems)


def _problems(layer: SavedLayer, keras: Module) -> Iterator[Diagnostic]:
    where = f"layer '{layer.name}' ({layer.class_name})"
    if layer.class_name == "Lambda" or _holds_code(layer.settings):
        yield Diagnostic(
            "E0117",
            where,
            "holds Python code, and code in model files is not executed",
            "A lambda is stored as byte code: it runs with your rights, in the Python that wrote it alone.",
            "Replace it by a layer (Rescaling for pixels), or load the model yourself and give it to "
            "edgec.compile(model).",
        )
    elif layer.class_name in _KERAS_2_OPERATIONS:
        yield Diagnostic(
            "E0118",
            where,
            "is an operation of Keras 2 that Keras 3 cannot rebuild",
            "",
            "Load the model with tf_keras, export it as a SavedModel and compile that folder.",
        )
    elif not _is_known(layer, keras):
        yield Diagnostic(
            "E0118",
            where,
            f"is of class '{layer.class_name}', which is not part of Keras",
            "The file holds its name and settings, not what it computes.",
            "Load the model in Python where the class is defined and pass it to edgec.compile(model).",
        )
    for key, harmless in _KERAS_2_ONLY.get(layer.class_name, {}).items():
        if layer.settings.get(key, harmless) != harmless:
            yield Diagnostic(
                "E0118",
                where,
                f"sets {key} to {layer.settings[key]!r}, which Keras 3 does not have",
                f"Only {key}={harmless!r} means the same without it.",
                "Load the model with tf_keras and export it as a SavedModel.",
            )


def _holds_code(value: object) -> bool:
    """Whether a layer's own settings (not those of layers inside it) hold a stored function."""
    if isinstance(value, dict):
        inner = [item for key, item in value.items() if key not in (*_INNER, *_INNER_LISTS)]
        return value.get("class_name") == "__lambda__" or any(map(_holds_code, inner))
    return isinstance(value, list) and any(map(_holds_code, value))


def _is_known(layer: SavedLayer, keras: Module) -> bool:
    if layer.module:  # Keras 3 files say where a class is from
        return layer.module.split(".")[0] in ("keras", "tensorflow", "builtins")
    return layer.class_name in _MODELS or hasattr(keras.layers, layer.class_name)


def shims(layers: list[SavedLayer], keras: Module) -> dict[str, type]:
    """Return, for each class with settings of Keras 2, one that drops them and builds Keras's own layer."""
    wanted = {
        layer.class_name
        for layer in layers
        if _KERAS_2_ONLY.get(layer.class_name, {}).keys() & layer.settings.keys()
    }
    return {name: _shim(getattr(keras.layers, name), set(_KERAS_2_ONLY[name])) for name in sorted(wanted)}


def _shim(layer: Any, dropped: set[str]) -> type:
    def from_config(cls: type, config: Config) -> object:
        return layer.from_config({key: value for key, value in config.items() if key not in dropped})

    return type(layer.__name__, (layer,), {"from_config": classmethod(from_config)})
