"""The translation functions by layer type, and what each of them works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Array, Attribute, Shape
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.spread import spread_of
from lrptool.loaders.caffe.weights import Blob, Weights
from lrptool.loaders.caffe.wiring import Names, Wired
from lrptool.ops import GraphBuilder

_MOST_VALUES = 2**29
"""Of a tensor, for one image: 2 GB. Beyond it a size is a slip."""


@dataclass(slots=True)
class Translation:
    """A graph in the making.

    Parameters
    ----------
    builder : GraphBuilder
    weights : Weights
    names : Names
        Every name of a layer or tensor, so that helpers do not take one.
    read : set of str
        The tensors that some layer reads, and the scores.
    aliases : dict of str to str
        Tensors that are another tensor under a second name.
    constants : dict of str to array
        By name.
    spread : dict of str to float
        Estimated mean square of every tensor; see `lrptool.loaders.caffe.spread`.
    """

    builder: GraphBuilder
    weights: Weights
    names: Names
    read: frozenset[str]
    aliases: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)

    def actual(self, tensor: str) -> str:
        """Return the name a tensor has in the graph."""
        return self.aliases.get(tensor, tensor)

    def add(
        self, op: str, name: str, inputs: Sequence[str], outputs: Sequence[str] | None, **attributes: Attribute
    ) -> tuple[str, ...]:
        """Add a node; return its tensors."""
        made = self.builder.add(op, name, inputs, outputs, **attributes)
        for tensor in made:
            values = prod(size or 1 for size in self.builder.shape(tensor))
            if values > _MOST_VALUES:
                raise ModelError(f"{tensor!r} would hold {values} values for one image, more than any network")
        squares = [self.spread.get(tensor, 1.0) for tensor in inputs]
        constants = [self.constants[tensor] for tensor in inputs if tensor in self.constants]
        self.spread.update(dict.fromkeys(made, spread_of(op, squares, constants, attributes)))
        return made


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
        """File, line and layer, for messages."""
        return f"{self.item.layer.place}: layer {self.item.name!r} ({self.item.layer.type})"

    @property
    def input(self) -> str:
        """The only tensor read; ModelError where there are none or several."""
        if len(self.item.inputs) != 1:
            raise ModelError(f"{self.where}: expected one bottom, found {len(self.item.inputs)}")
        return self._given(0)

    @property
    def inputs(self) -> tuple[str, ...]:
        """All tensors read; ModelError where there are none."""
        if not self.item.inputs:
            raise ModelError(f"{self.where}: expected at least one bottom, found none")
        return tuple(map(self._given, range(len(self.item.inputs))))

    def two_inputs(self) -> tuple[str, str]:
        """Return the two tensors read; ModelError where there are more or fewer."""
        if len(self.item.inputs) != 2:
            raise ModelError(f"{self.where}: expected two bottoms, found {len(self.item.inputs)}")
        return self._given(0), self._given(1)

    def _given(self, index: int) -> str:
        """Return the name in the graph of a tensor read."""
        return self._translation.actual(self.item.inputs[index])

    @property
    def output(self) -> str:
        """The only tensor written that anybody reads; UnsupportedError where there are more."""
        first, *others = self.item.outputs
        wanted = [tensor for tensor in others if tensor in self._translation.read]
        if wanted:
            raise UnsupportedError(
                f"{self.where}: expected one top, found {len(self.item.outputs)}, of which {', '.join(wanted)} is read"
            )
        return first

    def options(self, block: str) -> Message:
        """Return a block of the layer's options."""
        return self.item.layer.options(block)

    def shape(self, tensor: str) -> Shape:
        """Return the shape of a tensor in the graph."""
        return self._translation.builder.shape(tensor)

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is the same for every image."""
        return tensor in self._translation.constants

    def value(self, tensor: str) -> Array:
        """Return the numbers of a constant."""
        return self._translation.constants[tensor]

    def image_shape(self) -> tuple[int, int, int]:
        """Return (C, H, W) of the input; ModelError where it has other axes."""
        shape = self.shape(self.input)
        if len(shape) != 4:
            raise ModelError(f"{self.where}: expected an input (N, C, H, W), found shape {shape}")
        channels, height, width = (size or 0 for size in shape[1:])
        return channels, height, width

    def any_axis(self, axis: int, rank: int | None = None) -> int:
        """Return an axis of the first input counted from the front."""
        rank = len(self.shape(self.inputs[0])) if rank is None else rank
        if not -rank <= axis < rank:
            raise ModelError(f"{self.where}: axis {axis} does not exist in an input of {rank} axes")
        return axis % rank

    def axis(self, axis: int) -> int:
        """Return an axis of the first input counted from the front; the batch axis is refused."""
        found = self.any_axis(axis)
        if found == 0:
            raise UnsupportedError(f"{self.where}: works across the images of a batch (axis {axis})")
        return found

    def stored(self) -> int | None:
        """Return how many arrays the file of the weights has for the layer; None where there is no such file."""
        return self._translation.weights.count(self.item)

    def weights(self, *blobs: Blob) -> tuple[Array, ...]:
        """Take the layer's arrays."""
        self.took_weights = True
        spread = self._translation.spread.get(self._given(0), 1.0) if self.item.inputs else 1.0
        return self._translation.weights.take(self.item, blobs, spread)

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
        return self.named_constant(self._helper(role), value)

    def named_constant(self, name: str, value: ArrayLike) -> str:
        """Add a constant of a given name."""
        array = np.asarray(value, np.float32)
        translation = self._translation
        translation.constants[name] = array
        translation.spread[name] = float(np.mean(np.square(array, dtype=np.float64))) if array.size < 2**16 else 1.0
        return translation.builder.constant(name, array)

    def helper(self, role: str, op: str, inputs: tuple[str, ...], **attributes: Attribute) -> str:
        """Add a node in front of the layer's own; return its tensor."""
        return self._add(op, self._helper(role), inputs, None, **attributes)[0]

    def node(self, op: str, *inputs: str, **attributes: Attribute) -> None:
        """Add the layer's own node, which writes one tensor."""
        self._add(op, self.item.name, inputs, (self.output,), **attributes)

    def parts(self, op: str, *inputs: str, **attributes: Attribute) -> None:
        """Add the layer's own node, which writes all of its tensors."""
        self._add(op, self.item.name, inputs, self.item.outputs, **attributes)

    def _add(
        self, op: str, name: str, inputs: Sequence[str], outputs: Sequence[str] | None, **attributes: Attribute
    ) -> tuple[str, ...]:
        """Add a node; what an operator finds wrong is told with the file and the layer."""
        if all(map(self.is_constant, inputs)):
            raise UnsupportedError(
                f"{self.where}: reads nothing that depends on the image", hint="store what it computes as a Parameter"
            )
        try:
            return self._translation.add(op, name, inputs, outputs, **attributes)
        except ModelError as error:
            raise type(error)(f"{self.where}: {error.message}", error.hint) from None

    def alias(self, *sources: str) -> None:
        """Give tensors already there the names of the layer's outputs."""
        self._translation.aliases.update(zip(self.item.outputs, sources, strict=True))

    def _helper(self, role: str) -> str:
        """Return a free name that starts with the layer's."""
        return self._translation.names.fresh(f"{self.item.name}/{role}")


Translator = Callable[[Step], None]
TRANSLATORS: dict[str, Translator] = {}


def translates(*layer_types: str) -> Callable[[Translator], Translator]:
    """Decorate the translation function of layer types; duplicates are refused."""

    def register(translator: Translator) -> Translator:
        for layer_type in layer_types:
            if layer_type in TRANSLATORS:
                raise ValueError(f"layer type {layer_type!r} is translated twice")
            TRANSLATORS[layer_type] = translator
        return translator

    return register
