"""What a model input wants and the stream of samples that feeds it.

A *reader* knows one kind of source (arrays, images, wavs, a function, random numbers) and yields raw
samples; `SampleSet` wraps any reader, refuses values that are not finite and takes the digest in passing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from edgec.calibrate import problems
from edgec.diagnostics import Diagnostic

if TYPE_CHECKING:
    from edgec.calibrate.preprocess import Preprocess

Array: TypeAlias = npt.NDArray[np.generic]
Sample: TypeAlias = dict[str, Array]
Layout: TypeAlias = Literal["nchw", "nhwc"]


_LARGE = 1 << 16  # bytes whose digest takes longer than handing them to a thread


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the SOURCE model, batch pinned: `("x", (1, 3, 224, 224), float32, "nchw")`."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    layout: Layout | None = None

    def __str__(self) -> str:
        return f"input '{self.name}' {self.dtype}{problems.shape_text(self.shape)}"


@dataclass(frozen=True, slots=True)
class SampleDescription:
    """Where samples come from, how many there are, and how they become input tensors."""

    source: str
    count: int
    how: str

    def __str__(self) -> str:
        return f"{self.count} samples from {self.source} ({self.how})"


class SampleReader(Protocol):
    """One kind of source; every call of `samples` starts again from the first sample."""

    @property
    def description(self) -> SampleDescription:
        """Where the samples come from."""
        ...

    @property
    def repeatable(self) -> bool:
        """False when two passes may differ, so that each pass must be compared with the first."""
        ...

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        ...

    def samples(self) -> Iterator[Sample]:
        """Yield the samples from the first on."""
        ...

    def identity(self) -> str | None:
        """Return what tells these samples from any others, or None if only reading them all tells.

        It costs at most reading the files' bytes. Raises `CompileError` where they cannot be read.
        """
        ...


class SampleSet:
    """Samples of a model: re-iterable, streamed, dicts of arrays in exactly the inputs' shape and dtype.

    Iterating raises `CompileError` for a damaged or non-finite sample and names it. `preprocess` is what was
    stated about images, where the samples are some: by the user or in their folder.
    """

    def __init__(
        self,
        reader: SampleReader,
        inputs: Sequence[InputSpec],
        notes: Sequence[Diagnostic] = (),
        preprocess: Preprocess | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.preprocess = preprocess
        self.notes = tuple(dict.fromkeys(notes))
        self._reader = reader
        self._digest: str | None = None
        self._identity: str | None = None

    def __len__(self) -> int:
        return self._reader.description.count

    def __iter__(self) -> Iterator[Sample]:
        digest = None if self._digest is not None and self._reader.repeatable else _Digest()
        try:
            for index, sample in enumerate(self._reader.samples()):
                for spec in self.inputs:
                    self._check(spec, sample[spec.name], index)
                    if digest is not None:
                        digest.add(spec, sample[spec.name])
                yield sample
            if digest is not None:
                self._settle(digest.text())
        finally:
            if digest is not None:
                digest.close()

    def name(self, index: int) -> str:
        """Return the name of a sample for messages: a file, or a row of an array."""
        return self._reader.name(index)

    def describe(self) -> SampleDescription:
        """Return source, count and how the samples are read."""
        return self._reader.description

    @property
    def sha256(self) -> str:
        """Digest of the tensors delivered, in order: names, dtypes, shapes and bytes.

        Free after a complete pass; otherwise it makes one.
        """
        if self._digest is None:
            for _ in self:
                pass
        assert self._digest is not None
        return self._digest

    @property
    def identity(self) -> str:
        """What tells these samples from any others; cheaper than `sha256` where files say it."""
        if self._identity is None:
            inputs = ";".join(map(str, self.inputs))
            found = self._reader.identity()
            self._identity = f"{inputs}\n{self._reader.description}\n{found or self.sha256}"
        return self._identity

    def remember(self, sha256: str) -> None:
        """Take over the digest that an earlier pass over samples of the same identity found."""
        if self._reader.repeatable and self._digest is None:
            self._digest = sha256

    def with_notes(self, *notes: Diagnostic) -> SampleSet:
        """Return the same samples with more messages."""
        return SampleSet(self._reader, self.inputs, (*self.notes, *notes), self.preprocess)

    def _check(self, spec: InputSpec, values: Array, index: int) -> None:
        assert values.shape == spec.shape and values.dtype == spec.dtype, "a reader broke its promise"
        if values.dtype.kind != "f" or bool(np.isfinite(values).all()):
            return
        bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        raise problems.fail(
            problems.VALUES,
            self.name(index),
            f"input '{spec.name}' holds {bad} NaN or infinite {spec.dtype} values of {values.size}",
            "No range can be taken from them.",
            "Repair or remove this sample.",
        )

    def _settle(self, digest: str) -> None:
        if self._digest not in (None, digest):
            raise problems.fail(
                problems.CHANGED,
                self._reader.description.source,
                "gives other samples on every pass",
                "The same command would not build the same model twice.",
                "Seed its random generator.",
            )
        self._digest = digest


class _Digest:
    """The digest of tensors in the order they come; large ones are read by a thread beside whoever uses them.

    One tensor waits at most, so that memory does not grow with the samples.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def add(self, spec: InputSpec, values: Array) -> None:
        """Take in a tensor, which nobody may change before the next call."""
        self._finish()
        self._digest.update(f"{spec.name}\0{values.dtype.str}\0{values.shape}\0".encode())
        data = np.ascontiguousarray(values).data
        if data.nbytes < _LARGE:
            self._digest.update(data)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "edgec-digest")
        self._running = self._thread.submit(self._digest.update, data)

    def text(self) -> str:
        """Return the digest of all that was taken in."""
        self._finish()
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown()

    def _finish(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.result()


def file_digest(paths: Iterable[Path]) -> str:
    """Return the digest of the bytes of files, in order; E0302 for one that cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            cause = error.strerror or problems.cause_text(error)
            raise problems.fail(problems.UNREADABLE, str(path), f"cannot be read: {cause}") from None
    return digest.hexdigest()


def channel_axis(spec: InputSpec) -> int | None:
    """Return the channel axis of an image input `[1,C,H,W]` or `[1,H,W,C]`, or None.

    A stated layout decides. Without one, the axis is known only when a single reading of the shape has the
    1 or 3 channels that image files have.
    """
    if len(spec.shape) != 4:
        return None
    if spec.layout is not None:
        return 1 if spec.layout == "nchw" else 3
    readings = [axis for axis in (1, 3) if spec.shape[axis] in (1, 3)]
    return readings[0] if len(readings) == 1 else None
