"""One form for networks of every age: current layers, an Input layer, only what is there at test time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.schema import Message, new_message

SOURCES = frozenset({"Input", "Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "DummyData"})
"""Layer types that bring images (and labels) in."""

_REPORTING = frozenset({"Accuracy", "Silence", "HDF5Output"})

_V1_TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN", "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "POOLING": "Pooling", "POWER": "Power",
    "RELU": "ReLU", "SIGMOID": "Sigmoid", "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence", "SLICE": "Slice", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split", "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in the current form.

    Parameters
    ----------
    name, type : str
        As in the file; the type is the current word (``Convolution``) whatever the file's age.
    bottoms, tops : tuple of str
        Blobs read and written.
    message : Message
        The LayerParameter or V1LayerParameter it was read from.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Message

    def options(self, block: str) -> Message:
        """Return a block such as ``convolution_param``, with defaults for what the file leaves out."""
        known = block in self.message.DESCRIPTOR.fields_by_name
        return getattr(self.message if known else new_message("LayerParameter"), block)


def layers_of(net: Message, where: str) -> tuple[Layer, ...]:
    """Return all layers of a net in the current form, its old-style inputs first.

    Parameters
    ----------
    net : Message
        A NetParameter.
    where : str
        The file, for messages.

    Raises
    ------
    ModelError
        Layers of two ages in one net, a layer without a type, a name that is none, or inputs that do not fit their
        sizes.
    """
    if net.layer and net.layers:
        raise ModelError(f"{where}: expected 'layer' or 'layers', found both in one net")
    layers = [_current(layer) for layer in net.layer] if net.layer else [_from_v1(layer, where) for layer in net.layers]
    layers = [*_old_inputs(net, where), *layers]
    for layer in layers:
        if not layer.type:
            raise ModelError(f"{where}: layer {layer.name!r} has no type")
        # Names go into messages, which are lines.
        for text in (layer.name, layer.type, *layer.bottoms, *layer.tops):
            if not text.isprintable():
                raise ModelError(f"{where}: layer {layer.name!r}: {text!r} is no name")
    return tuple(layers)


def _current(layer: Message) -> Layer:
    """Wrap a current layer."""
    return Layer(layer.name, layer.type, tuple(layer.bottom), tuple(layer.top), layer)


def _from_v1(layer: Message, where: str) -> Layer:
    """Wrap a V1 layer; refuse V0."""
    if layer.HasField("layer"):
        raise UnsupportedError(
            f"{where}: layer {layer.layer.name!r} is in the form of 2013 ('layers {{ layer {{ … }} }}')",
            hint="convert the text with Caffe's upgrade_net_proto_text; weights of that age can stay as they are",
        )
    enum = layer.DESCRIPTOR.fields_by_name["type"].enum_type
    kind = _V1_TYPES.get(enum.values_by_number[layer.type].name, "")
    return Layer(layer.name, kind, tuple(layer.bottom), tuple(layer.top), layer)


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
        yield Layer(name, "Input", (), (name,), message)


def at_test_time(layers: Iterable[Layer], net: Message, where: str) -> tuple[Layer, ...]:
    """Return the layers that Caffe would keep in phase TEST, at the level and stages the net itself states.

    Raises
    ------
    ModelError
        A layer with both ``include`` and ``exclude``.
    """
    kept = []
    for layer in layers:
        include, exclude = list(layer.message.include), list(layer.message.exclude)
        if include and exclude:
            raise ModelError(f"{where}: layer {layer.name!r} has both include and exclude rules")
        if any(_met(rule, net.state) for rule in include) or not (include or any(_met(r, net.state) for r in exclude)):
            kept.append(layer)
    return tuple(kept)


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
        if layer.type == "SoftmaxWithLoss" and layer.bottoms:
            # Its second top, where there is one, holds the probabilities.
            top = layer.tops[1:2] or layer.tops or (layer.name,)
            kept.append(Layer(layer.name, "Softmax", layer.bottoms[:1], top, layer.message))
        elif layer.type not in _REPORTING and not layer.type.endswith("Loss"):
            kept.append(layer)
    return tuple(kept)
