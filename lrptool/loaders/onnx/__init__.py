"""ONNX: any opset, from any exporter, to graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lrptool.errors import LrpError, UnsupportedError
from lrptool.graph import Graph
from lrptool.loaders.loaded import LoadedNet
from lrptool.loaders.onnx.files import read_model
from lrptool.loaders.onnx.image import ImageInput, image_input
from lrptool.loaders.onnx.layout import NotBatchFirst
from lrptool.loaders.onnx.network import Network, select
from lrptool.loaders.onnx.original import Original
from lrptool.loaders.onnx.patterns import recognise
from lrptool.loaders.onnx.translate import known_onnx_operators, translate
from lrptool.loaders.onnx.translate.walk import Walk

__all__ = ["known_onnx_operators", "load_onnx"]


def load_onnx(path: Path, *, input_shape: Sequence[int] | None = None, output: str | None = None) -> LoadedNet:
    """Read an ONNX network.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file; weights it keeps in files of their own lie beside it.
    input_shape : sequence of int, optional
        (C, H, W) or (N, C, H, W) of the image; needed where the file leaves sizes open.
    output : str, optional
        The tensor that holds the scores, or what the network makes of them; otherwise the output that most operators
        lead to.

    Returns
    -------
    LoadedNet
        Its graph ends in the scores: below a last Softmax (head ``softmax``), Sigmoid or ArgMax (head ``logits``).
        Images are (C, H, W), also where the file has the channels last. Nodes and tensors are called as in the file.

    Raises
    ------
    ModelError
        A file that cannot be read, or nodes that do not fit each other.
    UnsupportedError
        An operator or option that cannot be explained.
    """
    model, sha256 = read_model(path)
    where = str(path)
    network = select(model, output, where)
    image = image_input(network.input, input_shape, where)
    walk = Walk(model, path.parent, where)
    graph, notes = _translated(model.graph.name or path.stem, network, image, walk)
    notes = (*network.notes, *image.notes, *notes)
    softmax = network.softmax
    return LoadedNet(
        graph,
        notes,
        sha256,
        channels="RGB",
        raw_scale=255.0 if image.integer else 1.0,
        probabilities=None if softmax is None else softmax.output[0],
        original=Original(path, image, network.input.type.tensor_type.elem_type, network.output),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def _translated(name: str, network: Network, image: ImageInput, walk: Walk) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph, read in the first of the ways that fit; the error that says most where none does."""
    across: UnsupportedError | None = None
    problem: LrpError | None = None
    for mode in image.modes:
        try:
            graph, notes = translate(name, network, image, mode, walk)
        except NotBatchFirst as error:
            across = across or UnsupportedError(str(error), hint="export the network with a batch of one image")
        except LrpError as error:
            problem = error if problem is None or mode.follow else problem
        else:
            if not mode.follow:
                notes = (*notes, "the network mixes images of a batch: they are explained one at a time")
            elif image.batch is None and mode.sizes == (1,):
                notes = (*notes, "some of its sizes were written down for one image: they are taken as such")
            return recognise(graph), notes
    raise problem or across or UnsupportedError(f"{walk.where}: cannot be read")
