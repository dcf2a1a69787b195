"""Outputs are whole or absent."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

import pytest

from edgec_runtime.atomic_write import OutputError, write_atomic


def test_a_new_file_is_readable_as_any_other(tmp_path: Path):
    """Temporary files are private; the result has the permissions that open() gives."""
    write_atomic(tmp_path / "out", lambda file: file.write(b"whole"))
    (tmp_path / "plain").touch()
    assert (tmp_path / "out").read_bytes() == b"whole"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_stay_links(tmp_path: Path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_atomic(tmp_path / "link", lambda file: file.write(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize(("name", "reason"), [("none/out", "No such file"), (".", "folder or a device")])
def test_unwritable_places_are_named(tmp_path: Path, name: str, reason: str):
    with pytest.raises(OutputError, match=rf"cannot be written: .*{reason}"):
        write_atomic(tmp_path / name, lambda file: file.write(b""))
