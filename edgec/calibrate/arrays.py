"""Arrays on disk as streams of rows: `.npy` files and the members of `.npz` files.

    open ──▶ read the header ──▶ compare its size with the bytes there ──▶ read row by row

A compressed member cannot be mapped and must not be loaded whole, so all C-ordered arrays are read row by
row through one code path; memory is one row. Fortran-ordered arrays (the first axis varies fastest, so a row
is spread over the whole file) are mapped, after spooling to a temporary file if they sit in a zip.
Header format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.samples import Array
from edgec.diagnostics import CompileError

_ZIP_MAGIC, _NPY_MAGIC = b"PK", b"\x93NUMPY"


class Column(Protocol):
    """An array whose first axis counts samples."""

    @property
    def name(self) -> str:
        """The array's name in its file."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, samples first."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        ...

    @property
    def path(self) -> Path | None:
        """The file that holds the array, or None."""
        ...

    def rows(self) -> Iterator[Array]:
        """Yield the rows from the first on; raises `CompileError` for damaged data."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryColumn:
    """An array that is already in memory."""

    name: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The array's element type."""
        return self.array.dtype

    @property
    def path(self) -> None:
        """No file holds the array."""

    def rows(self) -> Iterator[Array]:
        """Yield views of the rows."""
        for index in range(len(self.array)):
            yield np.asarray(self.array[index])


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """Where an array is stored: a file of its own, or a member of a zip."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}[{self.member.removesuffix('.npy')}]"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the array's bytes, decompressed on the fly."""
        if self.member is None:
            with self.path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                yield stream


@dataclass(frozen=True, slots=True)
class FileColumn:
    """An array in a file, read on demand."""

    name: str
    place: ArrayPlace
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool
    offset: int

    @property
    def path(self) -> Path:
        """The file that holds the array."""
        return self.place.path

    def rows(self) -> Iterator[Array]:
        """Yield the rows; raises `CompileError` when the file ends early or its checksum is wrong."""
        try:
            yield from self._mapped_rows() if self.fortran else self._streamed_rows()
        except CompileError:
            raise
        except Exception as error:  # zip and deflate decoders raise many types on damaged bytes
            raise _damaged(str(self.place), problems.cause_text(error)) from None

    def _streamed_rows(self) -> Iterator[Array]:
        row_shape = self.shape[1:]
        row_bytes = math.prod(row_shape) * self.dtype.itemsize
        with self.place.open() as stream:
            stream.read(self.offset)
            for index in range(self.shape[0]):
                data = stream.read(row_bytes)
                if len(data) != row_bytes:
                    raise _damaged(str(self.place), f"it ends in row {index} of {self.shape[0]}")
                yield np.frombuffer(data, self.dtype).reshape(row_shape)

    def _mapped_rows(self) -> Iterator[Array]:
        with self.place.open() as stream, tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(stream, spool)
            spool.flush()
            array = np.memmap(spool, self.dtype, "r", self.offset, self.shape, "F")
            yield from MemoryColumn(self.name, array).rows()


def open_columns(path: Path) -> list[FileColumn]:
    """Return the arrays of a `.npy` or `.npz` file, headers read and sizes checked, data untouched."""
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_NPY_MAGIC))
        if magic.startswith(_ZIP_MAGIC):
            return list(_zip_columns(path))
    except CompileError:
        raise
    except Exception as error:  # zipfile raises many types on damaged directories
        cut = "it is a zip that is cut off or damaged"
        cause = cut if isinstance(error, zipfile.BadZipFile) else problems.cause_text(error)
        raise _damaged(str(path), cause) from None
    if magic != _NPY_MAGIC:
        raise _damaged(str(path), "it is neither a NumPy array nor a zip of arrays")
    return [_read_column(path.stem, ArrayPlace(path), path.stat().st_size)]


def memory_columns(source: Array | Mapping[str, Array]) -> list[MemoryColumn]:
    """Return arrays in memory as columns; one array alone gets the name `samples`."""
    named = source if isinstance(source, Mapping) else {"samples": source}
    try:
        return [MemoryColumn(str(name), np.asarray(array)) for name, array in named.items()]
    except Exception as error:  # foreign array types raise their own
        raise _damaged("arrays in memory", problems.cause_text(error)) from None


def _zip_columns(path: Path) -> Iterator[FileColumn]:
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    for info in members:
        name = info.filename.removesuffix(".npy")
        yield _read_column(name, ArrayPlace(path, info.filename), info.file_size)


def _read_column(name: str, place: ArrayPlace, size: int) -> FileColumn:
    try:
        with place.open() as stream:
            shape, fortran, dtype = _read_header(stream)
            offset = stream.tell()
    except Exception as error:  # the header is a Python literal: its parser raises many types
        raise _damaged(str(place), problems.cause_text(error)) from None
    _check_size(str(place), shape, dtype, size - offset)
    return FileColumn(name, place, shape, dtype, fortran and len(shape) > 1, offset)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"NumPy format {version} is only for structured arrays")


def _check_size(where: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], available: int) -> None:
    if dtype.hasobject:  # stored as a pickle of unknown size; refused by its dtype if it is ever wanted
        return
    if any(size < 0 for size in shape):
        raise _damaged(where, f"its header declares the shape {problems.shape_text(shape)}")
    declared = math.prod(shape) * dtype.itemsize
    if declared > available:
        raise _damaged(
            where,
            f"its header declares {problems.shape_text(shape)} {dtype} = {declared} bytes, "
            f"the file holds {max(available, 0)}",
        )


def _damaged(where: str, cause: str) -> CompileError:
    """Return the error for a file that holds no readable arrays."""
    return problems.fail(
        problems.UNREADABLE, where, f"cannot be read as arrays: {cause}", next_step="Save the arrays again."
    )
