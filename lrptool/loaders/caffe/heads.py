"""Where the scores are, and which part of a net leads from the image to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrptool.errors import ModelError, UnsupportedError, did_you_mean
from lrptool.graph import Head
from lrptool.loaders.caffe.layer import Layer
from lrptool.loaders.caffe.wiring import Wired

_CARRIERS = frozenset({"ArgMax", "Flatten", "Reshape", "Split"})
"""What may stand behind the last Softmax without being an output of its own."""
_CLASSIFIERS = frozenset({"Bias", "Convolution", "InnerProduct", "Scale"})
"""What writes scores for a last Sigmoid."""


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
        In file order; the image's source and the final Softmax left out.
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


@dataclass(frozen=True, slots=True)
class _End:
    """A layer whose outputs nobody reads, or one the user asks for.

    Parameters
    ----------
    item : Wired
    softmax : Wired or None
        The Softmax that it is, or carries on in another shape.
    output : str
        The tensor with the scores.
    weight : float
        What the file says this loss counts in training.
    depth : int
        Layers on the longest way to it.
    """

    item: Wired
    softmax: Wired | None
    output: str
    weight: float
    depth: int


def select(wired: Sequence[Wired], where: str, output: str | None = None) -> Network:
    """Find the scores and keep what leads to them.

    The scores stand below a Softmax that nothing reads. Of several, the main one is that with the largest loss_weight,
    then the deepest, then the last: the others are there to help training. Without any, they are what the last layer
    writes, or what it reads where that is a Sigmoid behind a layer with weights.

    Parameters
    ----------
    wired : sequence of Wired
        The net.
    where : str
        The file, for messages.
    output : str, optional
        A layer or blob to take the scores from instead.

    Raises
    ------
    ModelError
        No layer between an input and the scores, or no such output.
    UnsupportedError
        The scores depend on several inputs.
    """
    producer = {tensor: item for item in wired for tensor in item.outputs}
    read = {tensor for item in wired for tensor in item.inputs}
    depths = _depths(wired)
    ends = [
        _end(item, item.outputs[-1], producer, depths)
        for item in wired
        if item.outputs and not item.layer.is_source and not any(tensor in read for tensor in item.outputs)
    ]
    if not ends:
        raise ModelError(f"{where}: expected layers behind an input, found none")
    if output is None:
        heads = [end for end in ends if end.softmax]
        chosen = max(reversed(heads), key=lambda end: (end.weight, end.depth)) if heads else ends[-1]
    else:
        item, tensor = _asked_for(output, wired, where)
        chosen = _end(item, tensor, producer, depths)
    return _leading_to(chosen, wired, where, (*_cut(chosen, producer), *_choice(chosen, ends, output)))


def _depths(wired: Sequence[Wired]) -> dict[str, int]:
    """Return the number of layers on the longest way to each tensor."""
    depths: dict[str, int] = {}
    for item in wired:
        depth = 1 + max((depths[tensor] for tensor in item.inputs), default=0)
        depths.update(dict.fromkeys(item.outputs, depth))
    return depths


def _end(item: Wired, tensor: str, producer: Mapping[str, Wired], depths: Mapping[str, int]) -> _End:
    """Describe an end: look through what only carries a Softmax on."""
    weight = max(item.layer.message.loss_weight, default=1.0)
    at, score = item, tensor
    while at.layer.type in _CARRIERS and len(at.inputs) == 1 and at.inputs[0] in producer:
        # The position of the largest score is no score.
        score = at.inputs[0] if at.layer.type == "ArgMax" else score
        at = producer[at.inputs[0]]
    if at.layer.type != "Softmax":
        score = at.inputs[0] if _reads_scores(at, producer) else score
        return _End(item, None, score, weight, depths[tensor])
    if len(at.inputs) != 1:
        raise ModelError(f"{at.layer.place}: layer {at.name!r} (Softmax) expects one bottom, found {len(at.inputs)}")
    return _End(item, at, at.inputs[0], weight, depths[tensor])


def _reads_scores(item: Wired, producer: Mapping[str, Wired]) -> bool:
    """Whether a layer is a Sigmoid over scores: its probabilities say what they say, but saturate."""
    below = producer.get(item.inputs[0]) if item.layer.type == "Sigmoid" and item.inputs else None
    return below is not None and below.layer.type in _CLASSIFIERS


def _asked_for(output: str, wired: Sequence[Wired], where: str) -> tuple[Wired, str]:
    """Return the layer and tensor of the name a user gives: of a layer, or the last that a blob held."""
    found = [(item, item.outputs[-1]) for item in wired if output in (item.name, item.layer.name) and item.outputs]
    found += [
        (item, tensor)
        for item in wired
        for top, tensor in zip(item.layer.tops, item.outputs, strict=True)
        if output in (top, tensor)
    ]
    found = [(item, tensor) for item, tensor in found if not item.layer.is_source]
    if not found:
        names = [item.name for item in wired] + [tensor for item in wired for tensor in item.outputs]
        raise ModelError(f"{where}: there is no output {output!r}", hint=did_you_mean(output, names))
    return found[-1]


def _cut(chosen: _End, producer: Mapping[str, Wired]) -> tuple[str, ...]:
    """Say where probabilities that no softmax makes were left out."""
    if chosen.softmax or not _reads_scores(chosen.item, producer):
        return ()
    return (f"the scores are {chosen.output!r}, below the last Sigmoid",)


def _choice(chosen: _End, ends: Sequence[_End], asked: str | None) -> tuple[str, ...]:
    """Say which output was taken where there are others."""
    others = [end.item.name for end in ends if end.item is not chosen.item and end.output != chosen.output]
    if not others or asked is not None:
        return ()
    shown = ", ".join(others)
    return (f"the scores are {chosen.output!r} ({chosen.item.name}); other outputs: {shown} (--head NAME takes one)",)


def _leading_to(chosen: _End, wired: Sequence[Wired], where: str, notes: tuple[str, ...]) -> Network:
    """Keep what leads to the scores."""
    wanted, kept = {chosen.output}, list[Wired]()
    for item in reversed(wired):
        if wanted.intersection(item.outputs):
            wanted.update(item.inputs)
            kept.append(item)
    kept.reverse()
    sources = [(item, tensor) for item in kept if item.layer.is_source for tensor in item.outputs if tensor in wanted]
    images = [(item, tensor) for item, tensor in sources if item.layer.type != "DummyData"] or sources
    if len(images) > 1:
        names = ", ".join(sorted(tensor for _, tensor in images))
        raise UnsupportedError(
            f"{where}: expected one input, found {len(images)}: {names}",
            hint="--head NAME takes the scores from a layer that only one of them leads to",
        )
    body = tuple(item for item in kept if not images or item is not images[0][0])
    if not images or not any(item.inputs for item in body):
        raise ModelError(f"{where}: expected layers between an input and the scores {chosen.output!r}, found none")
    renamed = [item.name for item in body if item.name != item.layer.name]
    if renamed:
        notes = (f"layers with a name that was taken or missing are called {', '.join(renamed)}", *notes)
    source, tensor = images[0]
    head: Head = "softmax" if chosen.softmax else "logits"
    return Network(source.layer, tensor, body, chosen.output, head, chosen.softmax, notes)
