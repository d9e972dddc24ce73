"""``lrptool render``: stored relevance in other colours."""

from __future__ import annotations

from typing import Any

import click

from lrptool.cli.options import look_options, model_options_optional, open_model, picture_options, quiet_options


@click.command("render", short_help="Colour stored relevance anew, without computing it.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", metavar="DIR|PATTERN|-", help="Folder, file, pattern such as {stem}.png, or - for stdout."
)
@look_options
@click.option("--photo", metavar="FILE", help="The picture explained, where the file does not say or it has moved.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per picture.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@model_options_optional
@picture_options
@quiet_options
def command(files: tuple[str, ...], **given: Any) -> int:
    """Make pictures of relevance that --save npy, npz, h5 or zarr has kept.

    With --model the photo is laid under them as lrptool explain does it: the model knows which part it saw. Without
    one a heatmap has the size of the network's input.
    """
    from lrptool.cli.run_render import run

    views = tuple(view for view in ("overlay", "panel") if given[view]) or ("heatmap",)
    if given["model"] is None and views != ("heatmap",):
        raise click.UsageError("--overlay and --panel need --model: it knows which part of the photo the network saw")
    return run(files, open_model(given, quiet=given["quiet"]) if given["model"] is not None else None, views, given)
