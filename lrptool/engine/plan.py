"""The way back as one schedule: where every tensor's relevance lies, and which tasks bring it there."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import DTypeLike

from lrptool.engine.derived import Derived
from lrptool.graph import Graph
from lrptool.kernels import MEMORY, Place, Run, Schedule, add_copy
from lrptool.ops import Values

if TYPE_CHECKING:
    from lrptool.engine.compiling import Step

Activations = Mapping[str, Values]

_START, _RESULT = "/start", "/result"
"""Names no tensor has: relevance the walk begins and ends with."""


def _by_depth(steps: Sequence[Step], graph: Graph) -> list[Step]:
    """Order steps by their longest way from the output: branches side by side, whose tasks need not wait for others."""
    depth = {graph.output: 0}
    depths = []
    for step in steps:
        own = 1 + max(depth.get(name, 0) for name in step.node.outputs)
        depths.append(own)
        for name in step.inputs:
            depth[name] = max(depth.get(name, 0), own)
    return [steps[k] for k in sorted(range(len(steps)), key=depths.__getitem__)]


class Plan:
    """The steps of a program as a schedule for one batch size and dtype.

    A tensor's relevance lies where the first step that hands it any puts it; later ones add to it. Steps that only
    rename relevance (activations, concatenations, reshapes) move nothing. Steps without tasks are called in between.

    Parameters
    ----------
    graph : Graph
    steps : sequence of Step
        From the output back.
    derived : Derived
        Activations that follow from others.
    batch : int
    dtype : float32 or float64
    added : callable, optional
        Told of every step as soon as its weights are packed.
    """

    def __init__(
        self,
        graph: Graph,
        steps: Sequence[Step],
        derived: Derived,
        batch: int,
        dtype: DTypeLike,
        added: Callable[[Step], None] | None = None,
    ) -> None:
        self._graph, self._derived, self._batch = graph, derived, batch
        self.schedule = Schedule(batch, dtype)
        self._homes = {graph.output: self.schedule.named(_START, self.values(graph.output))}
        for step in _by_depth(steps, graph):
            self._add(step)
            if added is not None:
                added(step)
        self._finish()

    def __call__(self, activations: Activations, further: Activations, relevance: Values) -> Values:
        """Return the relevance of the network's input, given that of its output, and results besides activations."""
        result = MEMORY.take((self._batch, *self._graph.input.item_shape), self.schedule.dtype)
        # A copy: an output that is an input, too, would be added to.
        start = np.array(relevance, self.schedule.dtype, order="C")
        arrays: dict[str, Values] = {_START: start, _RESULT: result}
        for name in self.schedule.names - arrays.keys():
            array = further[name] if name in further else activations[name]
            arrays[name] = np.ascontiguousarray(array, self.schedule.dtype)
        # Steps that are called look at the others, too; nothing is written to those.
        self.schedule.run(ChainMap(arrays, cast("MutableMapping[str, Values]", activations)))
        return result

    def values(self, name: str) -> int:
        """Values of a tensor per item."""
        return prod(self._graph.tensors[name].item_shape)

    def activation(self, name: str) -> Place:
        """Return where an activation lies."""
        if name in self._derived.slices:
            part = self._derived.slices[name]
            return self.schedule.named(part.whole, self.values(part.whole)).shifted(part.begin)
        if name in self._derived.differences:
            difference = self._derived.differences[name]
            return self.schedule.difference(self.activation(difference.whole), self.activation(difference.less))
        return self.schedule.named(name, self.values(name))

    def into(self, name: str) -> tuple[Place, bool]:
        """Return where a tensor's relevance is to be written, and whether to add to what is there."""
        if name in self._homes:
            return self._homes[name], True
        values = self.values(name)
        is_input = name == self._graph.input.name
        self._homes[name] = self.schedule.named(_RESULT, values) if is_input else self.schedule.scratch(values)
        return self._homes[name], False

    def alias(self, name: str, place: Place) -> None:
        """Let a tensor's relevance be what lies in a place; added to what it has already, if any."""
        if name in self._homes or name == self._graph.input.name:
            out, accumulate = self.into(name)
            add_copy(self.schedule, self.values(name), place, out, accumulate=accumulate)
        else:
            self._homes[name] = place

    def _add(self, step: Step) -> None:
        """Add one step; nothing where nothing arrives."""
        arriving = [self._homes.get(name) for name in step.node.outputs]
        found = [place for place in arriving if place is not None]
        if step.add_to is not None and len(found) == len(arriving):
            step.add_to(self, found)
        elif found:
            self._call(step, arriving)

    def _call(self, step: Step, arriving: Sequence[Place | None]) -> None:
        """Let a step without tasks be called; an output nobody read gets zeros."""
        into = [self.into(name) for name in step.inputs]
        shapes = [self._graph.tensors[name].item_shape for name in (*step.node.outputs, *step.inputs)]
        outer, inner = shapes[: len(arriving)], shapes[len(arriving) :]
        batch, dtype = self._batch, self.schedule.dtype

        def redistribute(run: Run) -> None:
            relevances = [
                np.zeros((batch, *shape), dtype) if place is None else run.view(place, batch, shape)
                for place, shape in zip(arriving, outer, strict=True)
            ]
            shares = step.redistribute(relevances, run.arrays)
            for (place, accumulate), shape, share in zip(into, inner, shares, strict=True):
                target = run.view(place, batch, shape)
                np.add(target, share, out=target) if accumulate else np.copyto(target, share)

        places = [place for place, _ in into]
        self.schedule.call(redistribute, [place for place in arriving if place is not None], places)

    def _finish(self) -> None:
        """See to it that the input has relevance."""
        name = self._graph.input.name
        if name not in self._homes:
            place, _ = self.into(name)
            shape = self._graph.input.item_shape
            self.schedule.call(lambda run: run.view(place, self._batch, shape).fill(0), [], [place])
