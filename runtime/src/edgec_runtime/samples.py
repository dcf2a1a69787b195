"""Values to feed: from .npz, .npy or an image, or made from a seed.

A file may hold one sample (the input's shape, with or without its batch axis of 1) or many along the first
axis.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

import numpy as np

from edgec_runtime.atomic_write import write_atomic
from edgec_runtime.errors import RuntimeInputError
from edgec_runtime.tensors import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_Read = TypeVar("_Read")
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm"}
_ENTRY_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest a ZIP can say: same values, same bytes


@dataclass(frozen=True)
class ImageScaling:
    """Pixels 0..255 become (pixel − mean) / std; the default gives 0..1."""

    mean: float = 0.0
    std: float = 255.0


def load_values(path: Path, inputs: tuple[TensorInfo, ...], scaling: ImageScaling) -> dict[str, Array]:
    """Read the arrays for the model's inputs from one file.

    Arrays in a .npz are named as the inputs, or in0, in1, … in their order.

    Raises:
        RuntimeInputError: the file cannot be read, or does not hold what the model needs.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _named(path, inputs)
    if suffix != ".npy" and suffix not in _IMAGES:
        raise RuntimeInputError(f"{path}: expected a .npz, a .npy or an image, got '{suffix or 'no suffix'}'")
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise RuntimeInputError(
            f"{path}: holds one array, but the model has {len(inputs)} inputs ({names}): use .npz"
        )
    if suffix == ".npy":
        return {inputs[0].name: _read(path, lambda file: cast("Array", np.load(file, allow_pickle=False)))}
    return {inputs[0].name: _image(path, inputs[0], scaling)}


def split_samples(values: Mapping[str, Array], inputs: tuple[TensorInfo, ...]) -> Iterator[dict[str, Array]]:
    """Yield one set of inputs per sample; values that already are one sample come back as they are.

    Raises:
        RuntimeInputError: the inputs hold different numbers of samples.
    """
    if not all(_holds_samples(values[info.name], info) for info in inputs):
        yield dict(values)
        return
    counts = {info.name: len(values[info.name]) for info in inputs}
    if len(set(counts.values())) > 1:
        raise RuntimeInputError(f"the inputs hold different numbers of samples: {counts}")
    for number in range(next(iter(counts.values()), 0)):
        yield {info.name: values[info.name][number] for info in inputs}


def random_raw(inputs: tuple[TensorInfo, ...], seed: int) -> dict[str, Array]:
    """Return raw values from a seed: floats 0..1, quantized types over their range, other integers 0 or 1.

    Integers that are not quantized are usually indices: larger ones could point outside the model's tables.
    """
    generator = np.random.default_rng(seed)
    return {info.name: _random(generator, info) for info in inputs}


def save_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as .npz, whole or not at all, the same bytes for the same values; any name is allowed.

    Raises:
        OutputError: the file cannot be written.
    """

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(
                    zipfile.ZipInfo(f"{name}.npy", _ENTRY_TIME), "w", force_zip64=True
                ) as entry:
                    np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)

    write_atomic(path, write)


def _named(path: Path, inputs: tuple[TensorInfo, ...]) -> dict[str, Array]:
    arrays = _read(path, _archive)
    numbered = {f"in{position}": info.name for position, info in enumerate(inputs)}
    if not any(info.name in arrays for info in inputs):
        arrays = {numbered.get(name, name): array for name, array in arrays.items()}
    missing = [info.name for info in inputs if info.name not in arrays]
    if missing:
        raise RuntimeInputError(
            f"{path}: no array for input {', '.join(map(repr, missing))}; "
            f"it holds {', '.join(arrays) or 'nothing'}"
        )
    return {info.name: arrays[info.name] for info in inputs}


def _archive(file: BinaryIO) -> dict[str, Array]:
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise ValueError("it is not a .npz archive")
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _read(path: Path, read: Callable[[BinaryIO], _Read]) -> _Read:
    try:
        with path.open("rb") as file:
            return read(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RuntimeInputError(f"{path}: cannot be read: {reason}") from None


def _image(path: Path, info: TensorInfo, scaling: ImageScaling) -> Array:
    """Read an image at the input's height and width, channels last."""
    try:
        from PIL import Image
    except ImportError:
        raise RuntimeInputError(f"{path}: reading images needs Pillow: run `pip install pillow`") from None
    if len(info.shape) != 4 or info.shape[3] not in (1, 3):
        raise RuntimeInputError(
            f"input '{info.name}': an image fits shape [1, height, width, 1 or 3], not {list(info.shape)}"
        )
    _, height, width, channels = info.shape

    def decode(file: BinaryIO) -> NDArray[np.float32]:
        with Image.open(file) as image:
            scaled = image.convert("RGB" if channels == 3 else "L").resize(
                (width, height), Image.Resampling.BILINEAR
            )
            return np.asarray(scaled, dtype=np.float32)

    pixels = _read(path, decode).reshape(1, height, width, channels)
    return (pixels - np.float32(scaling.mean)) / np.float32(scaling.std)


def _holds_samples(array: Array, info: TensorInfo) -> bool:
    rank = len(info.shape)
    if rank == 0 or array.ndim == 0 or info.shape_signature[0] == -1:
        return False  # a model with a free first axis takes all samples at once
    one_each = array.ndim == rank and info.shape[0] == 1 and array.shape[0] != 1
    return one_each or array.ndim == rank + 1


def _random(generator: np.random.Generator, info: TensorInfo) -> Array:
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return generator.random(info.shape, dtype=np.float32).astype(dtype)
    if info.quantized:
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, size=info.shape, dtype=dtype, endpoint=True)
    return generator.integers(0, 2, size=info.shape).astype(dtype)
