"""``lrptool explain``: heatmaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from lrptool.cli.options import (
    check_pace,
    chosen_composite,
    look_options,
    model_options,
    open_model,
    pace_options,
    picture_options,
    quiet_options,
    rule_options,
    target_options,
)
from lrptool.cli.talk import compiling, notes


@click.command("explain", short_help="Explain pictures: one heatmap per picture and class.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@model_options
@rule_options
@target_options
@click.option(
    "-o", "--output", metavar="DIR|PATTERN|-", help="Folder, file, pattern such as {stem}_{index}.png, or - for stdout."
)
@click.option("--save", metavar="LIST", help="Any of png,npy,npz,json.  [default: the ending of -o, else png]")
@look_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per result.")
@click.option("--audit", is_flag=True, help="Print relevance in and out of every node, and what took the difference.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@pace_options("8, or fewer where activations are large")
@picture_options
@quiet_options
def command(images: tuple[str, ...], **given: Any) -> int:
    """Explain what the network looked at: one heatmap per IMAGE and class.

    IMAGE is a picture, - for a picture on stdin, or a .npy array (N, C, H, W) taken as the network's input as it is.
    """
    from lrptool.cli.run_explain import Wishes, run
    from lrptool.cli.sources import is_one_picture

    composite = chosen_composite(given)
    check_pace(given)
    wishes = Wishes.of(given, images)
    model = open_model(given, quiet=given["quiet"])
    notes(model.notes, quiet=given["quiet"])
    compiling(quiet=given["quiet"])
    if given["audit"]:
        model.program(composite, whole=True)  # which looks at weights as they are
    else:
        model.settle(composite, once=is_one_picture(images) and not given["memory"])
    if given["memory"]:
        wishes = replace(wishes, batch_size=model.batch_size(given["memory"], composite))
    return run(model, images, composite, wishes)
