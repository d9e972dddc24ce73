"""From Caffe layers to operators: one function per layer type."""

from __future__ import annotations

from difflib import get_close_matches

from lrptool.errors import ModelError, UnsupportedError, did_you_mean
from lrptool.graph import Graph, TensorSpec
from lrptool.loaders.caffe.heads import Network
from lrptool.loaders.caffe.spread import PIXELS
from lrptool.loaders.caffe.translate import (
    activations,
    affine,
    combine,
    learned,
    normalise,
    pool,
    resample,
    structure,
)
from lrptool.loaders.caffe.translate.registry import TRANSLATORS, Step, Translation, translates
from lrptool.loaders.caffe.translate.unsupported import ADVICE
from lrptool.loaders.caffe.weights import Weights
from lrptool.loaders.caffe.wiring import Names, Wired
from lrptool.ops import GraphBuilder

__all__ = [
    "activations",
    "affine",
    "combine",
    "known_layer_types",
    "learned",
    "normalise",
    "pool",
    "resample",
    "structure",
    "translate",
    "translates",
]


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
    read = frozenset(tensor for item in network.layers for tensor in item.inputs) | {network.output}
    translation = Translation(builder, weights, names, read, spread={network.input: PIXELS})
    for item in network.layers:
        _add(item, translation)
    output = translation.actual(network.output)
    if output == network.input:
        raise ModelError(f"{network.source.place}: the scores {network.output!r} are the image itself")
    if output in translation.constants:
        raise ModelError(f"{network.source.place}: the scores {network.output!r} do not depend on the image")
    if network.softmax is not None:
        step = Step(network.softmax, translation)
        if step.axis(step.options("softmax_param").axis) != 1:
            raise UnsupportedError(
                f"{step.where}: expected the classes on axis 1", hint="--head NAME takes the scores from another layer"
            )
    return builder.finish(output, network.head)


def _nearest(kind: str) -> str:
    """Return a question for the known type that looks most like one, or what types there are."""
    names = {name.lower(): name for name in TRANSLATORS}
    close = get_close_matches(kind.lower(), names, n=1)
    return f"did you mean '{names[close[0]]}'?" if close else did_you_mean(kind, TRANSLATORS)


def _add(item: Wired, translation: Translation) -> None:
    """Translate one layer."""
    kind = item.layer.type
    step = Step(item, translation)
    if kind not in TRANSLATORS:
        raise UnsupportedError(
            f"{item.layer.place}: layer {item.name!r}: layer type '{kind}' is not supported",
            hint=ADVICE.get(kind) or f"{_nearest(kind)}; --head NAME takes the scores from a layer before it",
        )
    TRANSLATORS[kind](step)
    if not step.took_weights:
        step.weights()
