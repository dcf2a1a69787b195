"""One fault in one file, in the reader's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from edgec.frontends.tflite.load import TfliteFile

Table = Any  # objects of the generated schema module, which has no type annotations


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong and where; `mended` says what `--fix` does about it, empty where it can do nothing."""

    fault: str
    where: str
    what: str
    why: str
    mended: str = ""

    @property
    def can_be_mended(self) -> bool:
        """Whether `--fix` repairs it."""
        return bool(self.mended)

    def __str__(self) -> str:
        return f"{self.fault}: {self.where}: {self.what}. {self.why}"


class Find(Protocol):
    """Looks for one fault."""

    def __call__(self, file: TfliteFile) -> Iterator[Finding]:
        """Yield a finding for each place."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """A known fault: how it is found, and how tables are repaired (None: writing the file again does it).

    `mend` changes the file's tables in place and is harmless where the fault is absent.
    """

    name: str
    find: Find
    mend: Callable[[TfliteFile], None] | None = None
