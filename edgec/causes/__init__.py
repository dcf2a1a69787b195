"""Named causes: why an int8 model lost accuracy, each with what removing the cause alone would win back."""

from edgec.causes.case import Case, Cause
from edgec.causes.find import find_causes

__all__ = ["Case", "Cause", "find_causes"]
