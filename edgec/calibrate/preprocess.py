"""Preprocessing settings of image and wav folders: `preprocess.toml`, or flags.

    value = (pixel − mean) / std        pixel in 0..255, per channel in the order of `color`

so pixels scaled to 0..1 are `mean = [0]`, `std = [255]`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edgec.calibrate import problems
from edgec.calibrate.samples import Array
from edgec.diagnostics import CompileError, Diagnostic

FILE_NAME = "preprocess.toml"

HOW_TO_SAY = (
    "Say it by --mean and --std in pixel units (0 and 255 for 0..1), --color rgb|bgr|gray and "
    f"--resize none|stretch|crop|letterbox, or in the folder's {FILE_NAME}."
)
HOW_TO_RESIZE = f"Say it by --resize stretch|crop|letterbox, or in the folder's {FILE_NAME}."


class Preprocess(BaseModel):
    """How media files become input tensors. What is not stated is None and never taken for a fact."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[float, ...] | None = Field(
        default=None, description="per channel or one for all, in pixel units"
    )
    std: tuple[float, ...] | None = Field(
        default=None, description="per channel or one for all, in pixel units"
    )
    color: Literal["rgb", "bgr", "gray"] | None = Field(
        default=None, description="channel order the model was trained on"
    )
    resize: Literal["none", "stretch", "crop", "letterbox"] | None = Field(
        default=None,
        description="none refuses other sizes; crop and letterbox keep the aspect ratio and the centre",
    )
    crop_fraction: float = Field(
        default=1.0, gt=0, le=1, description="share of the picture that crop keeps: 0.875 for 256 cut to 224"
    )
    interpolation: Literal["nearest", "bilinear", "bicubic"] = Field(
        default="bilinear", description="how resizing makes new pixels"
    )
    letterbox_fill: int = Field(default=114, ge=0, le=255, description="pixel value of the letterbox border")
    letterbox_align: Literal["center", "top-left"] = Field(
        default="center", description="where in the letterbox the picture is"
    )
    sample_rate: int | None = Field(default=None, gt=0, description="Hz that wav files must have")

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_for_all(cls, value: object) -> object:
        return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @field_validator("mean", "std")
    @classmethod
    def _one_or_three(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and len(value) not in (1, 3):
            raise ValueError(f"{len(value)} numbers; one for all channels or three")
        return value

    @field_validator("std")
    @classmethod
    def _divisible(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and not all(number > 0 for number in value):
            raise ValueError("must be above 0")
        return value

    @property
    def normalizes(self) -> bool:
        """True when mean or std are stated."""
        return self.mean is not None or self.std is not None

    @property
    def how_to_resize(self) -> str | None:
        """How images of another size come to the model's, in words; None where nothing states it."""
        if self.resize in (None, "none"):
            return self.resize
        if self.resize == "letterbox":
            return f"letterbox {self.letterbox_fill} {self.letterbox_align}, {self.interpolation}"
        share = f" {self.crop_fraction:g}" if self.resize == "crop" and self.crop_fraction < 1 else ""
        return f"{self.resize}{share}, {self.interpolation}"

    def to_toml(self) -> str:
        """Return what is stated as a preprocess.toml."""
        stated = [name for name in type(self).model_fields if name in self.model_fields_set]
        values = [(name, getattr(self, name)) for name in stated]
        lines = (f"{name} = {_toml(value)}" for name, value in values if value is not None)
        return "".join(f"{line}\n" for line in lines)

    def over(self, base: Preprocess | None) -> Preprocess:
        """Return the settings of `base` with those stated here in their place."""
        if base is None:
            return self
        stated = {
            name: getattr(self, name) for name in self.model_fields_set if getattr(self, name) is not None
        }
        return base.model_copy(update=stated)

    def normalize(self, pixels: Array, axis: int) -> npt.NDArray[np.float32]:
        """Return `(pixels − mean) / std` as float32; `axis` is the channel axis."""
        shape = [1] * pixels.ndim
        shape[axis] = -1
        mean = np.asarray(self.mean or (0.0,), np.float32).reshape(shape)
        std = np.asarray(self.std or (1.0,), np.float32).reshape(shape)
        return (pixels.astype(np.float32) - mean) / std

    def check_channels(self, channels: int, where: str) -> None:
        """Refuse mean or std for another number of channels."""
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) not in (1, channels):
                raise problems.fail(
                    problems.PREPROCESS,
                    where,
                    f"{name} has {len(numbers)} numbers; the input has {channels} channels",
                    next_step=f"Give one number for all channels, or {channels}.",
                )

    def unit_warnings(self, where: str) -> list[Diagnostic]:
        """Warn when mean and std look like those of pixels in 0..1 (0.485, 0.229)."""
        mean, std = self.mean or (0.0,), self.std or (1.0,)
        if max(std) >= 1 or max(abs(number) for number in mean) > 1:
            return []
        what = f"mean {list(mean)} and std {list(std)} look meant for pixels in 0..1"
        step = "Multiply both by 255, or ignore this if the model was trained so."
        return [problems.warning(problems.UNITS, where, what, "They are applied to pixels in 0..255.", step)]


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, cast('tuple[float, ...]', value)))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def load_preprocess(path: Path) -> Preprocess:
    """Read and validate a TOML file; every wrong field is one diagnostic."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise problems.fail(
            problems.PREPROCESS,
            str(path),
            f"cannot be read: {problems.cause_text(error)}",
            next_step=HOW_TO_SAY,
        ) from None
    return validated(settings, str(path))


def validated(settings: Mapping[str, object], where: str) -> Preprocess:
    """Return settings from a file or from flags (`where` names them); every wrong field is one diagnostic."""
    try:
        return Preprocess.model_validate(settings)
    except ValidationError as error:
        raise CompileError(
            _field_problem(where, item["loc"], item["msg"]) for item in error.errors()
        ) from None


def _field_problem(where: str, location: tuple[int | str, ...], message: str) -> Diagnostic:
    field, text = ".".join(map(str, location)), message.removeprefix("Value error, ")
    return Diagnostic(problems.PREPROCESS, where, f"{field}: {text}", next_step=HOW_TO_SAY)
