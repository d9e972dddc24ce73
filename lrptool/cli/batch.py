"""``lrptool batch``: many inputs, unattended."""

from __future__ import annotations

from typing import Any

import click

from lrptool.cli.options import (
    check_pace,
    chosen_composite,
    look_options,
    model_options,
    pace_options,
    picture_options,
    quiet_options,
    rule_options,
    target_options,
)


class Shard(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
    """One part of several: ``3/8``."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return part and number of parts."""
        index, sign, count = str(value).partition("/")
        if not (sign and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            self.fail(f"expected I/N with I from 1 to N, found {value!r}", param, ctx)
        return int(index), int(count)


@click.command("batch", short_help="Explain folders, lists and archives, unattended.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@model_options
@rule_options
@target_options
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Folder for the results: a new one, or that of before."
)
@click.option(
    "--save",
    metavar="LIST",
    default="png",
    show_default=True,
    help="Any of png,npy,npz,json per input; h5 or zarr for one store of all relevance, and input for one of the "
    "inputs; html for a contact sheet.",
)
@look_options
@click.option("--pattern", "patterns", multiple=True, metavar="GLOB", help="Files taken from folders; repeatable.")
@click.option("-0", "--null", is_flag=True, help="Lists separate paths by NUL, as find -print0 writes them.")
@click.option("--shard", type=Shard(), default="1/1", help="Do part I of N; all parts may share one folder.")
@click.option(
    "--dask", metavar="ADDRESS|local:N", help="Spread the work over a dask cluster, or start one of N workers."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first input that fails.")
@click.option("--json", "as_json", is_flag=True, help="Print every line of the manifest as it comes.")
@click.option("--force", is_flag=True, help="Begin anew, whatever is in the folder.")
@pace_options("4")
@picture_options
@quiet_options
def command(inputs: tuple[str, ...], **given: Any) -> int:
    """Explain every INPUT; the same command again goes on where an earlier run ended.

    INPUT is a file, a folder, a glob, a .tar archive, a URL, @FILE for a list of these, or - for a list on stdin. A
    line of a list is a path, a path and a target separated by a tab, or JSON with "path", "target" and "id".
    """
    from lrptool.cli.run_batch import run

    check_pace(given)
    return run(inputs, chosen_composite(given), given)
