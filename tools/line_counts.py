"""Show how many lines of Python each folder holds, against a git revision: size as a fact for the reviewer.

    python tools/line_counts.py [REVISION]        default: HEAD, so what is not committed yet

Untracked files count, ignored ones do not. It informs and never fails a build.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
DEPTH = 2  # folders shown: edgec/passes, runtime/src


def main() -> None:
    """Print the table."""
    revision = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    before, now = lines_per_file(revision), lines_per_file(None)
    folders_before, folders_now = per_folder(before), per_folder(now)
    print(f"{'folder':<28} {'files':>6} {'lines':>7} {'since ' + revision[:12]:>18}")
    files = Counter(folder_of(path) for path in now)
    for folder in sorted(folders_before | folders_now):
        _row(folder, files[folder], folders_now[folder], folders_before[folder])
    _row("all", len(now), now.total(), before.total())


def lines_per_file(revision: str | None) -> Counter[str]:
    """Return the line count of every Python file at a revision, or in the work tree for None."""
    where = ["--untracked"] if revision is None else [revision]
    command = ["git", "grep", "-z", "--count", "-I", "-e", "", *where, "--", "*.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if found.returncode > 1:  # 1: no such file has a line, as in an empty repository
        sys.exit(f"line_counts: {found.stderr.strip()}")
    prefix = f"{revision}:" if revision else ""
    rows = (line.split("\0") for line in found.stdout.splitlines())
    return Counter({path.removeprefix(prefix): int(count) for path, count in rows})


def per_folder(files: Counter[str]) -> Counter[str]:
    """Sum the files' lines by folder."""
    folders: Counter[str] = Counter()
    for path, lines in files.items():
        folders[folder_of(path)] += lines
    return folders


def folder_of(path: str) -> str:
    """Return the first folders of a file's path."""
    return "/".join(PurePosixPath(path).parent.parts[:DEPTH]) or "."


def _row(folder: str, files: int, lines: int, before: int) -> None:
    print(f"{folder:<28} {files:>6} {lines:>7} {lines - before:>+18}")


if __name__ == "__main__":
    main()
