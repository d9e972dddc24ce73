"""``lrptool predict``: scores and labels."""

from __future__ import annotations

from typing import Any

import click

from lrptool.cli.options import model_options, open_model, picture_options, quiet_options
from lrptool.cli.talk import notes


@click.command("predict", short_help="Print the classes with the highest scores.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@model_options
@picture_options
@click.option("-k", "--top", type=click.IntRange(1), default=1, show_default=True, help="Classes per picture.")
@click.option("--expect", metavar="FILE", help="True classes, one per picture (.npy or text): prints the accuracy.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per picture.")
@quiet_options
def command(images: tuple[str, ...], top: int, expect: str | None, as_json: bool, quiet: bool, **given: Any) -> int:
    """Print the classes with the highest scores; IMAGE as in lrptool explain."""
    from lrptool.cli.run_predict import run

    model = open_model(given, quiet=quiet)
    notes(model.notes, quiet=quiet)
    return run(model, images, top=top, expect=expect, as_json=as_json)
