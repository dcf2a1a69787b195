"""What the values of options look like on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic in the stubs of newer versions only

PATH = click.Path(path_type=Path)
IO_TYPES = click.Choice(["float32", "int8", "uint8", "int16"])


class InputShape(_ParamType):
    """`NAME=1,3,224,224`, or the numbers alone for the only input."""

    name = "[NAME=]DIMS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name (empty where left out) and its sizes."""
        name, _, dims = str(value).rpartition("=")
        try:
            return name, [int(item) for item in dims.split(",")]
        except ValueError:
            self.fail(f"'{value}' is not of the form NAME=1,3,224,224", param, ctx)


class DynamicShape(_ParamType):
    """`NAME=batch,3,224,224`: what is no number stays open until the model runs."""

    name = "[NAME=]DIMS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name (empty where left out) and its sizes; an open one keeps its text."""
        name, _, dims = str(value).rpartition("=")
        items = [item.strip() for item in dims.split(",")]
        if not all(items):
            self.fail(f"'{value}' is not of the form NAME=batch,3,224,224", param, ctx)
        return name, [int(item) if item.lstrip("-").isdigit() else item for item in items]


class InputValue(_ParamType):
    """`NAME=16000`: the input becomes that constant."""

    name = "NAME=NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name and its number."""
        name, _, number = str(value).rpartition("=")
        try:
            return name, float(number)
        except ValueError:
            self.fail(f"'{value}' is not of the form NAME=16000", param, ctx)


class Numbers(_ParamType):
    """Comma-separated numbers."""

    name = "NUMBERS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the numbers."""
        try:
            return tuple(float(item) for item in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not a list of numbers such as 123.7,116.3,103.5", param, ctx)


class Names(_ParamType):
    """Comma-separated names, or `none`."""

    name = "NAMES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the names; a default is a tuple already."""
        if isinstance(value, tuple):
            return value
        return () if value == "none" else tuple(item.strip() for item in str(value).split(","))
