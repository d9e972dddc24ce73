"""From ONNX operators of any version to the graph's: one function per operator."""

from __future__ import annotations

from lrptool.graph import Graph, TensorSpec
from lrptool.graph.passes import prune
from lrptool.loaders.onnx.image import ImageInput
from lrptool.loaders.onnx.layout import Mode, Tensor, Whole
from lrptool.loaders.onnx.network import Network
from lrptool.loaders.onnx.translate import (
    activation,
    einsum,
    elementwise,
    fused,
    indexing,
    linear,
    movement,
    normalization,
    pooling,
    quantised,
    reduction,
    sizes,
)
from lrptool.loaders.onnx.translate.registry import TRANSLATORS, translates
from lrptool.loaders.onnx.translate.scores import put_scores
from lrptool.loaders.onnx.translate.state import Translation
from lrptool.loaders.onnx.translate.walk import Walk
from lrptool.ops import GraphBuilder

__all__ = [
    "activation",
    "einsum",
    "elementwise",
    "fused",
    "indexing",
    "known_onnx_operators",
    "linear",
    "movement",
    "normalization",
    "pooling",
    "quantised",
    "reduction",
    "sizes",
    "translate",
    "translates",
]


def known_onnx_operators() -> tuple[str, ...]:
    """Return the ONNX operators that can be translated, with their domain where it is not ONNX's own, sorted."""
    return tuple(sorted(f"{domain}.{op}" if domain else op for domain, op in TRANSLATORS))


def translate(name: str, network: Network, image: ImageInput, mode: Mode, walk: Walk) -> tuple[Graph, tuple[str, ...]]:
    """Build the graph of a network.

    Parameters
    ----------
    name : str
        Of the graph.
    network : Network
    image : ImageInput
    mode : Mode
        How the batch is read.
    walk : Walk
        What goes from node to node.

    Returns
    -------
    graph : Graph
    notes : tuple of str

    Raises
    ------
    NotBatchFirst
        The network cannot be read this way.
    UnsupportedError
        An operator or option that cannot be explained.
    ModelError
        A node that does not fit its inputs.
    """
    spec = TensorSpec(image.name, (None if mode.follow else 1, *image.item))
    translation = Translation(GraphBuilder(name, spec), mode, walk.where, walk.names(network))
    translation.values.update(walk.stored(network))
    translation.values[image.name] = _front(translation, image)
    walk(network.nodes, translation)
    output = put_scores(translation, network, walk.version, channels_last=image.perm is not None)
    return prune(translation.builder.finish(output, network.head)), tuple(translation.notes)


def _front(translation: Translation, image: ImageInput) -> Tensor:
    """Return the file's input, made of the graph's."""
    builder, followed = translation.builder, translation.mode.follow
    name, front = image.name, f"{image.name}/as stored"
    if image.perm is not None:
        perm = (0, *(axis + 1 for axis in image.perm))
        (name,) = builder.add("Transpose", translation.fresh(front), (name,), perm=perm)
        translation.sources[name] = ("Transpose", image.name, perm)
    elif image.item != image.stored or not (image.batched or followed):
        shape = image.stored if followed or not image.batched else (1, *image.stored)
        (name,) = builder.add("Reshape", translation.fresh(front), (name,), shape=shape)
        translation.sources[name] = ("Reshape", image.name, ())
    whole = Whole() if image.integer else None
    if not followed:
        item = image.stored if not image.batched else (1, *image.stored)
        return Tensor(name, item, None, whole=whole)
    return Tensor(name, image.stored, 0, (0, int(not image.batched)), whole)
