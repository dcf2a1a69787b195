"""Output files are whole or absent."""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgec.atomic_write import write_bytes, write_text
from edgec.diagnostics import CompileError


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_chunks_are_joined_in_order(tmp_path: Path) -> None:
    """Bytes, views and arrays are written back to back, arrays as their raw little-endian memory."""
    path = tmp_path / "model.tflite"
    write_bytes(path, [b"ab", memoryview(b"cd"), np.array([1, 2], dtype="<i2"), bytearray(b"e")])
    assert path.read_bytes() == b"abcd\x01\x00\x02\x00e"
    assert _names(tmp_path) == ["model.tflite"]


def test_text_is_utf8_with_its_own_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "report.md", "µs\r\nms\n")
    assert (tmp_path / "report.md").read_bytes() == b"\xc2\xb5s\r\nms\n"


def test_an_existing_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"a much longer older file")
    write_bytes(path, [b"new"])
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("emitter broke"), SystemExit(1)])
def test_a_failure_half_way_keeps_the_old_file_and_nothing_else(
    tmp_path: Path, failure: BaseException
) -> None:
    """Whatever interrupts the writing, the old bytes stay and the failure is not hidden."""
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"x" * 100_000
        assert len(_names(tmp_path)) == 2, "the temporary file lies in the same folder"
        raise failure

    with pytest.raises(type(failure)):
        write_bytes(path, chunks())
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["model.tflite"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_open_would_give(tmp_path: Path, umask: int, mode: int) -> None:
    """mkstemp's 0600 would lock a build server's artifact away from its web server."""
    old = os.umask(umask)
    try:
        write_bytes(tmp_path / "ours", [b""])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == mode


def test_an_existing_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.touch()
    path.chmod(0o640)
    write_bytes(path, [b"new"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    """Like open(): the file that the link names is replaced, not the link."""
    (tmp_path / "v2").mkdir()
    link = tmp_path / "latest.tflite"
    link.symlink_to("v2/model.tflite")
    write_bytes(link, [b"new"])
    assert link.is_symlink()
    assert (tmp_path / "v2" / "model.tflite").read_bytes() == b"new"


def test_the_longest_file_name_can_be_written(tmp_path: Path) -> None:
    """255 bytes is the limit of most file systems; the temporary name must not need more."""
    write_bytes(tmp_path / ("m" * 255), [b"new"])
    assert (tmp_path / ("m" * 255)).read_bytes() == b"new"


def _refused(path: Path) -> str:
    with pytest.raises(CompileError) as caught:
        write_bytes(path, [b"x" * 100_000])
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.where) == ("E0501", str(path))
    return str(diagnostic)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    text = _refused(tmp_path / "nowhere" / "model.tflite")
    assert "the folder does not exist. Create the folder first" in text
    assert _names(tmp_path) == []


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "the path is a folder. Give the name of a file inside it." in _refused(tmp_path / "out")
    assert _names(tmp_path) == ["out"]
    assert _names(tmp_path / "out") == []


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    assert "a part of the path is a file, not a folder" in _refused(tmp_path / "out" / "model.tflite")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "the file name is too long. Choose a shorter output name" in _refused(tmp_path / ("m" * 256))
    assert _names(tmp_path) == []


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert "symbolic links" in _refused(tmp_path / "loop")


def test_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    """A rename over /dev/null (run as root) would replace the device for the whole machine."""
    os.mkfifo(tmp_path / "pipe")
    assert "a device or a pipe" in _refused(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Root may write anywhere, so a test of permissions gives up that right for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("existing", [False, True])
def test_an_unwritable_place(existing: bool) -> None:
    """A closed folder and a read-only file are refused, as open() would refuse them."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to other users
        folder = Path(name)
        path = folder / "model.tflite"
        if existing:
            path.write_bytes(b"old")
            path.chmod(0o444)
        folder.chmod(0o777 if existing else 0o555)
        with _unprivileged():
            text = _refused(path)
        assert "may not be written. Choose another output path or change its permissions." in text
        assert _names(folder) == (["model.tflite"] if existing else [])
        folder.chmod(0o755)


def test_a_size_limit_of_the_system(tmp_path: Path) -> None:
    """A real failure of write(2) in the middle of the file leaves nothing behind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        text = _refused(tmp_path / "model.tflite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "larger than this system allows" in text
    assert _names(tmp_path) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems report a full disk only at fsync; the old file must survive that too."""
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "the disk is full. Free some space" in _refused(path)
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["model.tflite"]
