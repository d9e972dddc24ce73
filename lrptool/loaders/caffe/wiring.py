"""Which layer reads what which layer wrote: every tensor gets a name of its own and is written once.

Caffe layers may overwrite what they read (a ReLU in place). The first tensor in a blob is called like the blob, what a
layer puts there later like the blob and that layer, ``conv1/relu1``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lrptool.errors import ModelError, UnsupportedError, did_you_mean
from lrptool.graph import Head
from lrptool.loaders.caffe.upgrade import SOURCES, Layer

_CARRIERS = frozenset({"Flatten", "Reshape", "Split"})
"""What may stand behind the last Softmax without being an output of its own."""


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


@dataclass(frozen=True, slots=True)
class Network:
    """The part of a net that leads from the image to the scores.

    Parameters
    ----------
    source : Layer
        The layer that brings the image in.
    input : str
        The image tensor.
    layers : tuple of Wired
        In file order, sources and the final Softmax left out.
    output : str
        The tensor with the scores.
    head : {"softmax", "logits"}
    softmax : Wired or None
        The final Softmax.
    notes : tuple of str
    """

    source: Layer
    input: str
    layers: tuple[Wired, ...]
    output: str
    head: Head
    softmax: Wired | None
    notes: tuple[str, ...]


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


def wire(layers: Sequence[Layer], where: str) -> tuple[Wired, ...]:
    """Give every layer a unique name and every tensor a name that is written once.

    Raises
    ------
    ModelError
        A layer reads a blob nobody wrote, or writes one that another layer wrote and it does not read.
    """
    node_names = Names()
    blobs = {top for layer in layers for top in layer.tops}
    tensor_names = Names(blobs)
    current: dict[str, str] = {}
    seen: Counter[str] = Counter()
    wired = []
    for layer in layers:
        for bottom in layer.bottoms:
            if bottom not in current:
                raise ModelError(
                    f"{where}: layer {layer.name!r} reads {bottom!r}, which no layer before it writes",
                    hint=did_you_mean(bottom, current),
                )
        if len(set(layer.tops)) != len(layer.tops):
            raise ModelError(f"{where}: layer {layer.name!r} writes one blob twice")
        inputs = tuple(current[bottom] for bottom in layer.bottoms)
        outputs = []
        for top in layer.tops:
            if top in current and top not in layer.bottoms:
                raise ModelError(f"{where}: layer {layer.name!r} writes {top!r}, which an earlier layer wrote")
            current[top] = tensor_names.fresh(f"{top}/{layer.name}") if top in current else top
            outputs.append(current[top])
        name = node_names.fresh(layer.name or layer.type)
        wired.append(Wired(layer, name, seen[layer.name], inputs, tuple(outputs)))
        # An input may share its name with a layer; the weights are not its.
        seen[layer.name] += layer.type not in SOURCES
    return tuple(wired)


def select(wired: Sequence[Wired], where: str) -> Network:
    """Find the scores and keep what leads to them.

    The scores stand below the last Softmax that nothing reads; without one, they are what the last layer writes.

    Raises
    ------
    ModelError
        No layer between an input and the scores.
    UnsupportedError
        The scores depend on several inputs.
    """
    producer = {tensor: item for item in wired for tensor in item.outputs}
    read = {tensor for item in wired for tensor in item.inputs}
    ends = [
        item
        for item in wired
        if item.outputs and item.layer.type not in SOURCES and not any(tensor in read for tensor in item.outputs)
    ]
    if not ends:
        raise ModelError(f"{where}: expected layers behind an input, found none")
    heads = [(end, _softmax_of(end, producer)) for end in ends]
    end, softmax = next((pair for pair in reversed(heads) if pair[1]), heads[-1])
    if softmax is not None and len(softmax.inputs) != 1:
        raise ModelError(f"{where}: layer {softmax.name!r} (Softmax) expects one bottom, found {len(softmax.inputs)}")
    output = softmax.inputs[0] if softmax else end.outputs[-1]

    wanted, kept = {output}, []
    for item in reversed(wired):
        if wanted.intersection(item.outputs):
            wanted.update(item.inputs)
            kept.append(item)
    sources = [
        (item, tensor) for item in kept if item.layer.type in SOURCES for tensor in item.outputs if tensor in wanted
    ]
    if len(sources) > 1:
        names = ", ".join(sorted(tensor for _, tensor in sources))
        raise UnsupportedError(f"{where}: expected one input, found {len(sources)}: {names}")
    body = tuple(item for item in reversed(kept) if item.layer.type not in SOURCES)
    if not sources or not body:
        raise ModelError(f"{where}: expected layers between an input and the scores {output!r}, found none")
    source, tensor = sources[0]
    head: Head = "softmax" if softmax else "logits"
    return Network(source.layer, tensor, body, output, head, softmax, _notes(body, ends, end, output))


def _softmax_of(end: Wired, producer: dict[str, Wired]) -> Wired | None:
    """Return the Softmax an end is, or carries on in another shape."""
    item = end
    while item.layer.type in _CARRIERS and item.inputs:
        item = producer[item.inputs[0]]
    return item if item.layer.type == "Softmax" else None


def _notes(body: Sequence[Wired], ends: Sequence[Wired], end: Wired, output: str) -> tuple[str, ...]:
    """Say what was renamed and which ends were left out."""
    notes = []
    renamed = [item.name for item in body if item.name != item.layer.name]
    if renamed:
        notes.append(f"layers with a name that was taken or missing are called {', '.join(renamed)}")
    others = [item.name for item in ends if item is not end and item.inputs != (output,)]
    if others:
        notes.append(f"the scores are {output!r}; left out what leads only to {', '.join(others)}")
    return tuple(notes)
