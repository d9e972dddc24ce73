"""From Caffe layers to operators: one function per layer type."""

from __future__ import annotations

from lrptool.errors import ModelError, UnsupportedError, did_you_mean
from lrptool.graph import Graph, TensorSpec
from lrptool.loaders.caffe.translate import affine, elementwise, linear, spatial, structure
from lrptool.loaders.caffe.translate.registry import TRANSLATORS, Step, Translation, translates
from lrptool.loaders.caffe.weights import Weights
from lrptool.loaders.caffe.wiring import Names, Network, Wired
from lrptool.ops import GraphBuilder

__all__ = ["affine", "elementwise", "known_layer_types", "linear", "spatial", "structure", "translate", "translates"]


def known_layer_types() -> tuple[str, ...]:
    """Return the layer types that can be translated, sorted."""
    return tuple(sorted(TRANSLATORS))


def translate(name: str, network: Network, item_shape: tuple[int, int, int], weights: Weights) -> Graph:
    """Build the graph of a network.

    Parameters
    ----------
    name : str
        Of the graph.
    network : Network
        The layers with their tensors.
    item_shape : tuple of int
        (C, H, W) of the image.
    weights : Weights
        Asked once per layer, in file order.

    Raises
    ------
    UnsupportedError
        A layer type or option that cannot be explained.
    ModelError
        A layer that does not fit its input, or weights that do not fit a layer.
    """
    builder = GraphBuilder(name, TensorSpec(network.input, (None, *item_shape)))
    names = Names(
        {network.input, *(text for item in network.layers for text in (item.name, *item.inputs, *item.outputs))}
    )
    translation = Translation(builder, weights, names)
    for item in network.layers:
        _add(item, translation)
    output = translation.actual(network.output)
    if output == network.input:
        raise ModelError(f"the scores {network.output!r} are the image itself")
    if network.softmax is not None:
        step = Step(network.softmax, Translation(builder, weights, names, translation.aliases))
        if step.axis(step.options("softmax_param").axis) != 1:
            raise UnsupportedError(f"{step.where}: expected the classes on axis 1")
    return builder.finish(output, network.head)


def _add(item: Wired, translation: Translation) -> None:
    """Translate one layer."""
    kind = item.layer.type
    if kind not in TRANSLATORS:
        raise UnsupportedError(
            f"layer {item.name!r}: layer type '{kind}' is not supported", hint=did_you_mean(kind, TRANSLATORS)
        )
    if len(item.outputs) != 1 and kind != "Split":
        raise UnsupportedError(f"layer {item.name!r} ({kind}): expected one top, found {len(item.outputs)}")
    step = Step(item, translation)
    TRANSLATORS[kind](step)
    if not step.took_weights:
        translation.weights.take(item, ())
