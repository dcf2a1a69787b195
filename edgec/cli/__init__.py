"""The command line. Nothing heavy is imported before a command needs it: `--help` stays instant."""

from __future__ import annotations

from typing import Any

import click

from edgec import __version__
from edgec.cli.calibrate_audit import audit_command
from edgec.cli.compare import compare_command
from edgec.cli.compile import compile_command
from edgec.cli.doctor import doctor_command
from edgec.cli.exits import interruptible
from edgec.cli.inspect import inspect_command
from edgec.cli.targets import targets_command


class _Commands(click.Group):
    """A group that an interrupt ends as it ends a command: click's own way out says `Aborted!` and 1."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line."""
        with interruptible():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with interruptible():
            return super().invoke(ctx)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="edgec")
def main() -> None:
    """Compile ONNX, Keras, PyTorch and TFLite models to verified TFLite for edge devices."""


for _command in (
    compile_command,
    targets_command,
    compare_command,
    doctor_command,
    audit_command,
    inspect_command,
):
    main.add_command(_command)
