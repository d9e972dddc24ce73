"""The translation functions by layer type, and what each of them works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from numpy.typing import ArrayLike

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Array, Attribute, Shape
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.weights import Blob, Weights
from lrptool.loaders.caffe.wiring import Names, Wired
from lrptool.ops import GraphBuilder


@dataclass(slots=True)
class Translation:
    """A graph in the making.

    Parameters
    ----------
    builder : GraphBuilder
    weights : Weights
    names : Names
        Every name of a layer or tensor, so that helpers do not take one.
    aliases : dict of str to str
        Tensors that are another tensor under a second name.
    """

    builder: GraphBuilder
    weights: Weights
    names: Names
    aliases: dict[str, str] = field(default_factory=dict)

    def actual(self, tensor: str) -> str:
        """Return the name a tensor has in the graph."""
        return self.aliases.get(tensor, tensor)

    def shape(self, tensor: str) -> Shape:
        """Return the shape of a tensor."""
        return self.builder.shape(self.actual(tensor))


class Step:
    """One layer on its way into the graph.

    Parameters
    ----------
    item : Wired
        The layer with its tensors.
    translation : Translation
        What it is added to.
    """

    def __init__(self, item: Wired, translation: Translation) -> None:
        self.item = item
        self._translation = translation
        self.took_weights = False

    @property
    def where(self) -> str:
        """The layer, for messages."""
        return f"layer {self.item.name!r} ({self.item.layer.type})"

    @property
    def input(self) -> str:
        """The only tensor read; ModelError where there are none or several."""
        if len(self.item.inputs) != 1:
            raise ModelError(f"{self.where}: expected one bottom, found {len(self.item.inputs)}")
        return self._translation.actual(self.item.inputs[0])

    @property
    def inputs(self) -> tuple[str, ...]:
        """All tensors read; ModelError where there are none."""
        if not self.item.inputs:
            raise ModelError(f"{self.where}: expected at least one bottom, found none")
        return tuple(self._translation.actual(tensor) for tensor in self.item.inputs)

    def two_inputs(self) -> tuple[str, str]:
        """Return the two tensors read; ModelError where there are more or fewer."""
        if len(self.item.inputs) != 2:
            raise ModelError(f"{self.where}: expected two bottoms, found {len(self.item.inputs)}")
        first, second = self.inputs
        return first, second

    def options(self, block: str) -> Message:
        """Return a block of the layer's options."""
        return self.item.layer.options(block)

    def shape(self, tensor: str) -> Shape:
        """Return the shape of a tensor in the graph."""
        return self._translation.builder.shape(tensor)

    def image_shape(self) -> tuple[int, int, int]:
        """Return (C, H, W) of the input; ModelError where it has other axes."""
        shape = self.shape(self.input)
        if len(shape) != 4:
            raise ModelError(f"{self.where}: expected an input (N, C, H, W), found shape {shape}")
        channels, height, width = (size or 0 for size in shape[1:])
        return channels, height, width

    def axis(self, axis: int) -> int:
        """Return an axis of the input counted from the front; the batch axis is refused."""
        rank = len(self.shape(self.inputs[0]))
        if not -rank <= axis < rank:
            raise ModelError(f"{self.where}: axis {axis} does not exist in an input of {rank} axes")
        if axis % rank == 0:
            raise UnsupportedError(f"{self.where}: works across the images of a batch (axis {axis})")
        return axis % rank

    def weights(self, *blobs: Blob) -> tuple[Array, ...]:
        """Take the layer's arrays."""
        self.took_weights = True
        return self._translation.weights.take(self.item, blobs)

    def constants(self, **blobs: Blob | None) -> list[str]:
        """Take the layer's arrays, in the order given, as constants; None is left out."""
        wanted = {role: blob for role, blob in blobs.items() if blob is not None}
        arrays = self.weights(*wanted.values())
        return [
            self.constant(role, array.T if blob.transposed else array)
            for (role, blob), array in zip(wanted.items(), arrays, strict=True)
        ]

    def constant(self, role: str, value: ArrayLike) -> str:
        """Add a constant called after the layer."""
        return self._translation.builder.constant(self._helper(role), value)

    def helper(self, role: str, op: str, inputs: tuple[str, ...], **attributes: Attribute) -> str:
        """Add a node in front of the layer's own; return its tensor."""
        return self._translation.builder.add(op, self._helper(role), inputs, None, **attributes)[0]

    def node(self, op: str, *inputs: str, **attributes: Attribute) -> None:
        """Add the layer's own node."""
        self._translation.builder.add(op, self.item.name, inputs, self.item.outputs, **attributes)

    def alias(self, *sources: str) -> None:
        """Give tensors already there the names of the layer's outputs."""
        self._translation.aliases.update(zip(self.item.outputs, sources, strict=True))

    def _helper(self, role: str) -> str:
        """Return a free name that starts with the layer's."""
        return self._translation.names.fresh(f"{self.item.name}/{role}")


Translator = Callable[[Step], None]
TRANSLATORS: dict[str, Translator] = {}


def translates(layer_type: str) -> Callable[[Translator], Translator]:
    """Decorate the translation function of a layer type; duplicates are refused."""

    def register(translator: Translator) -> Translator:
        if layer_type in TRANSLATORS:
            raise ValueError(f"layer type {layer_type!r} is translated twice")
        TRANSLATORS[layer_type] = translator
        return translator

    return register
