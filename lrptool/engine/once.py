"""The forward pass for one picture, where the weights of a second pass beside the network would not fit beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np

from lrptool.engine.denominators import Beside
from lrptool.engine.emit import emit_beside
from lrptool.engine.forward import Forward, open_session
from lrptool.graph import Array, Graph
from lrptool.kernels import give_back
from lrptool.ops import OnnxNode

_AT_A_TIME = 1 << 25
"""Bytes of weights in one session of denominators; onnxruntime has them three times while it makes it."""


class ForwardOnce:
    """A forward pass that holds no session when it is over: first the network, then denominators, some at a time.

    onnxruntime has every weight as it was given and in its own layout while a session is made, and parts of weights
    likewise. What is made, run and let go of one after the other is never in memory together. Called again, it makes
    the sessions again.

    Parameters
    ----------
    graph : Graph
    outputs : sequence of str
    threads : int
        Threads of the sessions; 0 lets onnxruntime choose.
    beside : Beside
        What is computed besides the network.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str], threads: int, beside: Beside) -> None:
        self._graph, self._threads = graph, threads
        self._groups = list(_groups(beside, graph))
        read = {name for node in beside.nodes.values() for name in node.inputs if name in graph.tensors}
        wanted = {name for name in outputs if name in graph.tensors} | read
        self._outputs = sorted(wanted - {graph.input.name})
        self._network: Forward | None = self._first()

    def _first(self) -> Forward:
        """Make the session of the network."""
        return Forward(self._graph, self._outputs, self._threads)

    @property
    def item_bytes(self) -> int:
        """Bytes of the tensors handed out for one picture."""
        tensors = [self._graph.tensors[like] for group in self._groups for like in group.like.values()]
        tensors += [self._graph.tensors[name] for name in self._outputs]
        return sum(prod(spec.item_shape) for spec in tensors) * np.dtype(np.float32).itemsize

    def __call__(self, x: Array) -> Mapping[str, Array]:
        """Return the chosen tensors for a batch, float32 (N, C, H, W)."""
        network, self._network = self._network or self._first(), None
        values = dict(network(x))
        del network
        for group in self._groups:
            give_back()
            values |= self._run(group, values)
        give_back()
        return values

    def _run(self, group: Beside, values: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the results of a group from tensors of the network."""
        lean = emit_beside(self._graph, group)
        session = open_session(lean, self._graph.name, self._threads)
        known = {**values, **lean.fed}
        given = {node.name: known[node.name] for node in session.get_inputs()}
        return dict(zip(group.like, session.run(list(group.like), given), strict=True))


def weights_beside(beside: Beside, graph: Graph) -> int:
    """Return the bytes of weights that are needed beside the network's own."""
    read = {name for node in beside.nodes.values() for name in node.inputs if name in graph.constants}
    return sum(graph.constants[name].nbytes for name in read)


def _groups(beside: Beside, graph: Graph) -> Iterator[Beside]:
    """Cut what is computed beside a network into groups whose weights are about as many as are wanted at a time."""
    group = Beside(constants=beside.constants)
    # A denominator may be the pre-activation itself, which the network computes.
    for name in [name for name in beside.like if name in beside.nodes]:
        group.nodes |= _needed(name, beside)
        group.like[name] = beside.like[name]
        if weights_beside(group, graph) >= _AT_A_TIME:
            yield group
            group = Beside(constants=beside.constants)
    if group.like:
        yield group


def _needed(name: str, beside: Beside) -> dict[str, OnnxNode]:
    """Return the nodes that compute a result, in order."""
    node = beside.nodes.get(name)
    if node is None:
        return {}
    needed: dict[str, OnnxNode] = {}
    for read in node.inputs:
        needed |= _needed(read, beside)
    return needed | {name: node}
