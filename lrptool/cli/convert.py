"""``lrptool convert``: a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrptool.cli.options import network_options, open_model, picture_options
from lrptool.cli.talk import notes, plain
from lrptool.errors import OutputError


@click.command("convert", short_help="Write a model as an ONNX file.")
@click.argument("model", metavar="MODEL")
@click.argument("output", metavar="OUT.onnx")
@network_options
@picture_options
@click.option("--no-softmax", is_flag=True, help="Hand out scores, not probabilities.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@click.option("-q", "--quiet", is_flag=True, help="No remarks on stderr.")
def command(output: str, no_softmax: bool, force: bool, quiet: bool, **given: Any) -> None:
    """Write MODEL (a name, a .prototxt, a .caffemodel, an .onnx) as an ONNX file that onnxruntime runs.

    Nodes, input and output keep their names, and the batch is open. How pictures are prepared and what classes are
    called goes with the file: lrptool explains it as it explains MODEL.
    """
    from lrptool.api import check_place, convert
    from lrptool.cli.outputs import identities

    path = Path(output)
    check_place(path, force=force)
    if identities([path]) & identities(given[key] for key in ("model", "weights", "labels", "mean") if given[key]):
        raise OutputError(f"{path}: is one of the inputs", hint="give OUT.onnx another name")
    model = open_model(given, quiet=quiet)
    notes(model.notes, quiet=quiet)
    made = convert(model, path, force=force, softmax=not no_softmax)
    notes(made.notes, quiet=quiet)
    names = " and ".join(map(str, made.files))
    click.echo(
        plain(
            f"{names}: {made.bytes / 1e6:.1f} MB, opset {made.opset}, {model.graph.input.name} → {made.output}; "
            f"under onnxruntime, scores equal to {made.difference:.0e}"
        )
    )
