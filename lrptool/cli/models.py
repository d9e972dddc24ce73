"""``lrptool models``: the named models, and the user's own folder of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

_COMMANDS = {
    "list": "models_show",
    "info": "models_show",
    "where": "models_show",
    "fetch": "models_change",
    "verify": "models_change",
    "import": "models_change",
    "remove": "models_change",
    "add": "models_change",
}


class Models(click.Group):
    """Finds each command in the module that has it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command; None where there is none."""
        if cmd_name not in _COMMANDS:
            return None
        commands = import_module(f"lrptool.cli.{_COMMANDS[cmd_name]}").COMMANDS
        command: click.Command = commands[cmd_name]
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Name the nearest command where none fits."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from lrptool.errors import did_you_mean  # noqa: PLC0415

            message = f"{error.message.rstrip('.')} ({did_you_mean(args[0], _COMMANDS)})"
            raise click.UsageError(message, error.ctx) from None


@click.group("models", cls=Models, short_help="List, fetch, check and add named models.")
def command() -> None:
    """List, fetch, check and add named models.

    \b
    lrptool models list
    lrptool models fetch googlenet
    lrptool models import vgg16 ~/Downloads/VGG_ILSVRC_16_layers.caffemodel

    A model that is not here is fetched when it is first used. Fetched models are kept in the folder models of
    LRPTOOL_CACHE, or of the platform's place for caches.
    """
