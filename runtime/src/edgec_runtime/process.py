"""What this process uses: memory and threads, in bytes and counts on every system that tells."""

from __future__ import annotations

import re
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int | None:
    """Return the memory that is in RAM now; None where only the peak is known (macOS, Windows)."""
    return _status("VmRSS")


def peak_resident_bytes() -> int | None:
    """Return the largest memory in RAM since the program started.

    Linux: VmHWM, because ru_maxrss also counts the parent's pages between fork and exec. Elsewhere ru_maxrss,
    which macOS gives in bytes and the BSDs in KiB.
    """
    peak = _status("VmHWM")
    if peak is not None or resource is None:
        return peak
    return maxrss_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sys.platform)


def maxrss_bytes(value: int, system: str) -> int:
    """Convert ru_maxrss to bytes: macOS counts bytes, every other system KiB."""
    return value if system == "darwin" else 1024 * value


def thread_count() -> int | None:
    """Return how many threads the process has, native ones included."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else None


def _status(name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found.group(1)) if found else None
