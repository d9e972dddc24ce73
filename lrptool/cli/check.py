"""``lrptool check``: whether a model is read and explained as it should be."""

from __future__ import annotations

from typing import Any

import click

from lrptool.cli.options import network_options, open_model, picture_options
from lrptool.cli.talk import notes


@click.command("check", short_help="Check scores, rules and conservation of a model.")
@click.argument("model", metavar="MODEL")
@network_options
@picture_options
@click.option(
    "-c",
    "--composite",
    "composites",
    multiple=True,
    metavar="NAME|FILE",
    help="Preset or YAML file; repeatable.  [default: epsilon-plus and epsilon-alpha2-beta1]",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the random image.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No remarks on stderr.")
def command(composites: tuple[str, ...], seed: int, as_json: bool, quiet: bool, **given: Any) -> int:
    """Check MODEL (a name, a .prototxt, a .caffemodel, an .onnx) with a random image.

    Scores must be those of the network as it was read, and of onnxruntime on an ONNX file. With every composite each
    node must have a rule, and, biases set to zero, relevance must be conserved: what starts at the best class arrives
    at the pixels, but for what rules keep by their own formulas; these amounts are listed. Exit code 7 if it does not.
    """
    from lrptool.api import CHECKED, check
    from lrptool.cli.run_check import tell

    model = open_model(given, quiet=quiet)
    notes(model.notes, quiet=quiet)
    return tell(check(model, composites or CHECKED, seed=seed), as_json=as_json)
