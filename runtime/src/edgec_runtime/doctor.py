"""Checks of the environment, each with what was found and what to type when it is not good.

Whatever may crash the process (a broken extension, a kernel on a damaged model) is tried in a child process.
"""

from __future__ import annotations

import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np

from edgec_runtime.backends import PACKAGES, Package, explain_import_error, numpy_conflict
from edgec_runtime.device import ROOT, conditions, glibc_version, memory_info, python_bits
from edgec_runtime.errors import ModelFileError
from edgec_runtime.flatbuffer_check import read_model_file
from edgec_runtime.manifest import check_manifest, sha256_of

OK, WARN, FAIL = "ok", "warn", "fail"
_TESTED_PYTHON = ((3, 9), (3, 14))
_PROBE_SECONDS = 120
_HOT = 80.0  # °C; a Raspberry Pi lowers its clock from here on (raspberrypi.com, "Frequency management")
_LITTLE_MEMORY = 100 * 2**20


@dataclass(frozen=True)
class Check:
    """One finding: `status` is ok, warn or fail; `fix` is a command or an action, empty when ok."""

    name: str
    status: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{self.status:<4} {self.name:<12} {self.text}"
        return f"{line}\n{'':<18}fix: {self.fix}" if self.fix else line


def examine(model: Path | None = None) -> list[Check]:
    """Run all checks; with a model, also those of the file."""
    checks = [
        check_python(sys.version_info[:2]),
        check_machine(),
        check_libc(glibc_version(), platform.system()),
    ]
    checks.append(Check("numpy", OK, np.__version__))
    checks += check_interpreters()
    checks += [*check_conditions(), *check_memory()]
    if model is not None:
        checks += check_model(model)
    return checks


def check_python(version: tuple[int, int]) -> Check:
    """Tell whether this Python is among those that the package is made for."""
    low, high = _TESTED_PYTHON
    text = f"{platform.python_implementation()} {version[0]}.{version[1]}"
    if version < low:
        return Check("python", FAIL, f"{text} is too old", "use Python 3.9 to 3.14")
    if version > high:
        return Check(
            "python", WARN, f"{text} is newer than any tested one", "use Python 3.9 to 3.14 if it misbehaves"
        )
    return Check("python", OK, text)


def check_machine(machine: str | None = None, bits: int | None = None) -> Check:
    """Tell the architecture, and name the trap of 32-bit Python on a 64-bit kernel."""
    machine, bits = machine or platform.machine(), bits or python_bits()
    text = f"{machine}, {bits}-bit Python"
    if machine == "armv6l":
        return Check(
            "machine", FAIL, f"{text}: no interpreter has wheels for ARMv6", "use a Raspberry Pi 2 or newer"
        )
    if machine in ("aarch64", "arm64") and bits == 32:
        fix = "use a 64-bit OS, or `linux32 pip install edgec-runtime`: pip then looks for 32-bit wheels"
        return Check("machine", WARN, f"{text}: a 32-bit system on a 64-bit kernel", fix)
    return Check("machine", OK, text)


def check_libc(glibc: str, system: str) -> Check:
    """Tell the C library; interpreters have wheels for glibc only on Linux."""
    if system == "Linux" and not glibc:
        return Check(
            "libc", FAIL, "not glibc (musl?): no interpreter has wheels for it", "use a glibc-based system"
        )
    return Check("libc", OK, f"glibc {glibc}" if glibc else f"{system}'s own")


def check_interpreters() -> list[Check]:
    """Check every installed interpreter; there must be one that imports."""
    found = [check_interpreter(package) for package in PACKAGES if package.installed]
    if not found:
        return [Check("interpreter", FAIL, "none is installed", install_command())]
    if any(check.status == OK for check in found):  # one works: a broken second one is never reached
        found = [Check(one.name, WARN, one.text, one.fix) if one.status == FAIL else one for one in found]
    return found


def check_interpreter(package: Package) -> Check:
    """Check one installed interpreter: NumPy, glibc, then a real import in a child process."""
    label = f"{package.distribution} {package.version or '(version unknown)'}"
    conflict = numpy_conflict(package)
    if conflict:
        return Check("interpreter", FAIL, conflict, 'pip install "numpy<2"')
    have, need = glibc_version(), needed_glibc(package)
    if have and need and _version(need) > _version(have):
        text = f"{label} needs glibc {need}, this system has {have}"
        return Check(
            "interpreter", FAIL, text, 'use a newer OS release, or: pip install "ai-edge-litert<=2.1.0"'
        )
    problem = probe(["-c", f"import {package.module}"])
    if problem:
        return Check("interpreter", FAIL, explain_import_error(package, problem, have), install_command())
    return Check(
        "interpreter", OK, f"{label} imports, numpy {np.__version__}" + (f", glibc >= {need}" if need else "")
    )


def install_command(
    machine: str | None = None, bits: int | None = None, python: tuple[int, int] | None = None
) -> str:
    """Return what to type to get an interpreter here, or why there is nothing to type."""
    machine, bits = machine or platform.machine(), bits or python_bits()
    python = python or (sys.version_info[0], sys.version_info[1])
    arm = machine.startswith(("arm", "aarch"))
    if not (arm and bits == 32):
        return "pip install --force-reinstall ai-edge-litert"
    if python >= (3, 12):
        return "no 32-bit ARM wheel exists for Python 3.12 or newer: use a 64-bit OS, or Python 3.9 to 3.11"
    return 'pip install "tflite-runtime>=2.13" "numpy<2"'


def needed_glibc(package: Package) -> str:
    """Return the newest GLIBC symbol version that the package's libraries ask for, read from the files.

    Wheel tags are not to be trusted here: ai-edge-litert 2.1.6 and later promise 2.27 and need 2.34.
    """
    spec = util.find_spec(package.module.partition(".")[0])
    folders = spec.submodule_search_locations if spec else None
    if not folders or package.distribution == "tensorflow":  # a gigabyte to read, and its tag is right
        return ""
    files = (path for folder in folders for path in Path(folder).rglob("*.so*"))
    versions = {found for path in files for found in re.findall(rb"GLIBC_(2\.\d+)", path.read_bytes())}
    return max((version.decode() for version in versions), key=_version, default="")


def check_conditions(root: Path = ROOT) -> Iterator[Check]:
    """Check what makes timings wander: governor, heat, power."""
    now = conditions(root)
    if not now.governor:
        yield Check("governor", OK, "not exposed by this system")
    elif now.governor == "performance":
        yield Check("governor", OK, "performance")
    else:
        fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield Check("governor", WARN, f"{now.governor}: the clock follows the load, timings wander", fix)
    if now.temperature_c is None:
        yield Check("temperature", OK, "not exposed by this system")
    elif now.temperature_c >= _HOT:
        text = f"{now.temperature_c:.1f} °C: the clock is lowered from {_HOT:.0f} °C on"
        yield Check("temperature", WARN, text, "let it cool down, add a heat sink or a fan")
    else:
        yield Check("temperature", OK, f"{now.temperature_c:.1f} °C")
    if now.throttled:
        fix = "use the board's own power supply and cooling, then reboot to clear what has occurred"
        yield Check("throttling", WARN, ", ".join(now.throttled), fix)
    elif now.throttled is not None:
        yield Check("throttling", OK, "none since boot")


def check_memory(root: Path = ROOT) -> Iterator[Check]:
    """Check free memory and swap."""
    memory = memory_info(root)
    if "MemAvailable" not in memory:
        yield Check("memory", OK, "not exposed by this system")
        return
    free, total = memory["MemAvailable"], memory.get("MemTotal", 0)
    text = f"{free / 2**20:.0f} MiB free of {total / 2**20:.0f}"
    if free < _LITTLE_MEMORY:
        yield Check("memory", WARN, text, "stop other programs: see `ps aux --sort=-rss | head`")
    else:
        yield Check("memory", OK, text)
    used, size = memory.get("SwapTotal", 0) - memory.get("SwapFree", 0), memory.get("SwapTotal", 0)
    text = f"{used / 2**20:.0f} MiB used of {size / 2**20:.0f}"
    if size and used > size / 2:
        yield Check(
            "swap", WARN, text, "stop other programs: what is swapped out makes runs many times slower"
        )
    else:
        yield Check("swap", OK, text)


def check_model(path: Path) -> Iterator[Check]:
    """Check a model file: structure, manifest, then one run in a child process."""
    try:
        facts = read_model_file(path)
    except ModelFileError as error:
        yield Check("file", FAIL, str(error), "copy or compile the model again")
        return
    operators = sum(len(graph.operators) for graph in facts.subgraphs)
    yield Check("file", OK, f"{path}: {facts.size_bytes} bytes, {operators} operators, structure is whole")
    manifest = check_manifest(path, sha256_of(path))
    if manifest.status == "mismatch":
        yield Check("manifest", FAIL, manifest.problem, "copy model and manifest again together")
    elif manifest.status == "match":
        yield Check("manifest", OK, f"{manifest.path} matches")
    problem = probe(["-m", "edgec_runtime", "run", str(path), "--random", "0"])
    if problem:
        yield Check("model run", FAIL, problem, "compile the model for this board's runtime version")
    else:
        yield Check("model run", OK, "one run on random values")


def probe(arguments: list[str]) -> str:
    """Run this Python in a child process; return the last line of its complaint, empty if good."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PROBE_SECONDS} s"
    except OSError as error:
        return f"{sys.executable or 'Python'} cannot be started as a child process: {error.strerror or error}"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"crashed natively ({signal.Signals(-done.returncode).name})"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def failed(checks: Iterable[Check]) -> bool:
    """Tell whether any check failed."""
    return any(check.status == FAIL for check in checks)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
