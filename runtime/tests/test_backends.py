"""Choosing an interpreter: order, refusals before a crash, and words for what is broken."""

from __future__ import annotations

import numpy as np
import pytest

from edgec_runtime import BackendError, Model, backends
from edgec_runtime.backends import (
    Backend,
    Package,
    explain_import_error,
    load_backend,
    numpy_conflict,
    register,
)

TFLITE_RUNTIME = backends.PACKAGES[1]


def with_versions(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    """Pretend that exactly these distributions are installed."""
    monkeypatch.setattr(Package, "version", property(lambda self: versions.get(self.distribution, "")))
    monkeypatch.setattr(Package, "installed", property(lambda self: self.distribution in versions))


def test_ai_edge_litert_comes_first():
    backend = load_backend()
    assert backend.name == "ai-edge-litert"
    assert backend.version[0].isdigit()


def test_tflite_runtime_with_numpy_2_is_refused_before_import(monkeypatch: pytest.MonkeyPatch):
    """Importing it would end the process; the module does not even exist here, so an import would be seen."""
    with_versions(monkeypatch, {"tflite-runtime": "2.14.0"})
    monkeypatch.setattr(backends.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    monkeypatch.setattr(numpy_conflict, "__defaults__", ("2.1.0",))
    with pytest.raises(
        BackendError, match=r'built for NumPy 1 and crashes with NumPy 2.1.0: run `pip install "numpy<2"`'
    ):
        load_backend()


@pytest.mark.parametrize(
    ("version", "numpy_version", "conflicts"),
    [
        ("2.14.0", "2.0.0", True),
        ("2.13.0", "2.4.6", True),
        ("2.14.0", "1.26.4", False),
        ("2.18.0", "2.0.0", False),
        ("", "2.0.0", False),
    ],
)
def test_numpy_conflict(monkeypatch: pytest.MonkeyPatch, version: str, numpy_version: str, conflicts: bool):
    """Up to 2.14, the last release on PyPI, it is built for NumPy 1; nothing is said about unknown builds."""
    with_versions(monkeypatch, {"tflite-runtime": version})
    assert bool(numpy_conflict(TFLITE_RUNTIME, numpy_version)) is conflicts


def test_other_interpreters_have_no_numpy_conflict(monkeypatch: pytest.MonkeyPatch):
    with_versions(monkeypatch, {"ai-edge-litert": "2.3.0"})
    assert numpy_conflict(backends.PACKAGES[0], "2.0.0") == ""


def test_nothing_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    with_versions(monkeypatch, {})
    with pytest.raises(BackendError, match=r'no interpreter is installed\. Run `pip install "ai-edge-'):
        load_backend()


def test_a_broken_first_choice_does_not_hide_the_next(monkeypatch: pytest.MonkeyPatch):
    """ai-edge-litert fails to import, tflite-runtime works: it is used."""
    with_versions(monkeypatch, {"ai-edge-litert": "9.9", "tflite-runtime": "9.9"})
    real = backends.importlib.import_module

    def importing(name: str) -> object:
        if name == "ai_edge_litert.interpreter":
            raise ImportError("libfoo.so: cannot open shared object file")
        return real("ai_edge_litert.interpreter")

    monkeypatch.setattr(backends.importlib, "import_module", importing)
    assert load_backend().name == "tflite-runtime"
    with pytest.raises(
        BackendError, match=r"ai-edge-litert 9\.9 is installed but cannot be imported: libfoo.so"
    ):
        load_backend("ai-edge-litert")


def test_glibc_errors_name_needed_and_found(monkeypatch: pytest.MonkeyPatch):
    with_versions(monkeypatch, {"ai-edge-litert": "2.3.0"})
    loader = "/lib/aarch64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by libLiteRt.so)"
    text = explain_import_error(backends.PACKAGES[0], loader, "2.31")
    assert text.startswith(
        "ai-edge-litert 2.3.0 needs glibc 2.34 or newer, this system has 2.31: use a newer OS"
    )
    assert 'pip install "ai-edge-litert<=2.1.0"' in text


def test_a_registered_backend_is_used(monkeypatch: pytest.MonkeyPatch, int8_copy: bytes):
    """Anything with the interpreter's methods will do; this one wraps the real one and counts."""
    monkeypatch.setattr(backends, "_registered", {})
    created: list[tuple[int, str]] = []

    def load() -> Backend:
        real = load_backend("ai-edge-litert")

        def create(source: backends.Source, threads: int, kernels: str) -> backends.Interpreter:
            created.append((threads, kernels))
            return real.create(source, threads, kernels)

        return Backend("mine", "1", create)

    register("mine", load)
    model = Model(int8_copy, threads=3, backend="mine", kernels="reference")
    assert model(np.zeros(4))["y"].ravel().tolist() == [0, 0, 0, 0]
    assert (model.backend.name, created) == ("mine", [(3, "reference")])
