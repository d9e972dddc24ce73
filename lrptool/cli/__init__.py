"""The command line: one module per command, no arithmetic, heavy imports inside the commands' bodies."""

from lrptool.cli.main import main

__all__ = ["main"]
