"""A folder of image files as samples of one image input.

open ─▶ EXIF orientation ─▶ grey or RGB ─▶ resize ─▶ BGR ─▶ (pixel − mean) / std ─▶ the input's layout
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.calibrate import problems
from edgec.calibrate.fit import CHANNELS_TO_FIRST
from edgec.calibrate.folders import MediaFolder, spread
from edgec.calibrate.preprocess import HOW_TO_RESIZE, HOW_TO_SAY, Preprocess
from edgec.calibrate.samples import (
    Array,
    InputSpec,
    Sample,
    SampleDescription,
    SampleSet,
    channel_axis,
    file_digest,
)
from edgec.diagnostics import CompileError, Diagnostic

if TYPE_CHECKING:
    from PIL import Image

_EXIF_ORIENTATION = 0x0112
_GREY_MODES = frozenset({"1", "L", "LA"})
_COLOR_MODES = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "RGBa"})


@dataclass(frozen=True, slots=True)
class ImageTarget:
    """What every file must become: height, width, channels, and the settings with nothing left open."""

    spec: InputSpec
    axis: int
    height: int
    width: int
    channels: int
    color: str
    resize: str
    settings: Preprocess

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as image libraries say it."""
        return self.width, self.height

    def tensor(self, image: Image.Image) -> Array:
        """Return a decoded image as the input's tensor."""
        pixels = np.asarray(_resized(image.convert("L" if self.color == "gray" else "RGB"), self))
        pixels = pixels.reshape(self.height, self.width, self.channels)
        if self.color == "bgr":
            pixels = pixels[:, :, ::-1]
        if self.spec.dtype.kind == "f":
            pixels = self.settings.normalize(pixels, axis=2)
        if self.axis == 1:
            pixels = pixels.transpose(CHANNELS_TO_FIRST)
        return np.array(pixels.reshape(self.spec.shape), self.spec.dtype, order="C")


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Image files, decoded one at a time."""

    folder: MediaFolder
    files: tuple[Path, ...]
    target: ImageTarget
    how: str
    repeatable: bool = True

    @property
    def description(self) -> SampleDescription:
        """Where the samples come from."""
        return SampleDescription(str(self.folder.root), len(self.files), self.how)

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return self.folder.relative(self.files[index])

    def samples(self) -> Iterator[Sample]:
        """Yield the samples from the first on."""
        from PIL import ImageOps

        for path in self.files:
            with _opened(path) as image:
                tensor = self.target.tensor(ImageOps.exif_transpose(image))
            yield {self.target.spec.name: tensor}

    def identity(self) -> str:
        """Return the files' bytes and all settings, as a digest of the one and the text of the other."""
        return f"{file_digest(self.files)} {self.target.settings!r} {self.target.axis}"


def image_samples(
    folder: MediaFolder,
    inputs: Sequence[InputSpec],
    preprocess: Preprocess,
    limit: int | None,
    adaptable: bool = True,
) -> SampleSet:
    """Return the folder's images as samples; headers are checked now, pixels when they are read.

    Nothing is guessed silently: where the settings state neither mean nor std, pixels become 0..1 and where
    they state no resize, images are stretched, both with a warning. With `adaptable` off (for a set that
    nobody named), images of another size or number of channels are refused unless settings say what to do.
    """
    where = str(folder.root)
    if not adaptable and preprocess.resize is None:
        preprocess = preprocess.model_copy(update={"resize": "none"})
    spec, axis = _image_input(inputs, where)
    files = spread(folder.images, limit)
    sizes = _headers(files)
    target = _target(spec, axis, preprocess, where)
    _check_modes(target, sizes, strict=not adaptable and preprocess.color is None)
    _check_sizes(target, sizes)
    notes = [*folder.notes, *_guesses(target, preprocess, [size for _, size, _ in sizes], where)]
    reader = ImageReader(folder, files, target, _how(target, len(folder.images), len(files)))
    stated = preprocess.model_copy(update={"color": target.color, "resize": target.resize})
    return SampleSet(reader, inputs, notes, stated)


def image_sizes(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Return the upright (width, height) of image files."""
    return [_header(path)[0] for path in files]


def _image_input(inputs: Sequence[InputSpec], where: str) -> tuple[InputSpec, int]:
    if len(inputs) != 1:
        names = ", ".join(f"'{spec.name}'" for spec in inputs)
        what = f"a folder of images feeds one input; the model has {len(inputs)}: {names}"
        raise problems.fail(problems.BINDING, where, what, next_step="Use an .npz with one array per input.")
    spec, axis = inputs[0], channel_axis(inputs[0])
    if axis is None or spec.shape[0] != 1 or spec.shape[axis] not in (1, 3):
        why = "It needs 4 axes, a batch of 1, 1 or 3 channels and a known layout."
        what = f"images cannot feed {spec}"
        raise problems.fail(
            problems.MEDIA, where, what, why, f"Use an .npz with an array named '{spec.name}'."
        )
    if spec.dtype.kind != "f" and not np.can_cast(np.uint8, spec.dtype):
        why = "Pixels are 0..255."
        raise problems.fail(
            problems.DTYPE, where, f"images cannot feed {spec}", why, f"Use an .npz of {spec.dtype} arrays."
        )
    return spec, axis


def _target(spec: InputSpec, axis: int, preprocess: Preprocess, where: str) -> ImageTarget:
    channels = spec.shape[axis]
    color = preprocess.color or ("gray" if channels == 1 else "rgb")
    if (color == "gray") != (channels == 1):
        what = f'color = "{color}", but {spec} has {channels} channels'
        raise problems.fail(problems.PREPROCESS, where, what, next_step=HOW_TO_SAY)
    if spec.dtype.kind != "f" and preprocess.normalizes:
        what = f"mean and std are set, but {spec} takes pixels as whole numbers"
        raise problems.fail(problems.PREPROCESS, where, what, next_step="Remove mean and std.")
    preprocess.check_channels(channels, where)
    settings = preprocess if preprocess.normalizes else preprocess.model_copy(update={"std": (255.0,)})
    height, width = (spec.shape[2], spec.shape[3]) if axis == 1 else (spec.shape[1], spec.shape[2])
    return ImageTarget(spec, axis, height, width, channels, color, preprocess.resize or "stretch", settings)


def _guesses(
    target: ImageTarget, preprocess: Preprocess, sizes: list[tuple[int, int]], where: str
) -> Iterator[Diagnostic]:
    yield from preprocess.unit_warnings(where)
    if target.spec.dtype.kind == "f" and not preprocess.normalizes:
        what = "nothing states how pixels become inputs: pixels/255 is used"
        yield problems.warning(
            problems.GUESSED, where, what, "Wrong scaling gives wrong int8 ranges.", HOW_TO_SAY
        )
    others = sum(size != target.size for size in sizes)
    if others and preprocess.resize is None:
        what = f"{others} of {len(sizes)} images are not {target.width}x{target.height}: stretched to fit"
        yield problems.warning(problems.GUESSED, where, what, "Nothing states how to resize.", HOW_TO_RESIZE)


def _headers(files: Sequence[Path]) -> list[tuple[Path, tuple[int, int], str]]:
    """Return every file with its size and mode; all files that are no images are named at once."""
    found: list[tuple[Path, tuple[int, int], str]] = []
    damaged: list[Diagnostic] = []
    for path in files:
        try:
            found.append((path, *_header(path)))
        except CompileError as error:
            damaged += error.diagnostics
    if damaged:
        raise CompileError(damaged)
    return found


def _header(path: Path) -> tuple[tuple[int, int], str]:
    """Return upright (width, height) and mode; pixels are not decoded."""
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
        return ((height, width) if turned else (width, height)), image.mode


def _check_modes(
    target: ImageTarget, files: Sequence[tuple[Path, tuple[int, int], str]], strict: bool
) -> None:
    """Refuse pixels deeper than 8 bits; when strict, also grey images for RGB and the reverse."""
    alike = _GREY_MODES if target.color == "gray" else _COLOR_MODES
    for path, _, mode in files:
        if mode not in _GREY_MODES | _COLOR_MODES:
            why = "Only 8 bits per channel are read; how deeper pixels scale is not stated in the file."
            step = "Convert it to 8 bits, or use an .npz."
            raise problems.fail(problems.MEDIA, str(path), f"has pixel mode {mode}", why, step)
        if strict and mode not in alike:
            what = f"has pixel mode {mode}; {target.spec} takes {target.color}"
            raise problems.fail(problems.MEDIA, str(path), what, next_step=HOW_TO_SAY)


def _check_sizes(target: ImageTarget, files: Sequence[tuple[Path, tuple[int, int], str]]) -> None:
    wrong = [(path, size) for path, size, _ in files if size != target.size]
    if target.resize != "none" or not wrong:
        return
    path, (width, height) = wrong[0]
    what = f"is {width}x{height}; {target.spec} needs {target.width}x{target.height}"
    more = f"So are {len(wrong) - 1} more files of another size." if len(wrong) > 1 else ""
    raise problems.fail(
        problems.MEDIA, str(path), what, more, 'Set resize to "stretch", "crop" or "letterbox".'
    )


def _how(target: ImageTarget, total: int, count: int) -> str:
    which = f"{count} of {total} images evenly spaced by name" if count < total else f"all {total} images"
    fraction = target.settings.crop_fraction
    share = f" {fraction:g}" if target.resize == "crop" and fraction < 1 else ""
    steps = [which, target.color, f"resize {target.resize}{share}"]
    if target.spec.dtype.kind == "f":
        mean, std = target.settings.mean or (0.0,), target.settings.std or (1.0,)
        steps.append(f"(pixel-{_numbers(mean)})/{_numbers(std)}")
    return ", ".join(steps)


def _numbers(values: tuple[float, ...]) -> str:
    texts = [f"{value:g}" for value in values]
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def _resized(image: Image.Image, target: ImageTarget) -> Image.Image:
    """Return the image at the target's size; crop and letterbox keep the aspect ratio."""
    from PIL import Image, ImageOps

    settings = target.settings
    method = Image.Resampling[settings.interpolation.upper()]
    crops = target.resize == "crop" and settings.crop_fraction < 1
    if image.size == target.size and not crops:
        return image
    if target.resize == "crop":
        return ImageOps.fit(image, target.size, method, bleed=(1 - settings.crop_fraction) / 2)
    if target.resize == "letterbox":
        fill = settings.letterbox_fill
        border = fill if image.mode == "L" else (fill, fill, fill)
        place = (0.5, 0.5) if settings.letterbox_align == "center" else (0.0, 0.0)
        return ImageOps.pad(image, target.size, method, border, place)
    return image.resize(target.size, method)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong inside names the file."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken metadata of single files is noise ...
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # ... but the limit holds
            with Image.open(path) as image:
                yield image
    except CompileError:
        raise
    except Exception as error:  # decoders raise many types on damaged or hostile bytes
        raise problems.fail(
            problems.UNREADABLE,
            str(path),
            f"cannot be decoded as an image: {_reason(error, path)}",
            next_step="Remove or replace it.",
        ) from None


def _reason(error: Exception, path: Path) -> str:
    """Return what a decoder says, without the file's name: that is said already."""
    return problems.cause_text(error).replace(f" {str(path)!r}", "")
