"""From files to a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from google.protobuf.unknown_fields import UnknownFieldSet

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.files import Caffemodel, read_caffemodel
from lrptool.loaders.caffe.fillers import RandomWeights
from lrptool.loaders.caffe.heads import select
from lrptool.loaders.caffe.prototxt import Prototxt, read_prototxt
from lrptool.loaders.caffe.sources import image_shape
from lrptool.loaders.caffe.translate import translate
from lrptool.loaders.caffe.types import FORKED, canonical
from lrptool.loaders.caffe.upgrade import at_test_time, layers_of, without_training
from lrptool.loaders.caffe.weights import StoredWeights, Weights
from lrptool.loaders.caffe.wiring import wire
from lrptool.loaders.loaded import LoadedNet
from lrptool.resources import weights_in


def load_caffe(
    prototxt: Path | None,
    weights: Path | str | None,
    *,
    input_shape: Sequence[int] | None = None,
    output: str | None = None,
) -> LoadedNet:
    """Read a Caffe network.

    Parameters
    ----------
    prototxt : Path or None
        The architecture, deploy or training form, of any age. None: the architecture inside the caffemodel.
    weights : Path, str or None
        A ``.caffemodel`` or the same as HDF5; ``random`` or ``random:SEED`` for seeded random weights. None: the only
        one of these beside the prototxt.
    input_shape : sequence of int, optional
        (C, H, W) or (N, C, H, W) of the image; needed where the file does not say, and goes before what it says.
    output : str, optional
        A layer or blob to take the scores from; without it, the main output of the net.

    Returns
    -------
    LoadedNet
        Its graph ends in the scores: below the last Softmax (head ``softmax``), or what the last layer writes
        (head ``logits``). Tensors are called like Caffe's blobs, nodes like its layers.

    Raises
    ------
    ModelError
        A file that cannot be read, layers that do not fit each other, or weights that do not fit the layers.
    UnsupportedError
        A layer type or option that cannot be explained.
    """
    if weights is None and prototxt is None:
        raise ModelError("a Caffe network needs a prototxt, a caffemodel or both, found neither")
    seed = re.fullmatch(r"random(?::(\d{1,18}))?", str(weights))
    if seed:
        if prototxt is None:
            raise ModelError("random weights need a prototxt, found none")
        return assemble(read_prototxt(prototxt), prototxt, RandomWeights(int(seed[1] or 0)), input_shape, output)
    file = Path(weights) if weights is not None else _beside(prototxt)
    stored = read_caffemodel(file)
    source = StoredWeights(stored, str(file))
    if prototxt is None:
        loaded = assemble(_architecture(stored, file), file, source, input_shape, output)
    else:
        loaded = assemble(read_prototxt(prototxt), prototxt, source, input_shape, output)
    return replace(loaded, sha256=stored.sha256)


def assemble(
    text: Prototxt,
    where: Path,
    source: Weights,
    input_shape: Sequence[int] | None = None,
    output: str | None = None,
) -> LoadedNet:
    """Build the graph of a net.

    Parameters
    ----------
    text : Prototxt
        The net, as read from a text or found in a caffemodel.
    where : Path
        The file it is from.
    source : Weights
        Where its numbers come from.
    input_shape, output
        See `load_caffe`.
    """
    try:
        layers = layers_of(text.net, str(where), text.layers)
        # A snapshot holds the layers of one phase already: its rules have done their work.
        layers = at_test_time(layers, text.net) if text.layers else layers
        network = select(wire(without_training(layers)), str(where), output)
        shape, notes = image_shape(network.source, network.input, input_shape)
        graph = translate(text.net.name or where.stem, network, shape, source)
        probabilities = network.softmax.outputs[0] if network.softmax else None
        notes = (*text.notes, *network.notes, *notes, *source.finish())
        return LoadedNet(graph, notes, probabilities=probabilities)
    except ModelError as error:
        # What was ignored may well be why.
        error.hint = "; ".join(filter(None, (error.hint, *text.notes))) or None
        raise


def _architecture(stored: Caffemodel, file: Path) -> Prototxt:
    """Return the net inside a caffemodel, where there is one."""
    hint = f"name the prototxt as well: --model deploy.prototxt --weights {file}"
    if not any(layer.bottom for layer in (*stored.net.layer, *stored.net.layers)):
        raise ModelError(f"{file}: holds weights without an architecture", hint=hint)
    for layer in stored.net.layer:
        # Every fork has its own number for the same options: here they are unknown, and a default would be wrong.
        if canonical(layer.type) in FORKED and len(UnknownFieldSet(layer)):
            raise UnsupportedError(
                f"{file}: layer {layer.name!r} ({layer.type}): its options are stored in a way that forks do not share",
                hint=hint,
            )
    return Prototxt(stored.net, (), ())


def _beside(prototxt: Path | None) -> Path:
    """Return the only file with weights in the folder of a prototxt."""
    found = weights_in(prototxt.parent if prototxt else Path())
    if len(found) != 1:
        names = f": {', '.join(path.name for path in found)}" if found else ""
        raise ModelError(
            f"{prototxt}: expected one .caffemodel or .h5 beside it, found {len(found)}{names}",
            hint="--weights FILE names them, --weights random:0 draws some",
        )
    return found[0]
