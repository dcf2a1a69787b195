"""The codes of calibration messages (E03xx, W03xx) and three short ways to make one."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.diagnostics import CompileError, Diagnostic, Severity

SOURCE = "E0301"  # the calibration source is missing or of no known kind
UNREADABLE = "E0302"  # a file is damaged, truncated or hostile
BINDING = "E0303"  # no array, or more than one, for an input
SHAPE = "E0304"  # shape or rank differs from the input's
LAYOUT = "E0305"  # channels-last data for a channels-first input, or the reverse
DTYPE = "E0306"  # element type that cannot become the input's
VALUES = "E0307"  # NaN, infinity, or integers out of range
EMPTY = "E0308"  # no samples
COUNT = "E0309"  # arrays of different lengths
FUNCTION = "E0310"  # a module:function failed
PREPROCESS = "E0311"  # wrong preprocessing settings
MEDIA = "E0312"  # an image or wav that does not suit the input
AMBIGUOUS = "E0313"  # several default sample sets fit
OPTION = "E0314"  # an option out of range
CHANGED = "E0315"  # samples differ from one pass to the next
OBSERVED = "E0316"  # an activation tensor gave no range
PIXELS = "E0317"  # values that are no pixels by the stated mean and std

GUESSED = "W0301"  # image facts nobody stated
CONVERTED = "W0302"  # layout or unit axes adapted
IGNORED = "W0303"  # arrays or files left out
AS_GIVEN = "W0304"  # values used without normalization
NORMALIZED = "W0305"  # mean and std applied to an array
AUDIO_LENGTH = "W0306"  # wavs cut or padded
SAMPLE_RATE = "W0307"  # sample rate not stated
RANDOM = "W0308"  # random numbers instead of data
DEFAULTED = "W0309"  # a default sample set was chosen
UNITS = "W0310"  # mean and std look meant for other units
NORMALIZATION = "W0312"  # values do not suit the first layers
CACHED = "W0311"  # ranges of the same model and samples were known
PARTS = "W0313"  # pixels that are not whole
FEW = "W0314"  # so few samples that each decides
FLAT = "W0315"  # samples of one value
REPEATED = "W0316"  # samples that repeat each other


def fail(code: str, where: str, what: str, why: str = "", next_step: str = "") -> CompileError:
    """Return the exception to raise for one error."""
    return CompileError(Diagnostic(code, where, what, why, next_step))


def warning(code: str, where: str, what: str, why: str = "", next_step: str = "") -> Diagnostic:
    """Return a message the user should act on."""
    return Diagnostic(code, where, what, why, next_step, Severity.WARNING)


def note(code: str, where: str, what: str, why: str = "", next_step: str = "") -> Diagnostic:
    """Return a message that records a decision."""
    return Diagnostic(code, where, what, why, next_step, Severity.NOTE)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 sample`, `0 samples`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape as users do: `[1,3,224,224]`."""
    return "[" + ",".join(str(size) for size in shape) + "]"


def cause_text(error: BaseException) -> str:
    """Write an exception on one line, at most 200 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
