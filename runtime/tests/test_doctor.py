"""The doctor: every finding that is not good comes with its fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgec_runtime import backends, doctor
from edgec_runtime.doctor import FAIL, OK, WARN

LITERT = backends.PACKAGES[0]


def described(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("version", "status"), [((3, 8), FAIL), ((3, 9), OK), ((3, 14), OK), ((3, 15), WARN)]
)
def test_python(version: tuple[int, int], status: str):
    assert doctor.check_python(version).status == status


@pytest.mark.parametrize(
    ("machine", "bits", "status", "fix"),
    [
        ("x86_64", 64, OK, ""),
        ("aarch64", 64, OK, ""),
        ("aarch64", 32, WARN, "linux32 pip install edgec-runtime"),
        ("armv7l", 32, OK, ""),
        ("armv6l", 32, FAIL, "Raspberry Pi 2"),
    ],
)
def test_machine(machine: str, bits: int, status: str, fix: str):
    check = doctor.check_machine(machine, bits)
    assert check.status == status
    assert fix in check.fix


def test_musl_has_no_wheels():
    assert doctor.check_libc("", "Linux").status == FAIL
    assert doctor.check_libc("2.36", "Linux").status == OK
    assert doctor.check_libc("", "Darwin").status == OK


@pytest.mark.parametrize(
    ("machine", "bits", "python", "command"),
    [
        ("x86_64", 64, (3, 12), "pip install --force-reinstall ai-edge-litert"),
        ("aarch64", 64, (3, 13), "pip install --force-reinstall ai-edge-litert"),
        ("aarch64", 32, (3, 11), 'pip install "tflite-runtime>=2.13" "numpy<2"'),
        ("armv7l", 32, (3, 9), 'pip install "tflite-runtime>=2.13" "numpy<2"'),
        ("armv7l", 32, (3, 13), "no 32-bit ARM wheel exists for Python 3.12 or newer"),
    ],
)
def test_install_command_fits_the_machine(machine: str, bits: int, python: tuple[int, int], command: str):
    assert doctor.install_command(machine, bits, python).startswith(command)


def test_the_installed_interpreter_is_good():
    (check,) = [one for one in doctor.check_interpreters() if "ai-edge-litert" in one.text]
    assert check.status == OK
    assert "imports" in check.text


def test_needed_glibc_is_read_from_the_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """2.9 is older than 2.34: versions are numbers, not text."""
    package = tmp_path / "fake_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_a.so").write_bytes(b"\0GLIBC_2.9\0GLIBC_2.17\0")
    (package / "libb.so.1").write_bytes(b"\0GLIBC_2.34\0")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor.needed_glibc(backends.Package("fake", "fake_package.sub")) == "2.34"


def test_a_too_old_glibc_is_a_failure_with_both_versions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "needed_glibc", lambda package: "2.34")
    monkeypatch.setattr(doctor, "glibc_version", lambda: "2.31")
    check = doctor.check_interpreter(LITERT)
    assert check.status == FAIL
    assert "needs glibc 2.34, this system has 2.31" in check.text
    assert "ai-edge-litert<=2.1.0" in check.fix


def test_no_interpreter_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "PACKAGES", ())
    (check,) = doctor.check_interpreters()
    assert check.status == FAIL
    assert check.fix.startswith("pip install")


def test_a_broken_second_interpreter_is_only_a_warning(monkeypatch: pytest.MonkeyPatch):
    """It is never reached, because the first one works."""
    broken = backends.Package("numpy", "numpy.no_such_module")
    monkeypatch.setattr(doctor, "PACKAGES", (LITERT, broken))
    assert [check.status for check in doctor.check_interpreters()] == [OK, WARN]


def test_native_crashes_are_seen_from_outside():
    assert doctor.probe(["-c", "import os; os.abort()"]) == "crashed natively (SIGABRT)"
    assert doctor.probe(["-c", "raise SystemExit('bad luck')"]) == "bad luck"
    assert doctor.probe(["-c", "pass"]) == ""


def test_a_child_that_cannot_start_is_a_finding(monkeypatch: pytest.MonkeyPatch):
    """Sandboxes and emulators may forbid it; embedded Pythons have no executable at all."""
    monkeypatch.setattr(doctor.sys, "executable", "/no/such/python")
    assert doctor.probe(["-c", "pass"]) == (
        "/no/such/python cannot be started as a child process: No such file or directory"
    )


def test_conditions_of_a_hot_throttled_board(tmp_path: Path):
    root = described(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
            "sys/class/thermal/thermal_zone0/temp": "82000",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "4",
        },
    )
    checks = {check.name: check for check in doctor.check_conditions(root)}
    assert [check.status for check in checks.values()] == [WARN, WARN, WARN]
    assert "tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor" in checks["governor"].fix
    assert "82.0 °C" in checks["temperature"].text
    assert checks["throttling"].text == "throttled now"


def test_conditions_of_a_calm_board(tmp_path: Path):
    root = described(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
            "sys/class/thermal/thermal_zone0/temp": "45000",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
        },
    )
    assert all(check.status == OK and not check.fix for check in doctor.check_conditions(root))


def test_little_memory_and_full_swap(tmp_path: Path):
    text = "MemTotal: 900000 kB\nMemAvailable: 50000 kB\nSwapTotal: 100000 kB\nSwapFree: 10000 kB\n"
    memory, swap = doctor.check_memory(described(tmp_path, {"proc/meminfo": text}))
    assert (memory.status, swap.status) == (WARN, WARN)
    assert memory.text == "49 MiB free of 879"
    assert swap.text == "88 MiB used of 98"


def test_a_good_model(saved, difference: bytes):
    checks = list(doctor.check_model(saved(difference)))
    assert [(check.name, check.status) for check in checks] == [("file", OK), ("model run", OK)]


def test_a_truncated_model_is_not_run(saved, difference: bytes):
    (check,) = doctor.check_model(saved(difference[:200]))
    assert check.status == FAIL
    assert "truncated or damaged" in check.text


def test_a_model_that_cannot_run_says_why(saved, new_model):
    """An operator version from the future: the interpreter refuses it in the child process."""
    model = new_model()
    x, y = model.tensor("x", [2]), model.tensor("y", [2])
    model.operator("ABS", [x], [y], version=99)
    check = list(doctor.check_model(saved(model.build([x], [y]))))[-1]
    assert (check.name, check.status) == ("model run", FAIL)
    assert "version '99'" in check.text


def test_command_exit_codes(command, saved, difference: bytes):
    """One failing check is enough for exit 1; every line that is not ok shows its fix."""
    good = command("doctor", saved(difference), "--json")
    assert good.returncode == 0
    assert {check["status"] for check in json.loads(good.stdout)["checks"]} <= {OK, WARN}
    bad = command("doctor", saved(difference[:50], "cut.tflite"))
    assert bad.returncode == 1
    assert "fix: copy or compile the model again" in bad.stdout
