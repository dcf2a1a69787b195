"""What can go wrong, by where it is put right: the caller's values, the file, the installation."""

from __future__ import annotations


class EdgecRuntimeError(Exception):
    """Base of every error this package raises on purpose; its text is meant for the user."""


class RuntimeInputError(EdgecRuntimeError, ValueError):
    """Values handed to the model do not fit it: the message names the input, what was expected and given."""


class ModelFileError(EdgecRuntimeError, ValueError):
    """The file is not a TFLite model that can be loaded safely."""


class BackendError(EdgecRuntimeError, RuntimeError):
    """No interpreter can be imported, or it cannot prepare or run this model."""
