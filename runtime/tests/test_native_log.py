"""Native chatter stays off the terminal, and standard error works again afterwards."""

from __future__ import annotations

import os

import pytest

from edgec_runtime.native_log import muted_native_stderr


def test_only_the_block_is_muted(capfd: pytest.CaptureFixture[str]) -> None:
    with muted_native_stderr():
        os.write(2, b"inside")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_standard_error_comes_back_after_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="wanted"), muted_native_stderr():
        raise ValueError("wanted")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
