"""A TFLite model as a function from real values to real values, by name.

real ──quantize──▶ raw ──interpreter──▶ raw ──dequantize──▶ real
     `run`, `__call__`   └── `run_raw` ──┘
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Union

import numpy as np

from edgec_runtime.backends import KERNELS, Backend, Interpreter, Source, load_backend
from edgec_runtime.delegate import DelegateState, delegate_state
from edgec_runtime.errors import BackendError, ModelFileError, RuntimeInputError
from edgec_runtime.flatbuffer_check import ModelFacts, read_model, read_model_file
from edgec_runtime.native_log import muted_native_stderr
from edgec_runtime.quantization import to_raw, to_real
from edgec_runtime.tensors import TensorInfo, input_infos, output_infos

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.generic]
    Values = Union[Mapping[str, ArrayLike], ArrayLike]

_FLOATS = {"float16", "float32", "float64"}
_INTEGERS = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"}


class Model:
    """A loaded model. Not thread-safe: one call at a time.

    Args:
        source: path of a .tflite file, or its bytes.
        threads: CPU threads for the kernels, at least 1.
        backend: "auto", or the distribution name of an interpreter (see `backends`).
        kernels: "auto" (XNNPACK, falling back to the builtin kernels), "xnnpack", "builtin" or "reference".

    Raises:
        ModelFileError: the file is missing, damaged, or no TFLite model.
        BackendError: no interpreter, or it cannot prepare this model.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes,
        threads: int = 1,
        backend: str = "auto",
        kernels: str = "auto",
    ) -> None:
        if threads < 1:
            raise BackendError(f"threads must be at least 1, got {threads}")
        if kernels not in KERNELS:
            raise BackendError(f"unknown kernels '{kernels}'; known are {', '.join(KERNELS)}")
        in_memory = isinstance(source, (bytes, bytearray, memoryview))
        self.source: Source = bytes(source) if in_memory else os.fspath(source)
        self.facts: ModelFacts = read_model(source) if in_memory else read_model_file(source)
        self.inputs: tuple[TensorInfo, ...] = input_infos(self.facts)
        self.outputs: tuple[TensorInfo, ...] = output_infos(self.facts)
        _require_runnable(self.inputs + self.outputs)
        self.threads = threads
        self.backend: Backend = load_backend(backend)
        self.interpreter, self.delegate = _prepare(self.backend, self.source, threads, kernels)

    def __repr__(self) -> str:
        return (
            f"<Model {_signature(self.inputs)} -> {_signature(self.outputs)} "
            f"on {self.backend.name} {self.backend.version}>"
        )

    def __call__(self, values: Values) -> dict[str, Array]:
        """Same as `run`."""
        return self.run(values)

    def run(self, values: Values) -> dict[str, Array]:
        """Run on real values and return real values, by name.

        Args:
            values: name -> array, or one array for a model with one input. Shapes as in `inputs`; a leading
            batch
                axis of 1 may be left out. Quantized inputs are quantized here (half to even, saturating).

        Returns:
            name -> array: float32 for quantized outputs, otherwise the output's own type.

        Raises:
            RuntimeInputError: a name, shape, type or value does not fit; says which input, expected and
            given.
        """
        self.set_raw(self.to_raw(values))
        self.invoke()
        return {info.name: to_real(self.get_raw(info), info) for info in self.outputs}

    def run_raw(self, values: Values) -> dict[str, Array]:
        """Run on values in the inputs' own types (no conversion) and return the outputs' own types.

        Raises:
            RuntimeInputError: as `run`, and for any other dtype than the input's.
        """
        raw = {info.name: array for info, array in self._by_input(values)}
        for info in self.inputs:
            if raw[info.name].dtype != np.dtype(info.dtype):
                given = raw[info.name].dtype
                raise RuntimeInputError(f"input '{info.name}': expected raw {info.dtype}, got {given}")
        self.set_raw(raw)
        self.invoke()
        return {info.name: self.get_raw(info) for info in self.outputs}

    def to_raw(self, values: Values) -> dict[str, Array]:
        """Check real values and convert them to what `set_raw` takes; raises as `run`."""
        return {info.name: to_raw(array, info) for info, array in self._by_input(values)}

    def set_raw(self, raw: Mapping[str, Array]) -> None:
        """Copy values of the right type and shape in; a model with free dimensions is resized to them."""
        resized = False
        for info in self.inputs:
            shape = raw[info.name].shape
            if -1 in info.shape_signature and shape != self.interpreter.get_tensor(info.index).shape:
                self.interpreter.resize_tensor_input(info.index, list(shape))
                resized = True
        if resized:
            self._allocate()
        for info in self.inputs:
            self.interpreter.set_tensor(info.index, raw[info.name])

    def invoke(self) -> None:
        """Run the kernels on the values that were set; this alone is what `bench` times.

        Raises:
            BackendError: a kernel failed.
        """
        try:
            self.interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"the model failed while running: {_one_line(error)}") from error

    def get_raw(self, info: TensorInfo) -> Array:
        """Return a copy of an output in its own type."""
        return self.interpreter.get_tensor(info.index)

    def reset_state(self) -> None:
        """Forget what stateful operators (LSTM, variables) kept from earlier calls."""
        self.interpreter.reset_all_variables()

    def _allocate(self) -> None:
        try:
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"the model does not accept these input shapes: {_one_line(error)}") from error

    def _by_input(self, values: Values) -> list[tuple[TensorInfo, Array]]:
        named = self._named(values)
        return [(info, _fitted(named[info.name], info)) for info in self.inputs]

    def _named(self, values: Values) -> Mapping[str, ArrayLike]:
        names = [info.name for info in self.inputs]
        if not isinstance(values, Mapping):
            if len(names) != 1:
                raise RuntimeInputError(
                    f"the model has {len(names)} inputs ({_quoted(names)}): "
                    f"expected a dict of name -> array, got one {type(values).__name__}"
                )
            return {names[0]: values}
        missing = [name for name in names if name not in values]
        unknown = [str(name) for name in values if name not in names]
        if missing or unknown:
            parts = [f"missing {_quoted(missing)}"] if missing else []
            parts += [f"unknown {_quoted(unknown)}"] if unknown else []
            raise RuntimeInputError(f"{' and '.join(parts)}: expected the inputs {_quoted(names)}")
        return values


def _prepare(
    backend: Backend, source: Source, threads: int, kernels: str
) -> tuple[Interpreter, DelegateState]:
    """Create and allocate; with "auto", a model that XNNPACK refuses runs on the builtin kernels instead."""
    attempts = ("xnnpack", "builtin") if kernels == "auto" else (kernels,)
    failures: list[str] = []
    for attempt in attempts:
        try:
            with muted_native_stderr():
                interpreter = backend.create(source, threads, attempt)
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            failures.append(_one_line(error))
            continue
        return interpreter, delegate_state(interpreter, kernels, attempt, failures[0] if failures else "")
    raise BackendError(f"{backend.name} {backend.version} cannot prepare this model: {failures[-1]}")


def _fitted(values: ArrayLike, info: TensorInfo) -> Array:
    """Return an array of the input's rank, or say what does not fit."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different length; older NumPy makes an object array of them
        array = np.array(None)
    if array.dtype == object:
        raise RuntimeInputError(
            f"input '{info.name}': expected an array of shape {list(info.shape)}, got values that form no "
            "rectangular array of numbers"
        )
    for shape in (array.shape, (1, *array.shape)):
        if len(shape) == len(info.shape) and all(
            want in (-1, have) for want, have in zip(info.shape_signature, shape)
        ):
            return array.reshape(shape)
    expected = ["any" if size == -1 else size for size in info.shape_signature]
    raise RuntimeInputError(
        f"input '{info.name}': expected shape [{', '.join(map(str, expected))}], got {list(array.shape)}"
    )


def _require_runnable(infos: tuple[TensorInfo, ...]) -> None:
    for info in infos:
        if info.dtype not in _FLOATS | _INTEGERS:
            raise ModelFileError(
                f"'{info.name}' has type {info.dtype}, which cannot be exchanged as an array"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _signature(infos: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{info.name}: {info.dtype}{list(info.shape)}" for info in infos)


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
