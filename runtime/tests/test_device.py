"""Facts read from a described machine: a folder that stands in for /proc and /sys."""

from __future__ import annotations

from pathlib import Path

from edgec_runtime.device import conditions, device_facts, memory_info, python_bits, throttled, usable_cores
from edgec_runtime.process import maxrss_bytes, peak_resident_bytes, resident_bytes


def raspberry_pi(root: Path) -> Path:
    """A Raspberry Pi 4 as its kernel describes it."""
    files = {
        "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU part\t: 0xd08\n" * 4,
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/meminfo": "MemTotal:        3884360 kB\nMemAvailable:    3000000 kB\n",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1800000\n",
        "sys/class/thermal/thermal_zone0/temp": "48199\n",
        "sys/class/thermal/thermal_zone1/temp": "-274000\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_raspberry_pi_is_described(tmp_path: Path):
    facts = device_facts(raspberry_pi(tmp_path))
    assert facts.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts.cpu == "Cortex-A72"
    assert facts.cpu_flags == ("asimd",)
    assert facts.max_mhz == 1800
    assert facts.memory_bytes == 3884360 * 1024
    assert facts.os == "Debian GNU/Linux 12 (bookworm)"


def test_its_conditions(tmp_path: Path):
    """The zone without a sensor (-274 °C) does not count."""
    now = conditions(raspberry_pi(tmp_path))
    assert (now.governor, now.mhz, now.temperature_c) == ("ondemand", 600, 48.199)
    assert now.throttled == (
        "under-voltage now",
        "throttled now",
        "under-voltage has occurred",
        "throttling has occurred",
    )


def test_an_x86_machine(tmp_path: Path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "model name\t: Some CPU @ 3 GHz\nflags\t\t: fpu sse4_1 avx2 avx512_vnni\n"
    )
    facts = device_facts(tmp_path)
    assert (facts.cpu, facts.cpu_flags) == ("Some CPU @ 3 GHz", ("sse4_1", "avx2", "avx512_vnni"))


def test_what_is_not_told_is_not_guessed(tmp_path: Path):
    """An empty machine: no files at all."""
    facts, now = device_facts(tmp_path), conditions(tmp_path)
    assert (facts.board, facts.max_mhz, facts.memory_bytes) == ("", None, None)
    assert (now.governor, now.mhz, now.temperature_c, now.throttled) == ("", None, None, None)
    assert memory_info(tmp_path) == {}


def test_no_throttling_is_an_empty_list_not_unknown(tmp_path: Path):
    path = raspberry_pi(tmp_path) / "sys/devices/platform/soc/soc:firmware/get_throttled"
    path.write_text("0\n")
    assert throttled(tmp_path) == ()


def test_this_process():
    """Peak is never below what is in RAM now; a Python with NumPy takes more than 10 MiB."""
    assert python_bits() in (32, 64)
    assert usable_cores() >= 1
    resident, peak = resident_bytes(), peak_resident_bytes()
    assert peak is not None
    assert peak > 10 * 2**20
    assert resident is None or resident <= peak


def test_units_of_maxrss():
    """getrusage(2): macOS counts bytes, Linux and the BSDs KiB."""
    assert maxrss_bytes(1000, "linux") == 1024000
    assert maxrss_bytes(1000, "darwin") == 1000
