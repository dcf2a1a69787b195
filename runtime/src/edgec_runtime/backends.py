"""Which interpreter runs the model, behind one small interface.

    ai_edge_litert ──▶ tflite_runtime ──▶ tensorflow.lite     the first that works; `register` adds one

All three share one Python API; what differs is the module, its version and what breaks on import. An
installed package that would crash the process (NumPy 1 extension under NumPy 2) is refused before it is
imported.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, Union, cast

import numpy as np

from edgec_runtime.errors import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNELS = ("auto", "xnnpack", "builtin", "reference")
"""auto: XNNPACK, or the builtin kernels where XNNPACK cannot prepare the model; the others: exactly that."""

_RESOLVERS = {
    "xnnpack": "AUTO",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
_LAST_NUMPY1_TFLITE_RUNTIME = (2, 14)


class Interpreter(Protocol):
    """The part of the TFLite Python interpreter that is used here."""

    def allocate_tensors(self) -> None:
        """Prepare all operators; raises RuntimeError or ValueError when one refuses."""

    def invoke(self) -> None:
        """Run all operators."""

    def set_tensor(self, tensor_index: int, value: NDArray[np.generic]) -> None:
        """Copy a value in."""

    def get_tensor(self, tensor_index: int) -> NDArray[np.generic]:
        """Copy a value out."""
        ...

    def resize_tensor_input(self, input_index: int, tensor_size: list[int]) -> None:
        """Give an input another shape; `allocate_tensors` must follow."""

    def reset_all_variables(self) -> None:
        """Set the state of stateful operators to zero."""


Source = Union[str, bytes]
"""A path (the file is mapped, its weights are shared with the page cache) or the bytes themselves."""


@dataclass(frozen=True)
class Backend:
    """One interpreter package, imported and ready: `create(source, threads, kernels)`."""

    name: str
    version: str
    create: Callable[[Source, int, str], Interpreter]


@dataclass(frozen=True)
class Package:
    """Where a backend comes from: distribution on PyPI, module to import, and how to find its classes."""

    distribution: str
    module: str

    @property
    def version(self) -> str:
        """The installed version, empty if it is not known."""
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return ""

    @property
    def installed(self) -> bool:
        """Tell whether the module could be imported, without importing it."""
        return util.find_spec(self.module.partition(".")[0]) is not None


PACKAGES = (
    Package("ai-edge-litert", "ai_edge_litert.interpreter"),
    Package("tflite-runtime", "tflite_runtime.interpreter"),
    Package("tensorflow", "tensorflow.lite"),
)
_registered: dict[str, Callable[[], Backend]] = {}


def register(name: str, load: Callable[[], Backend]) -> None:
    """Add a backend of your own for `Model(..., backend=name)`; `load` is called when it is used."""
    _registered[name] = load


def load_backend(name: str = "auto") -> Backend:
    """Import an interpreter: the named one, or with "auto" the first installed one that works.

    Raises:
        BackendError: unknown name, nothing installed, or none that can be imported; says what to install.
    """
    if name in _registered:
        return _registered[name]()
    wanted = [package for package in PACKAGES if name in ("auto", package.distribution)]
    if not wanted:
        known = ", ".join(["auto", *(package.distribution for package in PACKAGES), *_registered])
        raise BackendError(f"unknown backend '{name}'; known are {known}")
    reasons: list[str] = []
    for package in wanted:
        if not package.installed:
            continue
        try:
            return _load(package)
        except BackendError as error:
            reasons.append(str(error))
    if reasons:
        raise BackendError("; ".join(reasons))
    raise BackendError(f"no interpreter is installed. {install_hint(wanted[0].distribution)}")


def install_hint(distribution: str) -> str:
    """Say what to type; `doctor` knows whether this machine has a wheel for it."""
    return f'Run `pip install "{distribution}"`; `edgec-runtime doctor` tells which one fits this machine'


def numpy_conflict(package: Package, numpy_version: str = np.__version__) -> str:
    """Return why this package would crash with this NumPy, or an empty text."""
    found = _numbers(package.version)
    if package.distribution != "tflite-runtime" or _numbers(numpy_version)[:1] < (2,) or not found:
        return ""
    if found[:2] > _LAST_NUMPY1_TFLITE_RUNTIME:
        return ""
    return (
        f"tflite-runtime {package.version} is built for NumPy 1 and crashes with NumPy {numpy_version}: "
        'run `pip install "numpy<2"`'
    )


def explain_import_error(package: Package, text: str, glibc: str) -> str:
    """Turn the loader's words into what is needed, what is there, and what to do."""
    label = f"{package.distribution} {package.version}".strip()
    needed = re.search(r"version [`']GLIBC_([\d.]+)' not found", text)
    if needed:
        return (
            f"{label} needs glibc {needed.group(1)} or newer, this system has {glibc or 'an older one'}: "
            'use a newer OS release, or run `pip install "ai-edge-litert<=2.1.0"` (needs glibc 2.30)'
        )
    last_line = (text.strip().splitlines() or ["no reason given"])[-1]
    return f"{label} is installed but cannot be imported: {last_line}"


def _load(package: Package) -> Backend:
    conflict = numpy_conflict(package)
    if conflict:
        raise BackendError(conflict)
    try:
        module = importlib.import_module(package.module)
    except Exception as error:  # a broken extension raises ImportError, SystemError, AttributeError, ...
        from edgec_runtime.device import glibc_version

        raise BackendError(explain_import_error(package, str(error), glibc_version())) from error
    return Backend(package.distribution, package.version or "unknown", _Factory(module))


@dataclass(frozen=True)
class _Factory:
    """Creates interpreters from a module with the TFLite Python API."""

    module: ModuleType

    def __call__(self, source: Source, threads: int, kernels: str) -> Interpreter:
        experimental = getattr(
            self.module, "experimental", self.module
        )  # tensorflow.lite keeps the enum there
        resolver = getattr(experimental.OpResolverType, _RESOLVERS[kernels])
        key = "model_content" if isinstance(source, bytes) else "model_path"
        created = self.module.Interpreter(
            **{key: source}, num_threads=threads, experimental_op_resolver_type=resolver
        )
        return cast(Interpreter, created)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
