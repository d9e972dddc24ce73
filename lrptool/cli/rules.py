"""``lrptool rules``: the rules, explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lrptool.cli.talk import echo_json, field, parameters, table

if TYPE_CHECKING:
    from lrptool.rules.catalogue import Entry


@click.command("rules", short_help="List the rules, or explain one.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(name: str | None, as_json: bool) -> None:
    """List the rules, or explain one."""
    from lrptool.errors import ConfigError, did_you_mean
    from lrptool.rules import CATALOGUE

    if name is not None and name not in CATALOGUE:
        raise ConfigError(f"unknown rule '{name}'", hint=did_you_mean(name, CATALOGUE))
    if as_json:
        shown = CATALOGUE if name is None else {name: CATALOGUE[name]}
        echo_json({rule: _facts(entry) for rule, entry in shown.items()})
        return
    if name is None:
        table(("rule", "what it does"), [(rule, entry.does) for rule, entry in CATALOGUE.items()])
        click.echo("\nlrptool rules NAME explains one.")
        return
    entry = CATALOGUE[name]
    click.echo(click.style(name, bold=True, fg="green"))
    field("What it does", entry.does)
    field("Use it for", entry.use_for)
    field("Formula", entry.formula)
    parameters((key, one.default, one.help) for key, one in entry.parameters.items())
    field("Source", entry.source)


def _facts(entry: Entry) -> dict[str, Any]:
    """A rule in plain values."""
    parameters = {key: {"default": one.default, "help": one.help} for key, one in entry.parameters.items()}
    shown = ("does", "use_for", "formula", "source")
    return {key: getattr(entry, key) for key in shown} | {"parameters": parameters}
