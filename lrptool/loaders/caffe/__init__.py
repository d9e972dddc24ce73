"""Caffe: prototxt and caffemodel to graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lrptool.errors import ModelError
from lrptool.loaders.caffe.files import read_caffemodel
from lrptool.loaders.caffe.means import read_mean
from lrptool.loaders.caffe.prototxt import read_prototxt
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.sources import image_shape
from lrptool.loaders.caffe.translate import known_layer_types, translate
from lrptool.loaders.caffe.upgrade import at_test_time, layers_of, without_training
from lrptool.loaders.caffe.weights import RandomWeights, StoredWeights, Weights
from lrptool.loaders.caffe.wiring import select, wire
from lrptool.loaders.caffe.write import write_binaryproto, write_caffemodel
from lrptool.loaders.loaded import LoadedNet

__all__ = [
    "known_layer_types",
    "load_caffe",
    "read_caffemodel",
    "read_mean",
    "read_prototxt",
    "write_binaryproto",
    "write_caffemodel",
]


def load_caffe(
    prototxt: Path | None, weights: Path | str | None, *, input_shape: Sequence[int] | None = None
) -> LoadedNet:
    """Read a Caffe network.

    Parameters
    ----------
    prototxt : Path or None
        The architecture, deploy or training form, of any age. None: the architecture inside the caffemodel.
    weights : Path, str or None
        A ``.caffemodel``; ``random`` or ``random:SEED`` for seeded random weights. None: the only caffemodel beside
        the prototxt.
    input_shape : sequence of int, optional
        (C, H, W) or (N, C, H, W) of the image; needed where the file does not say, and goes before what it says.

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
    source, stored, weights_file, sha256 = _open_weights(prototxt, weights)
    notes: tuple[str, ...] = ()
    if prototxt is None:
        # A snapshot holds the layers of one phase already: its rules have done their work.
        net, where = stored, weights_file
        layers = layers_of(net, where)
        if not any(layer.bottoms for layer in layers):
            raise ModelError(f"{where}: holds weights without an architecture", hint="name the prototxt as well")
    else:
        net, notes = read_prototxt(prototxt)
        where = str(prototxt)
        layers = at_test_time(layers_of(net, where), net, where)
    network = select(wire(without_training(layers), where), where)
    shape, notes_of_input = image_shape(network.source, network.input, input_shape, where)
    graph = translate(net.name or Path(where).stem, network, shape, source)
    return LoadedNet(graph, (*notes, *network.notes, *notes_of_input, *source.finish()), sha256)


def _open_weights(prototxt: Path | None, weights: Path | str | None) -> tuple[Weights, Message, str, str | None]:
    """Return the source of the weights, and of a file its message, name and sha256."""
    if weights is None and prototxt is None:
        raise ModelError("a Caffe network needs a prototxt, a caffemodel or both, found neither")
    seed = re.fullmatch(r"random(?::(\d{1,18}))?", str(weights))
    if seed:
        if prototxt is None:
            raise ModelError("random weights need a prototxt, found none")
        return RandomWeights(int(seed[1] or 0)), None, "", None
    file = Path(weights) if weights is not None else _beside(prototxt)
    stored, sha256 = read_caffemodel(file)
    return StoredWeights(stored, str(file)), stored, str(file), sha256


def _beside(prototxt: Path | None) -> Path:
    """Return the only caffemodel in the folder of a prototxt."""
    folder = prototxt.parent if prototxt else Path()
    found = sorted(folder.glob("*.caffemodel"))
    if len(found) != 1:
        raise ModelError(
            f"{prototxt}: expected one .caffemodel beside it, found {len(found)}",
            hint="name the file of the weights, or take random weights: random:0",
        )
    return found[0]
