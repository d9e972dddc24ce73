"""Which layer reads what which layer wrote: every tensor gets a name of its own and is written once.

Caffe layers may overwrite what they read (a ReLU in place). The first tensor in a blob is called like the blob, what a
layer puts there later like the blob and that layer, ``conv1/relu1``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lrptool.errors import ModelError, did_you_mean
from lrptool.loaders.caffe.layer import Layer


@dataclass(frozen=True, slots=True)
class Wired:
    """A layer with its tensors.

    Parameters
    ----------
    layer : Layer
    name : str
        Unique: the layer's name, with ``#2`` behind the second layer of that name.
    occurrence : int
        0 for the first layer of its name, 1 for the second; inputs do not count.
    inputs, outputs : tuple of str
        Names of tensors.
    """

    layer: Layer
    name: str
    occurrence: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Names:
    """Names in use; hands out new ones.

    Parameters
    ----------
    taken : iterable of str
        Names nobody gets.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, wanted: str) -> str:
        """Return `wanted`, or `wanted` with the first free number behind it."""
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}#{count}"
        self._taken.add(name)
        return name


def wire(layers: Sequence[Layer]) -> tuple[Wired, ...]:
    """Give every layer a unique name and every tensor a name that is written once.

    Raises
    ------
    ModelError
        A layer reads a blob that no layer before it wrote, or writes one that another layer wrote and it does not read.
    """
    node_names = Names()
    tensor_names = Names(top for layer in layers for top in layer.tops)
    current: dict[str, str] = {}
    seen: Counter[str] = Counter()
    wired = []
    for index, layer in enumerate(layers):
        for bottom in layer.bottoms:
            if bottom not in current:
                raise _unwritten(layer, bottom, current, layers[index:])
        if len(set(layer.tops)) != len(layer.tops):
            raise ModelError(f"{layer.place}: layer {layer.name!r} writes one blob twice")
        inputs = tuple(current[bottom] for bottom in layer.bottoms)
        outputs = []
        for top in layer.tops:
            if top in current and top not in layer.bottoms:
                raise ModelError(f"{layer.place}: layer {layer.name!r} writes {top!r}, which an earlier layer wrote")
            current[top] = tensor_names.fresh(f"{top}/{layer.name}") if top in current else top
            outputs.append(current[top])
        name = node_names.fresh(layer.name or layer.type)
        wired.append(Wired(layer, name, seen[layer.name], inputs, tuple(outputs)))
        # An input may share its name with a layer; the weights are not its.
        seen[layer.name] += not layer.is_source
    return tuple(wired)


def _unwritten(layer: Layer, bottom: str, written: Iterable[str], rest: Sequence[Layer]) -> ModelError:
    """Return the error for a bottom nobody wrote yet."""
    what = f"{layer.place}: layer {layer.name!r} reads {bottom!r}, which no layer before it writes"
    later = next((other for other in rest if bottom in other.tops), None)
    if later is None:
        return ModelError(what, hint=did_you_mean(bottom, written))
    who = "itself" if later is layer else f"layer {later.name!r} behind it"
    return ModelError(f"{what}: only {who} does", hint="a net runs in the order of its file and has no cycles")
