"""The version of this package, kept here only; the wheel's metadata is read from it."""

from __future__ import annotations

__version__ = "0.1.0"
