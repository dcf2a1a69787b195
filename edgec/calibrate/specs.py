"""The inputs that data would fit, for an audit without a model that says what it wants."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.arrays import Column, memory_columns, open_columns
from edgec.calibrate.audio import wav_lengths
from edgec.calibrate.data import LiveSource
from edgec.calibrate.folders import ARRAY_SUFFIXES, scan
from edgec.calibrate.functions import first_item, is_reference
from edgec.calibrate.images import image_sizes
from edgec.calibrate.preprocess import load_preprocess
from edgec.calibrate.samples import Array, InputSpec

_KINDS = "Give a folder of images or wavs, an .npz or .npy file, or module:function."


def specs_of(source: LiveSource) -> list[InputSpec]:
    """Return inputs of the data's own names, shapes and types.

    Images become 0..255 of their most common size, RGB unless their folder says gray; wavs have the length of
    the longest, arrays the shape of a row. Raises `CompileError` (E03xx) for what is no source of samples.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.exists() and is_reference(os.fspath(source)):
            return _of_item(first_item(os.fspath(source)))
        return _of_path(path)
    if isinstance(source, np.ndarray | Mapping):
        return _of_columns(memory_columns(cast("Array | Mapping[str, Array]", source)))
    if callable(source):
        return _of_item(first_item(source))
    if isinstance(source, Iterator):
        what = "can be read only once, so nothing can be told of it beforehand"
        step = "Give the function that makes it, or the model."
        raise problems.fail(problems.SOURCE, type(source).__name__, what, next_step=step)
    return _of_item(first_item(lambda: source))


def _of_path(path: Path) -> list[InputSpec]:
    if path.is_file() and path.suffix.lower() in ARRAY_SUFFIXES:
        return _of_columns(open_columns(path))
    if not path.exists():
        what = "there is no such file or folder"
        raise problems.fail(problems.SOURCE, str(path), what, next_step=_KINDS)
    if not path.is_dir():
        raise problems.fail(problems.SOURCE, str(path), "is no source of samples", next_step=_KINDS)
    folder = scan(path)
    if folder.images:
        (width, height), _ = Counter(image_sizes(folder.images)).most_common(1)[0]
        stated = None if folder.preprocess_file is None else load_preprocess(folder.preprocess_file)
        channels = 1 if stated is not None and stated.color == "gray" else 3
        scaled = stated is not None and (stated.mean is not None or stated.std is not None)
        dtype = np.dtype(np.float32 if scaled else np.uint8)
        return [InputSpec("image", (1, height, width, channels), dtype, "nhwc")]
    if folder.audio:
        return [InputSpec("sound", (1, max(wav_lengths(folder.audio))), np.dtype(np.float32))]
    raise problems.fail(problems.EMPTY, str(path), "holds no images or wavs")


def _of_columns(columns: Sequence[Column]) -> list[InputSpec]:
    """Return an input for each array with as many rows as the largest; a column of numbers is labels."""
    usable = [column for column in columns if column.shape and column.dtype.kind in "fiub"]
    if not usable:
        names = ", ".join(column.name for column in columns) or "nothing"
        raise problems.fail(problems.EMPTY, "calibration", f"holds no arrays of samples, but {names}")
    largest = max(usable, key=lambda column: int(np.prod(column.shape)))
    return [
        InputSpec(column.name, (1, *column.shape[1:]), column.dtype)
        for column in usable
        if column.shape[0] == largest.shape[0] and (column is largest or len(column.shape) > 1)
    ]


def _of_item(item: object) -> list[InputSpec]:
    arrays: Mapping[str, Array]
    if isinstance(item, Mapping):
        named = cast("Mapping[object, object]", item)
        arrays = {str(name): np.asarray(value) for name, value in named.items()}
    elif isinstance(item, list | tuple):
        arrays = {f"in{index}": np.asarray(part) for index, part in enumerate(cast("list[object]", item))}
    else:
        arrays = {"in0": np.asarray(item)}
    return [InputSpec(name, array.shape, array.dtype) for name, array in arrays.items()]
