"""A bounds-checked reader of flatbuffers: no offset is followed before it is proven to lie in the file.

    u32 root ──▶ table: i32 back to vtable │ inline fields …    vtable: u16 sizes, one per field
                                                │ u32 forward
                                                └──▶ vector: u32 length, elements      string: vector of bytes

The interpreters trust these offsets and read wherever they point, which in a damaged file is a native crash.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgec_runtime.errors import ModelFileError

# As in the C++ verifier: a damaged file may let many offsets share one table, and the walk would never end.
_MAX_TABLES = 1_000_000


class Flatbuffer:
    """The bytes of a file, with checked reads of the primitive types."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.size = len(data)
        self._tables = 0

    def unpack(self, form: str, position: int, what: str) -> int | float:
        """Read one little-endian number (`struct` letter `form`) at `position`."""
        self.require(position, struct.calcsize("<" + form), what)
        value: int | float = struct.unpack_from("<" + form, self.data, position)[0]
        return value

    def offset(self, position: int, what: str) -> int:
        """Follow the forward offset stored at `position`."""
        return position + int(self.unpack("I", position, what))

    def require(self, position: int, size: int, what: str) -> None:
        """Raise unless `size` bytes from `position` on are inside the file."""
        if position < 0 or position + size > self.size:
            raise ModelFileError(
                f"{what} lies at bytes {position} to {position + size}, but the file ends at {self.size}: "
                "it is truncated or damaged"
            )

    def table(self, position: int, what: str) -> Table:
        """Return the table at `position` after checking it and its vtable."""
        self._tables += 1
        if self._tables > _MAX_TABLES:
            raise ModelFileError(f"more than {_MAX_TABLES} tables: the file is damaged")
        vtable = position - int(self.unpack("i", position, what))
        vtable_size = int(self.unpack("H", vtable, f"the layout of {what}"))
        size = int(self.unpack("H", vtable + 2, f"the layout of {what}"))
        if vtable_size < 4 or vtable_size % 2 or size < 4:
            raise ModelFileError(f"the layout of {what} at byte {vtable} makes no sense: the file is damaged")
        self.require(vtable, vtable_size, f"the layout of {what}")
        self.require(position, size, what)
        return Table(self, position, size, vtable, (vtable_size - 4) // 2, what)

    def root(self) -> Table:
        """Return the table that the first four bytes point at."""
        return self.table(self.offset(0, "the root offset"), "the model table")


@dataclass(frozen=True)
class Table:
    """One table; absent fields read as their default, as the schema evolution rules of flatbuffers want."""

    buffer: Flatbuffer
    position: int
    size: int
    vtable: int
    fields: int
    what: str

    def number(self, field: int, form: str, default: int = 0) -> int:
        """Read an integer field."""
        position = self._field(field, struct.calcsize("<" + form))
        return default if position is None else int(self.buffer.unpack(form, position, self.what))

    def table(self, field: int, name: str) -> Table | None:
        """Follow a field that holds one table (also a union's value)."""
        position = self._field(field, 4)
        if position is None:
            return None
        what = f"{name} of {self.what}"
        return self.buffer.table(self.buffer.offset(position, what), what)

    def vector(self, field: int, width: int, name: str) -> tuple[int, int]:
        """Return (first byte, length) of a vector whose elements are `width` bytes; (0, 0) when absent."""
        position = self._field(field, 4)
        if position is None:
            return 0, 0
        what = f"{name} of {self.what}"
        start = self.buffer.offset(position, what)
        length = int(self.buffer.unpack("I", start, what))
        self.buffer.require(start + 4, length * width, what)
        return start + 4, length

    def numbers(self, field: int, form: str, name: str) -> tuple[int, ...]:
        """Read a vector of integers."""
        return tuple(int(value) for value in self._values(field, form, name))

    def reals(self, field: int, name: str) -> tuple[float, ...]:
        """Read a vector of float32."""
        return tuple(float(value) for value in self._values(field, "f", name))

    def tables(self, field: int, name: str) -> Iterator[Table]:
        """Walk a vector of tables."""
        start, length = self.vector(field, 4, name)
        for index in range(length):
            what = f"{name}[{index}] of {self.what}" if self.what != "the model table" else f"{name}[{index}]"
            yield self.buffer.table(self.buffer.offset(start + 4 * index, what), what)

    def text(self, field: int, name: str) -> str:
        """Read a string; bytes that are not UTF-8 are replaced, names are only shown."""
        start, length = self.vector(field, 1, name)
        return bytes(self.buffer.data[start : start + length]).decode("utf-8", "replace")

    def _values(self, field: int, form: str, name: str) -> tuple[int | float, ...]:
        start, length = self.vector(field, struct.calcsize("<" + form), name)
        return struct.unpack_from(f"<{length}{form}", self.buffer.data, start)

    def _field(self, field: int, width: int) -> int | None:
        if field >= self.fields:
            return None
        inside = int(self.buffer.unpack("H", self.vtable + 4 + 2 * field, f"the layout of {self.what}"))
        if inside == 0:
            return None
        if inside + width > self.size:
            raise ModelFileError(f"field {field} of {self.what} lies outside its table: the file is damaged")
        return self.position + inside
