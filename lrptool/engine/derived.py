"""Activations that follow from others, so that the forward session need not hand them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from lrptool.graph import Graph, Node
from lrptool.ops import Values

if TYPE_CHECKING:
    from lrptool.engine.compiling import Step


@dataclass(frozen=True, slots=True)
class Slice:
    """Values of an item of another tensor, from `begin` on."""

    whole: str
    begin: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A summand, as the sum without the other one; its error is the rounding of the sum, whatever its own size."""

    whole: str
    less: str


class Derived:
    """What follows from what.

    Parameters
    ----------
    steps : sequence of Step
    graph : Graph

    Attributes
    ----------
    fetched : sequence of str
        What the session has to hand out.
    slices : mapping of str to Slice
        Parts of a needed concatenation along the channels.
    differences : mapping of str to Difference
        Summands nobody looks at but the sum and the layer that makes them. Handing one out costs a session the fusion
        of layer, sum and activation.
    """

    def __init__(self, steps: Sequence[Step], graph: Graph) -> None:
        self._graph = graph
        needed = {graph.output, *(name for step in steps for name in step.reads)}
        # Never fetch a ReLU's output beside its input: one follows from the other.
        self._rectified = {
            node.outputs[0]: node.inputs[0]
            for node in graph.nodes
            if node.op == "Relu" and node.outputs[0] in needed and node.inputs[0] in needed
        }
        self.differences = _differences(steps, graph)
        needed -= self._rectified.keys() | self.differences.keys()
        self.slices = _slices(needed - {graph.output}, graph)
        self.fetched = sorted(needed - self.slices.keys())

    def complete(self, fetched: Mapping[str, Values]) -> Found:
        """Return all activations the walk looks at."""
        return Found(
            fetched,
            dict.fromkeys(self.slices, self._slice)
            | dict.fromkeys(self._rectified, self._rectify)
            | dict.fromkeys(self.differences, self._differ),
        )

    def _slice(self, name: str, found: Mapping[str, Values]) -> Values:
        """A part of a concatenation."""
        part = self.slices[name]
        shape = self._graph.tensors[name].item_shape
        whole = found[part.whole]
        values = whole.reshape(len(whole), -1)[:, part.begin : part.begin + prod(shape)]
        return values.reshape(len(whole), *shape)

    def _rectify(self, name: str, found: Mapping[str, Values]) -> Values:
        """A ReLU's output."""
        return np.maximum(found[self._rectified[name]], 0)

    def _differ(self, name: str, found: Mapping[str, Values]) -> Values:
        """A summand."""
        difference = self.differences[name]
        return found[difference.whole] - found[difference.less]


class Found(Mapping[str, Values]):
    """Activations by name; those that are derived are computed when they are looked at.

    Parameters
    ----------
    found : mapping of str to array
    derived : mapping of str to callable
        (name, activations) → array.
    """

    def __init__(
        self, found: Mapping[str, Values], derived: Mapping[str, Callable[[str, Mapping[str, Values]], Values]]
    ) -> None:
        self._found, self._derived = dict(found), derived

    def __getitem__(self, name: str) -> Values:
        """Return an activation."""
        if name not in self._found:
            self._found[name] = self._derived[name](name, self)
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such an activation; computes nothing."""
        return name in self._found or name in self._derived

    def __iter__(self) -> Iterator[str]:
        """All names."""
        return iter(self._found.keys() | self._derived.keys())

    def __or__(self, others: Mapping[str, Values]) -> dict[str, Values]:
        """Return all of these and others."""
        return {**self, **others}

    def __len__(self) -> int:
        """Number of names."""
        return len(self._found.keys() | self._derived.keys())


def _slices(needed: set[str], graph: Graph) -> dict[str, Slice]:
    """Needed inputs of a needed concatenation along the channels: parts of it, which need not be fetched twice."""
    found = {}
    for node in graph.nodes:
        if node.op == "Concat" and node.integer("axis") == 1 and node.outputs[0] in needed:
            begin = 0
            for name in node.inputs:
                if name in needed:
                    found[name] = Slice(node.outputs[0], begin)
                shape = graph.tensors[name].shape if name in graph.tensors else graph.constants[name].shape
                begin += prod(size or 1 for size in shape[1:])
    # A concatenation of concatenations: the largest whole is the one that is fetched.
    return {name: _outermost(part, found) for name, part in found.items()}


def _outermost(part: Slice, found: dict[str, Slice]) -> Slice:
    """Follow a slice to the tensor that is fetched."""
    while part.whole in found:
        outer = found[part.whole]
        part = Slice(outer.whole, outer.begin + part.begin)
    return part


def _differences(steps: Sequence[Step], graph: Graph) -> dict[str, Difference]:
    """One summand of every sum of two, where it and the other are needed by nobody who could tell the difference."""
    readers: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.reads:
            readers.setdefault(name, []).append(step)
    makers = {name: step for step in steps for name in step.node.outputs}
    found: dict[str, Difference] = {}
    for step in steps:
        if _adds_two(step.node, graph) and step.layer is not None and step.layer.preactivation is not None:
            for name, other in (step.layer.inputs, step.layer.inputs[::-1]):
                known = {other, step.layer.preactivation}.isdisjoint(found)
                # Whoever else takes it in may get relevance where the sum got none, and the difference is wrong.
                alone = len(graph.consumers[name]) == 1 and name != graph.output
                if known and alone and readers.get(name) and _only_divides(name, step, readers[name], makers.get(name)):
                    found[name] = Difference(step.layer.preactivation, other)
                    break
    return found


def _adds_two(node: Node, graph: Graph) -> bool:
    """Whether a node is the plain sum of two different tensors of one shape."""
    inputs = [name for name in node.inputs if name in graph.tensors]
    plain = node.op == "Sum" and node.attributes.get("coefficients", ()) in ((), (1.0, 1.0))
    return plain and len(set(inputs)) == len(node.inputs) == 2 and len({graph.tensors[x].shape for x in inputs}) == 1


def _only_divides(name: str, adder: Step, readers: Sequence[Step], maker: Step | None) -> bool:
    """Whether a summand is looked at by its sum and, as a denominator, by the layer that makes it, and nobody else.

    The sum's pre-activation may be what a ReLU made of it: where that is zero no relevance arrives, and the summand is
    multiplied by nothing. So it must not be divided by alone, nor averaged over.
    """
    if (
        maker is None
        or maker.layer is None
        or not maker.layer.step.packs
        or any(step is not adder and step is not maker for step in readers)
    ):
        return False
    return name not in maker.layer.inputs and (maker not in readers or maker.layer.step.stays_finite)
