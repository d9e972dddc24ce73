"""Layers of 2013, ``layers { layer { … } }``: all options side by side in one message, padding a layer of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lrptool.errors import ModelError
from lrptool.loaders.caffe.layer import Layer
from lrptool.loaders.caffe.schema import Message, new_message

_PADDED = {"Convolution": "convolution_param", "Pooling": "pooling_param"}

_DATA = {
    "scale": "transform_param.scale",
    "meanfile": "transform_param.mean_file",
    "cropsize": "transform_param.crop_size",
    "mirror": "transform_param.mirror",
}

_OPTIONS: dict[str, dict[str, str]] = {
    "Convolution": {
        "num_output": "convolution_param.num_output",
        "biasterm": "convolution_param.bias_term",
        "weight_filler": "convolution_param.weight_filler",
        "bias_filler": "convolution_param.bias_filler",
        "pad": "convolution_param.pad",
        "kernelsize": "convolution_param.kernel_size",
        "group": "convolution_param.group",
        "stride": "convolution_param.stride",
    },
    "InnerProduct": {
        "num_output": "inner_product_param.num_output",
        "biasterm": "inner_product_param.bias_term",
        "weight_filler": "inner_product_param.weight_filler",
        "bias_filler": "inner_product_param.bias_filler",
    },
    "Pooling": {
        "pool": "pooling_param.pool",
        "pad": "pooling_param.pad",
        "kernelsize": "pooling_param.kernel_size",
        "stride": "pooling_param.stride",
    },
    "LRN": {
        "local_size": "lrn_param.local_size",
        "alpha": "lrn_param.alpha",
        "beta": "lrn_param.beta",
        "k": "lrn_param.k",
    },
    "Dropout": {"dropout_ratio": "dropout_param.dropout_ratio"},
    "Concat": {"concat_dim": "concat_param.concat_dim"},
    "Data": _DATA,
    "WindowData": _DATA,
    "ImageData": _DATA | {"new_height": "image_data_param.new_height", "new_width": "image_data_param.new_width"},
    "Padding": {"pad": "convolution_param.pad"},
}
"""Per layer type: where each option stands today."""


def from_v0(layer: Message, kind: str, place: str) -> Message:
    """Return a V0 layer as a current LayerParameter.

    Parameters
    ----------
    layer : Message
        The V1LayerParameter around it.
    kind : str
        The current word for its type.
    place : str
        File and line, for messages.

    Raises
    ------
    ModelError
        An option that layers of its type do not have.
    """
    old, current = layer.layer, new_message("LayerParameter")
    current.name, current.type = old.name, kind
    for rules in ("include", "exclude"):
        getattr(current, rules).extend(getattr(layer, rules))
    places = _OPTIONS.get(kind, {})
    for field, value in old.ListFields():
        if field.name in places:
            block, _, name = places[field.name].partition(".")
            _put(getattr(current, block), name, value)
        elif field.name in _EVERYWHERE.get(kind, ()):
            raise ModelError(f"{place}: layer {old.name!r} ({kind}): has no option {field.name}")
    return current


_MATTERING = frozenset({"num_output", "pad", "kernelsize", "group", "stride", "pool", "concat_dim"})
_EVERYWHERE = {kind: _MATTERING - set(places) for kind, places in _OPTIONS.items()}
"""Per layer type: options that would change the result, were they its own."""


def _put(block: Message, name: str, value: object) -> None:
    """Set an option, whatever its kind."""
    field = block.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(block, name).append(value)
    elif field.message_type is not None:
        getattr(block, name).CopyFrom(value)
    else:
        setattr(block, name, value)


def without_padding(layers: Iterable[Layer]) -> list[Layer]:
    """Give the padding of a Padding layer to the convolutions and poolings that read it.

    Raises
    ------
    ModelError
        Another layer reads it, or there is nothing to read.
    """
    kept: list[Layer] = []
    padded: dict[str, Layer] = {}
    for layer in layers:
        if layer.type == "Padding" and len(layer.bottoms) == len(layer.tops) == 1:
            padded[layer.tops[0]] = layer
            continue
        before = [padded[bottom] for bottom in layer.bottoms if bottom in padded]
        if before:
            if layer.type not in _PADDED or len(layer.bottoms) != 1:
                raise ModelError(
                    f"{layer.place}: layer {layer.name!r} ({layer.type}) reads padding, "
                    "which only convolutions and poolings can take"
                )
            options = layer.options(_PADDED[layer.type])
            del options.pad[:]
            options.pad.extend(before[0].options("convolution_param").pad)
            layer = replace(layer, bottoms=before[0].bottoms)  # noqa: PLW2901
        for top in layer.tops:
            padded.pop(top, None)
        kept.append(layer)
    return kept
