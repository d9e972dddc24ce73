"""One form for networks of every age: current layers, an Input layer, only what is there at test time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import isfinite

from lrptool.errors import ModelError
from lrptool.loaders.caffe.layer import Layer
from lrptool.loaders.caffe.schema import Message, new_message
from lrptool.loaders.caffe.types import canonical, is_classifying_loss, is_reporting
from lrptool.loaders.caffe.v0 import from_v0, without_padding


def layers_of(net: Message, where: str, order: Sequence[tuple[str, int]] = ()) -> tuple[Layer, ...]:
    """Return all layers of a net in the current form, its old-style inputs first.

    Parameters
    ----------
    net : Message
        A NetParameter.
    where : str
        The file, for messages.
    order : sequence of (str, int)
        Where the file is text: the field of each layer and its line.

    Raises
    ------
    ModelError
        A layer without a type, a name that is none, or inputs that do not fit their sizes.
    """
    if len(order) == len(net.layer) + len(net.layers):
        rest = {"layer": iter(net.layer), "layers": iter(net.layers)}
        read = [_layer(next(rest[field]), f"{where}:{line}") for field, line in order]
    else:
        read = [_layer(message, where) for message in (*net.layer, *net.layers)]
    layers = [*_old_inputs(net, where), *without_padding(read)]
    for layer in layers:
        if not layer.type:
            raise ModelError(f"{layer.place}: layer {layer.name!r} has no type")
        # Names go into messages, which are lines.
        for text in (layer.name, layer.type, *layer.bottoms, *layer.tops):
            if not text.isprintable():
                raise ModelError(f"{layer.place}: layer {layer.name!r}: {text!r} is no name")
        for field, value in _without_end(layer.message):
            raise ModelError(f"{layer.place}: layer {layer.name!r}: expected a number for {field}, found {value:g}")
    return tuple(layers)


def _without_end(message: Message) -> Iterator[tuple[str, float]]:
    """Yield the options of a layer that are infinite or no number; only Clip may have infinite ones."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.message_type is not None and field.name != "clip_param":
            for inner in values:
                yield from _without_end(inner)
        elif field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
            yield from ((field.name, number) for number in values if not isfinite(number))


def _layer(message: Message, place: str) -> Layer:
    """Wrap a layer of any age."""
    if message.DESCRIPTOR.name == "LayerParameter":
        name, kind = message.name, message.type
    elif message.HasField("layer"):
        name, kind = message.layer.name, message.layer.type
    elif message.HasField("type_name"):
        name, kind = message.name, message.type_name
    else:
        enum = message.DESCRIPTOR.fields_by_name["type"].enum_type
        word = enum.values_by_number[message.type].name
        name, kind = message.name, "" if word == "NONE" else word
    wires = (tuple(message.bottom), tuple(message.top))
    if message.DESCRIPTOR.name == "V1LayerParameter" and message.HasField("layer"):
        message = from_v0(message, canonical(kind), place)
    return Layer(name, canonical(kind), *wires, message, place)


def _old_inputs(net: Message, where: str) -> Iterator[Layer]:
    """Yield an Input layer per net-level ``input``, with its ``input_shape`` or four ``input_dim``."""
    names, shapes, sizes = list(net.input), [tuple(s.dim) for s in net.input_shape], list(net.input_dim)
    if sizes and not shapes:
        if len(sizes) != 4 * len(names):
            raise ModelError(f"{where}: expected 4 input_dim per input, found {len(sizes)} for {len(names)} inputs")
        shapes = [tuple(sizes[k : k + 4]) for k in range(0, len(sizes), 4)]
    if shapes and len(shapes) not in (1, len(names)):
        raise ModelError(f"{where}: expected one input_shape per input, found {len(shapes)} for {len(names)} inputs")
    for k, name in enumerate(names):
        message = new_message("LayerParameter")
        if shapes:
            message.input_param.shape.add(dim=shapes[min(k, len(shapes) - 1)])
        yield Layer(name, "Input", (), (name,), message, where)


def at_test_time(layers: Iterable[Layer], net: Message) -> tuple[Layer, ...]:
    """Return the layers that Caffe would keep in phase TEST, at the level and stages the net itself states.

    Where that leaves nothing to bring images in, the file is for training alone, and its sources stay.

    Raises
    ------
    ModelError
        A layer with both ``include`` and ``exclude``.
    """
    judged = [(layer, _kept(layer, net.state)) for layer in layers]
    only_training = not any(kept and layer.is_source for layer, kept in judged)
    return tuple(layer for layer, kept in judged if kept or (only_training and layer.is_source))


def _kept(layer: Layer, state: Message) -> bool:
    """Whether a layer's rules keep it."""
    include, exclude = list(layer.message.include), list(layer.message.exclude)
    if include and exclude:
        raise ModelError(f"{layer.place}: layer {layer.name!r} has both include and exclude rules")
    return any(_met(rule, state) for rule in include) or not (include or any(_met(rule, state) for rule in exclude))


def _met(rule: Message, state: Message) -> bool:
    """Whether a rule fits phase TEST and the state's level and stages."""
    test = new_message("NetState").phase
    return (
        (not rule.HasField("phase") or rule.phase == test)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )


def without_training(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Drop losses and accuracy; a SoftmaxWithLoss leaves the Softmax it contains."""
    kept = []
    for layer in layers:
        if is_classifying_loss(layer.type) and layer.bottoms:
            # Its second top, where there is one, holds the probabilities.
            top = layer.tops[1:2] or layer.tops or (layer.name,)
            kept.append(replace(layer, type="Softmax", bottoms=layer.bottoms[:1], tops=top))
        elif not is_reporting(layer.type):
            kept.append(layer)
    return tuple(kept)
