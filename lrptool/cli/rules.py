"""``lrptool rules``: the rules, explained."""

from __future__ import annotations

import click

from lrptool.cli.talk import field, table


@click.command("rules")
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
    if entry.parameters:
        click.echo(click.style("Parameters", bold=True))
        for key, parameter in entry.parameters.items():
            default = {True: "yes", False: "no", None: "none"}.get(parameter.default, parameter.default)  # type: ignore[arg-type]
            shown = f"{default:g}" if isinstance(default, float) else default
            click.echo(f"  {key} (default {shown}): {parameter.help}")
    field("Source", entry.source)
