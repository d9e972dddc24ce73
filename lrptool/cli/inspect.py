"""``lrptool inspect``: the network as a table."""

from __future__ import annotations

from typing import Any

import click

from lrptool.cli.options import (
    chosen_composite,
    model_options,
    open_model,
    picture_options,
    quiet_options,
    rule_options,
)
from lrptool.cli.talk import echo_json, notes, plain, table


@click.command("inspect", short_help="Print the network: nodes, shapes, sizes, rules.")
@model_options
@picture_options
@rule_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@quiet_options
def command(as_json: bool, quiet: bool, **given: Any) -> None:
    """Print the network: node, operator, shapes, parameters, multiply-accumulates, and the rule each node gets."""
    model = open_model(given, quiet=quiet)
    overview = model.overview(chosen_composite(given))
    if as_json:
        echo_json(overview)
        return
    notes(model.notes, quiet=quiet)
    rows = [
        (
            row["node"],
            row["op"],
            "×".join(map(str, row["shape"])),
            f"{row['parameters']:,}" if row["parameters"] else "",
            f"{row['macs']:,}" if row["macs"] else "",
            row["rule"],
        )
        for row in overview["nodes"]
    ]
    total = ("total", "", "", f"{overview['parameters']:,}", f"{overview['macs']:,}", "")
    size = "×".join(map(str, overview["input"]))
    click.echo(plain(f"{overview['model']}: input {size}, {overview['classes']} classes, {overview['head']}"))
    header = ("node", "operator", "output", "parameters", "MACs", f"rule ({overview['composite']})")
    table(header, [*rows, total], right=(3, 4))
