"""``lrptool``: the group of commands and what happens to errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from lrptool.cli.lazy import LazyGroup
from lrptool.cli.talk import complain
from lrptool.errors import ExitCode, LrpError, OutputError
from lrptool.version import VERSION

_COMMANDS = (
    *("explain", "batch", "render", "predict", "inspect", "check", "convert"),
    *("models", "rules", "composites"),
)


class Commands(LazyGroup):
    """All commands, each in the module of its name."""

    modules = {name: name for name in _COMMANDS}

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader of its output who has gone (head, say) is no error."""
        try:
            code = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            _give_up_stdout()
            code = ExitCode.OK
        return code


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="lrptool")
def cli() -> None:
    """Explain what a published image classifier looked at.

    \b
    lrptool explain photo.jpg --model squeezenet_v1.0 --panel
    lrptool batch photos --model squeezenet_v1.0 -o maps
    lrptool predict *.jpg --model squeezenet_v1.0 --top 5
    lrptool inspect --model lenet --composite epsilon-plus
    lrptool models list

    LRPTOOL_MODELS names folders where models are looked for, LRPTOOL_CACHE the folder of fetched models and compiled
    kernels; LRPTOOL_OFFLINE=1 forbids to fetch anything.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    args : sequence of str, optional
        Arguments; those of the process otherwise.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold bytes that are no text, and stdout may not take every letter.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(args)
    except OSError as error:
        # The library's rooms say themselves which file they could not read or write; what is left is stdout.
        if error.filename is not None:
            raise
        _give_up_stdout()
        complain(OutputError(f"stdout: cannot be written: {error.strerror or error}"))
        code = ExitCode.OUTPUT
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    """Run the command line; return its exit code."""
    try:
        code = cli.main(args=list(args) if args is not None else None, prog_name="lrptool", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except LrpError as error:
        complain(error)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("lrptool: interrupted", err=True)
        code = ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.OK


def _give_up_stdout() -> None:
    """Send to nowhere what stdout did not take: Python would complain once more when it flushes at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
