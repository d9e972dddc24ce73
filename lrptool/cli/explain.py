"""``lrptool explain``: heatmaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from lrptool.cli.options import (
    Bytes,
    Finite,
    chosen_composite,
    model_options,
    open_model,
    picture_options,
    rule_options,
)
from lrptool.cli.talk import note, notes

# Named here because the colour maps' own module is heavy, and --help is not.
COLOUR_MAPS = (
    *("seismic", "bwr", "coldnhot", "france", "coolio", "coleus"),
    *("black-firered", "black-green", "blue-black-yellow", "gray-red", "gray-red2"),
    *("gray", "hot", "firered", "cold", "wred", "wblue"),
)

_ONCE = "once"
_AGAIN = "next time, too: they can be kept nowhere; LRPTOOL_CACHE names a folder that can be written"


@click.command("explain", short_help="Explain pictures: one heatmap per picture and class.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@model_options
@rule_options
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="CLASS",
    help="top, an index, a label or its beginning, a synset id; repeatable.  [default: top]",
)
@click.option("-k", "--top", type=click.IntRange(1), help="Explain each of the K best classes.")
@click.option("--against", metavar="CLASS", help="Explain why the target rather than this class.")
@click.option("--start", type=click.Choice(["score", "one", "contrast"]), help="What relevance starts as.")
@click.option(
    "-o", "--output", metavar="DIR|PATTERN|-", help="Folder, file, pattern such as {stem}_{index}.png, or - for stdout."
)
@click.option("--save", metavar="LIST", help="Any of png,npy,npz,json.  [default: the ending of -o, else png]")
@click.option(
    "--cmap",
    default="seismic",
    show_default=True,
    metavar="NAME|COLOURS",
    help=f"Colour map ({', '.join(COLOUR_MAPS)}), or colours such as 00f,80:fff,f00.",
)
@click.option("--overlay", is_flag=True, help="Lay the heatmap over the photo.")
@click.option("--panel", is_flag=True, help="Photo, heatmap and overlay side by side, with labels.")
@click.option(
    "--percentile",
    type=Finite(50, 100),
    default=99.5,
    show_default=True,
    help="Percentile of |relevance| where colours saturate; 100: its largest value.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per result.")
@click.option("--audit", is_flag=True, help="Print relevance in and out of every node, and what took the difference.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@click.option("--batch-size", type=click.IntRange(1), help="Pictures computed together.  [default: 8]")
@click.option("--memory", type=Bytes(), help="Choose the batch size so that so much memory is enough, e.g. 2G.")
@picture_options
@click.option("-q", "--quiet", is_flag=True, help="No remarks on stderr.")
def command(images: tuple[str, ...], **given: Any) -> int:
    """Explain what the network looked at: one heatmap per IMAGE and class.

    IMAGE is a picture, - for a picture on stdin, or a .npy array (N, C, H, W) taken as the network's input as it is.
    """
    from lrptool.cli.run_explain import Wishes, run  # noqa: PLC0415
    from lrptool.engine import is_compiled, is_kept  # noqa: PLC0415

    composite = chosen_composite(given)
    if given["memory"] and given["batch_size"]:
        raise click.UsageError("--memory chooses the batch size: --batch-size is not needed")
    wishes = Wishes.of(given, images)
    model = open_model(given, quiet=given["quiet"])
    notes(model.notes, quiet=given["quiet"])
    if not is_compiled():
        note(f"compiling kernels ({_ONCE if is_kept() else _AGAIN})", quiet=given["quiet"])
    if given["memory"]:
        wishes = replace(wishes, batch_size=model.batch_size(given["memory"], composite))
    return run(model, images, composite, wishes)
