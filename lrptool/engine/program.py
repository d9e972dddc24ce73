"""A graph with a composite, compiled: everything is decided before any arithmetic, then the walk is small."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod

import numpy as np

from lrptool.engine.audit import Entry, ledger_entry
from lrptool.engine.compiling import Activations, Bounds, Compiler, Step
from lrptool.engine.derived import Derived
from lrptool.engine.forward import Forward
from lrptool.engine.once import ForwardOnce, weights_beside
from lrptool.engine.plan import Plan
from lrptool.engine.unread import skip_unread
from lrptool.errors import NumericError
from lrptool.graph import Graph
from lrptool.graph.passes import drop_identities, fold_batch_norm, fold_forward, mark_nonnegative, prune
from lrptool.kernels import give_back
from lrptool.ops import Values, operator
from lrptool.rules import Composite, Rule

_BLOCK, _MOST = 1 << 27, 1 << 29
"""Bytes of activations worked on at a time, where one picture's are not more, and of a `_FEW` pictures.

With more, all of it comes from memory and goes there: sixteen pictures of VGG-16 at a time, with epsilon-plus, took 1.8
times as long per picture as four, and fourteen of SqueezeNet 1.1 times as long; four of those are quicker than seven.
"""
_FEW = 4
"""Pictures for which weights are read once."""
_PLANS = 4
"""Schedules kept, for as many sizes of batch."""
_HEAVY = 1 << 26
"""Bytes of weights needed beside the network's from which on sessions are let go of after their only run."""

LetGo = Callable[[Collection[str]], None]
"""Takes names of weights that nobody needs any more."""


def canonise(graph: Graph) -> Graph:
    """Return the graph the engine works on: identities gone, batch norms folded, signs known; same scores."""
    folded = fold_forward(fold_batch_norm(drop_identities(prune(graph))))
    return mark_nonnegative(folded, lambda node, known: operator(node.op, node.name).nonnegative(node, known))


class Program:
    """A network and a composite, ready to explain batch after batch.

    Parameters
    ----------
    graph : Graph
        As `canonise` returns it.
    composite : Composite
    bounds : (array, array), optional
        Network-input values of a black and a white pixel, broadcastable to (C, H, W); for the zbox rule.
    threads : int
        Threads of the forward pass; 0 lets onnxruntime choose.
    whole : bool
        Whether every tensor of the network is there, to keep its relevance or account for it. Otherwise what its
        strides never read may be left out: scores and the input's relevance are the same but for the last bits.
    once : bool
        Whether one batch is all there is to explain.

    Attributes
    ----------
    graph : Graph
        What is computed.
    once : bool
        Whether sessions are let go of after every run, because one batch is all and they weigh much.

    Raises
    ------
    ConfigError, UnsupportedError
        The composite does not fit the network.
    """

    def __init__(
        self,
        graph: Graph,
        composite: Composite,
        *,
        bounds: Bounds | None = None,
        threads: int = 0,
        whole: bool = True,
        once: bool = False,
    ) -> None:
        rules: Mapping[str, Rule] = composite.assign(graph)
        if not whole:
            graph, rules = skip_unread(graph, rules)
        self.graph, self.composite = graph, composite
        compiler = Compiler(graph, rules, bounds)
        self.steps = compiler.steps
        layers = [step.layer for step in self.steps if step.layer is not None]
        self._asking = [layer for layer in layers if layer.asks(())]
        self._derived = Derived(self.steps, graph)
        self.once = once and not self._steps_alone and weights_beside(compiler.beside, graph) >= _HEAVY
        self._forward: Forward | ForwardOnce = (ForwardOnce if self.once else Forward)(
            graph, self._derived.fetched, threads, compiler.beside
        )
        self._plans: OrderedDict[tuple[int, np.dtype[np.floating]], Plan] = OrderedDict()
        del compiler  # and weights that the session has copies of
        give_back()
        self._lock = threading.Lock()
        self._let_go: LetGo | None = None

    @property
    def _steps_alone(self) -> bool:
        """Whether layers are carried out one by one: the graph fixes the size of its batch."""
        return self.graph.input.shape[0] is not None

    def item_bytes(self) -> int:
        """Return about how many bytes a picture takes up on top of the program: activations, and scratch of the walk.

        The session holds activations of its own beside those it hands out.
        """
        activations = sum(prod(spec.array_shape(1)) for spec in self.graph.tensors.values())
        return 4 * (2 * activations + self._plan(1, np.dtype(np.float32)).schedule.arena)

    def comfortable(self) -> int:
        """Return how many pictures at a time are quickest, given that there are enough."""
        each = max(1, self._forward.item_bytes)
        return max(1, _BLOCK // each, min(_FEW, _MOST // each))

    def prepare(self, let_go: LetGo | None = None) -> None:
        """Pack all weights now, not when the first picture comes.

        But for a graph that fixes the size of its batch, whose layers pack theirs one by one.

        Parameters
        ----------
        let_go : callable, optional
            Gets the names of weights as soon as they are packed and nobody looks at them any more, but for an audit.
        """
        if self._steps_alone:
            return
        self._plan(1, np.dtype(np.float32), let_go)
        if let_go is not None:
            let_go(self.packed())  # the plan may be an older one

    def postpone(self, let_go: LetGo | None = None) -> None:
        """Pack weights when the first picture is through the forward pass; `let_go` as `prepare`, and after each."""
        self._let_go = let_go

    def packed(self) -> frozenset[str]:
        """Return the weights that nobody looks at once they are packed, but for an audit."""
        uses = [
            (name, k in operator(node.op, node.name).packed)
            for node in self.graph.nodes
            for k, name in enumerate(node.inputs)
            if name in self.graph.constants
        ]
        asked = [step for step in self.steps if step.layer and step.layer.few and step.layer.denominators.names]
        read = {name for step in asked for name in step.node.inputs}
        return frozenset(name for name, _ in uses) - {name for name, packed in uses if not packed} - read

    def forward(self, x: Values) -> Activations:
        """Return the output and every activation the walk looks at, for a batch float32 (N, C, H, W)."""
        return self._derived.complete(self._forward(x))

    def backward(
        self,
        activations: Activations,
        relevance: Values,
        *,
        keep: Sequence[str] = (),
        ledger: list[Entry] | None = None,
    ) -> dict[str, Values]:
        """Walk from the output back to the input.

        Parameters
        ----------
        activations : mapping of str to array
            What `forward` returned.
        relevance : array
            Relevance of the output tensor.
        keep : sequence of str
            Further tensors whose relevance is wanted.
        ledger : list, optional
            Gets one entry per node: relevance in, out, and what took the difference.

        Returns
        -------
        dict
            Relevance of the input and of the tensors in `keep`, by tensor name.

        Raises
        ------
        NumericError
            Relevance that is not finite; names node and rule.
        KeyError
            A tensor in `keep` that the network does not have.
        """
        unknown = [name for name in keep if name not in self.graph.tensors]
        if unknown:
            raise KeyError(f"network '{self.graph.name}' has no tensor '{unknown[0]}'")
        if keep or ledger is not None or self._steps_alone:
            found = self._walk(activations, relevance, frozenset(keep), ledger)
        else:
            found = {self.graph.input.name: self._planned(activations, relevance)}
        if not np.isfinite(found[self.graph.input.name]).all():
            # What is not finite stays so down to the pixels; only then is it worth looking where it began.
            self._walk(activations, relevance, frozenset(), None, check=True)
        return found

    def _planned(self, activations: Activations, relevance: Values) -> Values:
        """Carry out the whole walk as one schedule."""
        further: dict[str, Values] = {}
        asking = [layer for layer in self._asking if layer.asks(activations)]
        if asking:
            axes = tuple(axis for axis in range(relevance.ndim) if axis != 1)
            channels = np.flatnonzero(np.any(relevance != 0, axis=axes))
            for layer in asking:
                further |= layer.missing(activations, relevance.dtype, channels)
        plan = self._plan(len(relevance), relevance.dtype, self._let_go)
        if self._let_go is not None:
            self._let_go(self.packed())  # which the forward pass may have needed again
        return plan(activations, further, relevance)

    def _plan(self, batch: int, dtype: np.dtype[np.floating], let_go: LetGo | None = None) -> Plan:
        """Return the schedule for a batch, made on first use; the last few are kept."""
        key = (batch, dtype)
        with self._lock:
            if key not in self._plans:
                added = None if let_go is None else self._letting_go(let_go)
                self._plans[key] = Plan(self.graph, self.steps, self._derived, batch, dtype, added)
                give_back()
            self._plans.move_to_end(key)
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
            return self._plans[key]

    def _letting_go(self, let_go: LetGo) -> Callable[[Step], None]:
        """Return what lets go of weights, step by step: never all are there twice."""
        packed = self.packed()
        readers = Counter(name for step in self.steps for name in packed.intersection(step.node.inputs))

        def added(step: Step) -> None:
            names = packed.intersection(step.node.inputs)
            readers.subtract(names)
            let_go({name for name in names if not readers[name]})

        return added

    def _walk(
        self,
        activations: Activations,
        relevance: Values,
        keep: frozenset[str],
        ledger: list[Entry] | None,
        *,
        check: bool = False,
    ) -> dict[str, Values]:
        """Hand relevance from step to step, in reverse topological order."""
        relevances = {self.graph.output: relevance}
        kept = {name: relevance for name in keep if name == self.graph.output}
        for step in self.steps:
            arriving = self._collect(step, relevances, len(relevance), relevance.dtype)
            kept.update({name: r for name, r in zip(step.node.outputs, arriving, strict=True) if name in keep})
            shares = step.redistribute(arriving, activations)
            if check:
                _check_finite(step, shares)
            if ledger is not None:
                ledger.append(ledger_entry(step, arriving, shares, activations))
            for name, share in zip(step.inputs, shares, strict=True):
                relevances[name] = share if name not in relevances else relevances[name] + share
        return kept | {self.graph.input.name: relevances[self.graph.input.name]}

    def _collect(
        self, step: Step, relevances: dict[str, Values], batch: int, dtype: np.dtype[np.floating]
    ) -> tuple[Values, ...]:
        """Take what has arrived at a node's outputs; an output nobody read gets zeros."""
        return tuple(
            relevances.pop(name)
            if name in relevances
            else np.zeros((batch, *self.graph.tensors[name].item_shape), dtype)
            for name in step.node.outputs
        )


def _check_finite(step: Step, shares: Sequence[Values]) -> None:
    """Raise where relevance is not finite; a finite sum proves an array finite without a second pass over it."""
    for share in shares:
        with np.errstate(over="ignore", invalid="ignore"):
            total = share.sum()
        if not np.isfinite(total) and not np.isfinite(share).all():
            bad = int(np.count_nonzero(~np.isfinite(share)))
            raise NumericError(
                f"node '{step.node.name}' ({step.node.op}), rule {step.rule}: "
                f"{bad} of {share.size} relevances are not finite",
                hint="raise the rule's epsilon, or take another rule for this node",
            )
