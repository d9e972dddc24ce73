"""``lrptool composites``: the presets, explained."""

from __future__ import annotations

import click

from lrptool.cli.talk import echo_json, field, parameters, plain, table


@click.command("composites", short_help="List the composites, or explain one.")
@click.argument("name", required=False)
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the composite as a file to start one's own from.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(name: str | None, as_yaml: bool, as_json: bool) -> None:
    """List the composites, or explain one; NAME may be a YAML file of yours."""
    from lrptool.rules import Composite, preset_names

    if name is None:
        presets = [Composite.load(preset) for preset in preset_names()]
        if as_json:
            echo_json([preset.to_data() for preset in presets])
            return
        table(("composite", "rules"), [(preset.name, preset.title) for preset in presets])
        click.echo("\nlrptool composites NAME explains one.")
        return
    composite = Composite.load(name)
    if as_json:
        echo_json(composite.to_data())
    elif as_yaml:
        import yaml

        click.echo(yaml.safe_dump(composite.to_data(), sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(click.style(plain(composite.name), bold=True, fg="green"))
        field("Rules", composite.title)
        field("Use it for", composite.use_for)
        click.echo(click.style("Rows, the first that matches decides", bold=True))
        for row in composite.rows:
            words = [f"{key} {_words(value)}" for key, value in row.match.to_data().items()]
            click.echo(plain(f"  {', '.join(words) or 'everything'}  →  {row.rule}"))
        click.echo("  everything else: its operator's default (activations pass, max pooling routes, …)")
        parameters((key, value, "") for key, value in composite.to_data().get("parameters", {}).items())
        field("Relevance starts as", composite.start)
        field("Source", composite.source)


def _words(value: object) -> str:
    """A condition's value for people."""
    if isinstance(value, list):
        return " | ".join(str(v) for v in value)
    return str(value)
