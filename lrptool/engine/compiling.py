"""From a graph and the rules of its nodes to the steps of the walk: all decisions, no arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np

from lrptool.engine.denominators import Beside, spell_denominators
from lrptool.engine.layer import Layer
from lrptool.engine.shares import ShareStep, reads_input, reads_output
from lrptool.engine.sparse import hands_on_little, keeps_channels_apart
from lrptool.engine.steady import vanishes_in_proportion
from lrptool.errors import ConfigError
from lrptool.graph import Graph, Node
from lrptool.kernels import Place
from lrptool.ops import ConvMap, Passage, Placing, Values, moved, moves_values, operator
from lrptool.rules import Rule

Activations = Mapping[str, Values]
Bounds = tuple[Values, Values]


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
    vanishes : bool
        Whether inputs of zero get no relevance.
    steady : bool
        Whether inputs get relevance in proportion to them, see `lrptool.engine.steady`.
    layer : Layer or None
        The share rule at work, where it is one.
    add_to : callable or None
        Adds the same as tasks, given where the relevance of the outputs lies; None where there are no tasks for it.
    """

    node: Node
    rule: Rule
    inputs: tuple[str, ...]
    reads: tuple[str, ...]
    redistribute: Callable[[Sequence[Values], Activations], tuple[Values, ...]]
    vanishes: bool = False
    steady: bool = False
    layer: Layer | None = None
    add_to: Callable[[Placing, Sequence[Place]], None] | None = None


class Compiler:
    """Makes the steps of a graph, from the output back.

    Parameters
    ----------
    graph : Graph
    rules : mapping of str to Rule
        By name of node.
    bounds : Bounds, optional
        Network-input values of a black and a white pixel, for the zbox rule.

    Attributes
    ----------
    steps : tuple of Step
        In the order of the walk.
    beside : Beside
        What the forward session computes along with the network.
    """

    def __init__(self, graph: Graph, rules: Mapping[str, Rule], bounds: Bounds | None) -> None:
        self._graph, self._bounds = graph, bounds
        self._consumers, self._producers = graph.consumers, graph.producers
        self.beside = Beside()
        self._vanishing: dict[str, bool] = {graph.output: False}
        # A map per class may start as ones, whatever its scores are; a single score is in proportion to anything.
        self._steady: dict[str, bool] = {graph.output: prod(graph.tensors[graph.output].item_shape[1:]) == 1}
        self._sparse: dict[str, bool] = {graph.output: False}
        self._apart: dict[str, bool] = {graph.output: True}
        steps = []
        for node in reversed(graph.nodes):
            step = self._share_step(node, rules[node.name]) or self._treatment_step(node, rules[node.name])
            behind = all(self._sparse.get(name, False) for name in node.outputs)
            sparse = hands_on_little(node, step.rule, graph, behind=behind)
            apart = keeps_channels_apart(node, graph) and all(self._apart.get(name, False) for name in node.outputs)
            for name in step.inputs:
                self._vanishing[name] = self._vanishing.get(name, True) and step.vanishes
                self._steady[name] = self._steady.get(name, True) and step.steady
                self._sparse[name] = self._sparse.get(name, True) and sparse
                self._apart[name] = self._apart.get(name, True) and apart
            steps.append(step)
        self.steps = tuple(steps)

    def _share_step(self, node: Node, rule: Rule) -> Step | None:
        """Return the step of a layer with a share rule; None where rule or operator is of another kind."""
        graph = self._graph
        linear = operator(node.op, node.name).linear_map(node, graph) if rule.shares else None
        if linear is None:
            return None
        inputs = tuple(name for name in node.inputs if name in graph.tensors)
        specs = [graph.tensors[name] for name in inputs]
        rectified = self._rectified(node, rule)
        bare, bounds = self._boxed(node, rule) if rule.name == "zbox" else (rule, None)
        step = ShareStep(
            bare,
            linear,
            [spec.item_shape for spec in specs],
            nonnegative=all(spec.nonnegative for spec in specs),
            bounds=bounds,
            rectified=rectified is not None,
            steady=self._steady.get(node.outputs[0], True),
            sparse=self._sparse.get(node.outputs[0], False),
        )
        few = isinstance(linear, ConvMap) and linear.single and self._apart.get(node.outputs[0], False)
        denominators = spell_denominators(node, step, None if few else self.beside, rectified)
        layer = Layer(
            step,
            inputs,
            node.outputs[0],
            graph.tensors[node.outputs[0]].item_shape,
            reads_input(step.shares),
            (rectified or node.outputs[0]) if reads_output(step.shares) else None,
            denominators,
            rectified if denominators.rests else None,
            few,
        )
        x_names = inputs if layer.reads_input else ()
        z_names = tuple(name for name in (layer.preactivation, layer.rectified) if name)
        reads = (*x_names, *z_names, *(name for name in denominators.names.values() if name in self.beside.like))
        terms = [term.x for share in step.shares for term in share.terms]
        vanishes = all(x in ("all", "pos", "neg") for x in terms)
        add_to = None if step.fused is None else partial(layer.add_to, step.fused)
        return Step(node, rule, inputs, reads, layer.redistribute, vanishes, step.steady, layer, add_to)

    def _treatment_step(self, node: Node, rule: Rule) -> Step:
        """Return the step of a node with a treatment."""
        graph = self._graph
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
        behind = all(self._vanishing.get(name, True) for name in node.outputs)
        vanishes = treatment.at_zero == "nothing" or (treatment.at_zero == "as behind" and behind)
        add_to = None if treatment.add_to is None else partial(_add_treatment, treatment.add_to, node, graph)
        steady = vanishes_in_proportion(node, graph, treatment) and all(self._steady.get(x, True) for x in node.outputs)
        return Step(node, rule, tensors, reads, redistribute, vanishes, steady, add_to=add_to)

    def _rectified(self, node: Node, rule: Rule) -> str | None:
        """Return the ReLU's output that serves as the node's pre-activation, where nothing is lost by it.

        Relevance of an output that the ReLU set to zero is zero then, whatever its pre-activation was. Several ReLUs
        that read the same are as good as one.
        """
        readers = self._consumers.get(node.outputs[0], ())
        normalised = any(share.normalised for share in rule.shares)
        if {reader.op for reader in readers} != {"Relu"} or node.outputs[0] == self._graph.output:
            return None
        if not normalised or np.float32(rule.stabiliser.epsilon) <= 0 or rule.stabiliser.relative:
            return None
        return readers[0].outputs[0] if self._vanishing.get(node.outputs[0], False) else None

    def _boxed(self, node: Node, rule: Rule) -> tuple[Rule, Bounds | None]:
        """Return a zbox rule, and the bounds of the pixels in the shape of a node's input.

        The input has to hold nothing but the pixels. Bounds per channel are moved as the pixels are: a rule that brings
        its own is returned without them.
        """
        graph, moves = self._graph, list[Node]()
        source = next(name for name in node.inputs if name in graph.tensors)
        while source in self._producers and moves_values(self._producers[source]):
            moves.append(self._producers[source])
            source = moves[-1].inputs[0]
        if source != graph.input.name:
            raise ConfigError(
                f"rule 'zbox' is for a layer that reads the pixels; node '{node.name}' does not",
                hint="match it with {position: first}, or take another rule for the first layer",
            )
        given, item = self._bounds, graph.input.item_shape
        own = [np.asarray(bound, np.float64) for bound in (rule["low"], rule["high"]) if bound is not None]
        if moves and {bound.size for bound in own} - {1} == {item[0]}:
            channels = (-1, *(1,) * (len(item) - 1))
            given = own[0].reshape(channels), own[1].reshape(channels)
            rule = replace(rule, parameters=tuple(kv for kv in rule.parameters if kv[0] not in ("low", "high")))
        if given is None:
            return rule, None
        low, high = (np.broadcast_to(bound, item)[None] for bound in given)
        for move in reversed(moves):
            low, high = moved(move, graph, low), moved(move, graph, high)
        return rule, (low[0], high[0])


def _add_treatment(
    add_to: Callable[[Placing, Node, Graph, Sequence[Place]], None],
    node: Node,
    graph: Graph,
    placing: Placing,
    arriving: Sequence[Place],
) -> None:
    """Add a treatment's tasks; `partial` puts what is known when compiling first."""
    add_to(placing, node, graph, arriving)
