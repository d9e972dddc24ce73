"""A group of commands that imports a command's module when it is asked for: help has to be quick."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import click


class LazyGroup(click.Group):
    """Finds each command in the module that has it, in the order a user meets them."""

    modules: ClassVar[Mapping[str, str]]
    """Module of ``lrptool.cli`` by name of command; it has them in `COMMANDS`, or one as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command; None where there is none."""
        if cmd_name not in self.modules:
            return None
        module = import_module(f"lrptool.cli.{self.modules[cmd_name]}")
        command: click.Command = module.COMMANDS[cmd_name] if hasattr(module, "COMMANDS") else module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Name the nearest command where none fits."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from lrptool.errors import did_you_mean

            message = f"{error.message.rstrip('.')} ({did_you_mean(args[0], self.modules)})"
            raise click.UsageError(message, error.ctx) from None
