"""``lrptool rules``: the rules, explained."""

from __future__ import annotations

import click

from lrptool.cli.talk import field, parameters, table


@click.command("rules", short_help="List the rules, or explain one.")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the rules, or explain one."""
    from lrptool.errors import ConfigError, did_you_mean  # noqa: PLC0415
    from lrptool.rules import CATALOGUE  # noqa: PLC0415

    if name is None:
        table(("rule", "what it does"), [(rule, entry.does) for rule, entry in CATALOGUE.items()])
        click.echo("\nlrptool rules NAME explains one.")
        return
    if name not in CATALOGUE:
        raise ConfigError(f"unknown rule '{name}'", hint=did_you_mean(name, CATALOGUE))
    entry = CATALOGUE[name]
    click.echo(click.style(name, bold=True, fg="green"))
    field("What it does", entry.does)
    field("Use it for", entry.use_for)
    field("Formula", entry.formula)
    parameters((key, one.default, one.help) for key, one in entry.parameters.items())
    field("Source", entry.source)
