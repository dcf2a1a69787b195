"""Facts about the machine that a latency figure means nothing without: what it is, and what state it is in.

Everything is read from files and the standard library; what a system does not tell is None or empty, never
guessed. `root` stands in front of /proc and /sys so that tests can describe another machine.
"""

from __future__ import annotations

import os
import platform
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")

# Flags that decide which kernels XNNPACK picks; sources: XNNPACK's src/configs, Linux arm64 elf_hwcaps.rst.
_ARM_FLAGS = ("neon", "asimd", "asimddp", "asimdhp", "fphp", "i8mm", "bf16", "sve", "sve2")
_X86_FLAGS = ("sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8")
_ARM_PARTS = {  # MIDR part numbers, Arm's technical reference manuals
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xc08": "Cortex-A8",
    "0xc09": "Cortex-A9",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd41": "Cortex-A78",
}
_THROTTLE_BITS = {  # raspberrypi.com documentation, vcgencmd get_throttled
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage has occurred",
    17: "frequency capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}


@dataclass(frozen=True)
class DeviceFacts:
    """What the machine is; does not change while it runs."""

    board: str
    cpu: str
    cores: int
    usable_cores: int
    arch: str
    bits: int
    cpu_flags: tuple[str, ...]
    max_mhz: float | None
    memory_bytes: int | None
    os: str
    kernel: str
    libc: str
    python: str


@dataclass(frozen=True)
class Conditions:
    """The state the machine is in now."""

    governor: str
    mhz: float | None
    temperature_c: float | None
    throttled: tuple[str, ...] | None
    load_average: float | None


def device_facts(root: Path = ROOT) -> DeviceFacts:
    """Describe this machine."""
    return DeviceFacts(
        board=_text(root / "proc/device-tree/model"),
        cpu=_cpu_name(root),
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        arch=platform.machine(),
        bits=python_bits(),
        cpu_flags=_cpu_flags(root),
        max_mhz=_megahertz(root, "cpuinfo_max_freq"),
        memory_bytes=memory_info(root).get("MemTotal"),
        os=_os_name(root),
        kernel=platform.release(),
        libc=f"glibc {glibc_version()}" if glibc_version() else "",
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def conditions(root: Path = ROOT) -> Conditions:
    """Read frequency, temperature, throttling and load."""
    return Conditions(
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        mhz=_megahertz(root, "scaling_cur_freq"),
        temperature_c=temperature(root),
        throttled=throttled(root),
        load_average=_load_average(),
    )


def usable_cores() -> int:
    """Return how many cores this process may use (containers and `taskset` narrow it)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def python_bits() -> int:
    """Return 32 or 64: of Python, not of the kernel (a 32-bit Raspberry Pi OS may run a 64-bit kernel)."""
    return 8 * struct.calcsize("P")


def glibc_version() -> str:
    """Return the C library's version, empty where it is not glibc (musl, macOS, Windows)."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""
    return text.rpartition(" ")[2]


def temperature(root: Path = ROOT) -> float | None:
    """Return the hottest thermal zone in °C."""
    found: list[float] = []
    for path in sorted((root / "sys/class/thermal").glob("thermal_zone*/temp")):
        value = _number(path)
        if value is not None and 0 < value < 200_000:  # some zones report nonsense when their sensor is off
            found.append(value / 1000)
    return max(found) if found else None


def throttled(root: Path = ROOT) -> tuple[str, ...] | None:
    """Return what a Raspberry Pi's firmware says about its power and heat; None on other machines."""
    text = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if not text and root == ROOT and "Raspberry Pi" in _text(root / "proc/device-tree/model"):
        text = _output(["vcgencmd", "get_throttled"]).rpartition("=")[2]
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    return tuple(words for bit, words in _THROTTLE_BITS.items() if bits >> bit & 1)


def memory_info(root: Path = ROOT) -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    return {
        name: 1024 * int(kib) for name, kib in re.findall(r"(\w+):\s+(\d+) kB", _text(root / "proc/meminfo"))
    }


def _cpu_name(root: Path) -> str:
    text = _text(root / "proc/cpuinfo")
    parts = re.findall(r"^CPU part\s*:\s*(\w+)", text, re.MULTILINE)
    if parts:
        names = dict.fromkeys(_ARM_PARTS.get(part.lower(), f"ARM part {part}") for part in parts)
        return " + ".join(names)
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if name:
        return name.group(1).strip()
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return platform.processor()


def _cpu_flags(root: Path) -> tuple[str, ...]:
    line = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    present = set(line.group(1).split()) if line else set()
    return tuple(flag for flag in _ARM_FLAGS + _X86_FLAGS if flag in present)


def _megahertz(root: Path, name: str) -> float | None:
    value = _number(root / "sys/devices/system/cpu/cpu0/cpufreq" / name)
    return None if value is None else value / 1000


def _os_name(root: Path) -> str:
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text(root / "etc/os-release"), re.MULTILINE)
    return name.group(1) if name else platform.system()


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
