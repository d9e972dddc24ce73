"""A graph with a composite, compiled: everything is decided before any arithmetic, then the walk is small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrptool.engine.audit import Entry, ledger_entry
from lrptool.engine.forward import Forward
from lrptool.engine.shares import ShareStep, reads_input, reads_output
from lrptool.errors import ConfigError, NumericError
from lrptool.graph import Graph, Node
from lrptool.graph.passes import drop_identities, fold_batch_norm, mark_nonnegative, prune
from lrptool.kernels import shared_use
from lrptool.ops import Passage, Values, operator
from lrptool.rules import Composite, Rule

Activations = Mapping[str, Values]


def canonise(graph: Graph) -> Graph:
    """Return the graph the engine works on: identities gone, batch norms folded, signs known; same scores."""
    folded = fold_batch_norm(drop_identities(prune(graph)))
    return mark_nonnegative(folded, lambda node, known: operator(node.op, node.name).nonnegative(node, known))


@dataclass(frozen=True, slots=True)
class Step:
    """One node's turn in the walk.

    Parameters
    ----------
    node : Node
    rule : Rule
    inputs : tuple of str
        Its inputs that are tensors, not constants: where relevance goes.
    reads : tuple of str
        The activations it looks at.
    redistribute : callable
        (relevances of the outputs, activations) → relevance of every input.
    shares : ShareStep or None
        The share rule at work, where it is one.
    """

    node: Node
    rule: Rule
    inputs: tuple[str, ...]
    reads: tuple[str, ...]
    redistribute: Callable[[Sequence[Values], Activations], tuple[Values, ...]]
    shares: ShareStep | None = None


def _share_step(node: Node, rule: Rule, graph: Graph, bounds: tuple[Values, Values] | None) -> Step | None:
    """Return the step of a layer with a share rule; None where rule or operator is of another kind."""
    linear = operator(node.op, node.name).linear_map(node, graph) if rule.shares else None
    if linear is None:
        return None
    inputs = tuple(name for name in node.inputs if name in graph.tensors)
    bounds = _bounds_at(node, graph, bounds) if rule.name == "zbox" else None
    specs = [graph.tensors[name] for name in inputs]
    step = ShareStep(
        rule,
        linear,
        [spec.item_shape for spec in specs],
        nonnegative=all(spec.nonnegative for spec in specs),
        bounds=bounds,
    )
    x_names = inputs if reads_input(step.shares) else ()
    z_names = node.outputs if reads_output(step.shares) else ()

    def redistribute(relevances: Sequence[Values], activations: Activations) -> tuple[Values, ...]:
        z = activations[z_names[0]] if z_names else None
        return step([activations[name] for name in x_names], z, relevances[0])

    return Step(node, rule, inputs, (*x_names, *z_names), redistribute, step)


_MOVES_VALUES = ("Flatten", "Reshape")


def _bounds_at(node: Node, graph: Graph, bounds: tuple[Values, Values] | None) -> tuple[Values, Values] | None:
    """Return the bounds of the pixels in the shape of a node's input, which has to hold nothing but the pixels."""
    producers, source = graph.producers, node.inputs[0]
    while source in producers and producers[source].op in _MOVES_VALUES:
        source = producers[source].inputs[0]
    if source != graph.input.name:
        raise ConfigError(
            f"rule 'zbox' is for a layer that reads the pixels; node '{node.name}' does not",
            hint="match it with {position: first}, or take another rule for the first layer",
        )
    if bounds is None:
        return None
    shape = graph.tensors[node.inputs[0]].item_shape
    low, high = (np.broadcast_to(bound, graph.input.item_shape).reshape(shape) for bound in bounds)
    return low, high


def _treatment_step(node: Node, rule: Rule, graph: Graph) -> Step:
    """Return the step of a node with a treatment."""
    treatment = operator(node.op, node.name).treatment(node, rule.name)
    tensors = tuple(name for name in node.inputs if name in graph.tensors)
    x_names = node.inputs if "inputs" in treatment.reads else ()
    y_names = node.outputs if "outputs" in treatment.reads else ()
    epsilon = rule.number("epsilon") if rule.takes("epsilon") else 0.0

    def redistribute(relevances: Sequence[Values], activations: Activations) -> tuple[Values, ...]:
        xs = tuple(activations[name] if name in activations else graph.constants[name] for name in x_names)
        ys = tuple(activations[name] for name in y_names)
        return treatment.redistribute(Passage(node, graph, xs, ys, tuple(relevances), epsilon))

    reads = tuple(name for name in (*x_names, *y_names) if name in graph.tensors)
    return Step(node, rule, tensors, reads, redistribute)


def _derivable(needed: set[str], graph: Graph) -> dict[str, str]:
    """Needed outputs of a ReLU whose input is needed, too: never fetch both, one follows from the other."""
    return {
        node.outputs[0]: node.inputs[0]
        for node in graph.nodes
        if node.op == "Relu" and node.outputs[0] in needed and node.inputs[0] in needed
    }


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
        bounds: tuple[Values, Values] | None = None,
        threads: int = 0,
    ) -> None:
        self.graph, self.composite = graph, composite
        rules = composite.assign(graph)
        self.steps = tuple(
            _share_step(node, rules[node.name], graph, bounds) or _treatment_step(node, rules[node.name], graph)
            for node in reversed(graph.nodes)
        )
        needed = {graph.output, *(name for step in self.steps for name in step.reads)}
        self._derived = _derivable(needed, graph)
        self._forward = Forward(graph, sorted(needed - set(self._derived)), threads)

    def forward(self, x: Values) -> dict[str, Values]:
        """Return the output and every activation the walk looks at, for a batch float32 (N, C, H, W)."""
        activations: dict[str, Values] = dict(self._forward(x))
        for name, source in self._derived.items():
            activations[name] = np.maximum(activations[source], 0)
        return activations

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
        with shared_use():
            return self._walk(activations, relevance, frozenset(keep), ledger)

    def _walk(
        self, activations: Activations, relevance: Values, keep: frozenset[str], ledger: list[Entry] | None
    ) -> dict[str, Values]:
        """Hand relevance from step to step, in reverse topological order."""
        relevances = {self.graph.output: relevance}
        kept = {name: relevance for name in keep if name == self.graph.output}
        for step in self.steps:
            arriving = self._collect(step, relevances, len(relevance), relevance.dtype)
            kept.update({name: r for name, r in zip(step.node.outputs, arriving, strict=True) if name in keep})
            shares = step.redistribute(arriving, activations)
            _check_finite(step, shares)
            if ledger is not None:
                ledger.append(
                    ledger_entry(step.node, step.rule, step.shares, arriving, shares, activations, step.reads)
                )
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
