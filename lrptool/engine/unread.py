"""What no stride reads is left out: maps are computed, and hand on relevance, only where somebody looks at them.

Between the stages of a ResNet (He et al. 2016, doi:10.1109/CVPR.2016.90) 1 × 1 convolutions of stride 2 read a quarter
of a map. The layers that make it take over the stride; no score changes, and no relevance, because none arrives
elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from math import gcd

from lrptool.graph import Attribute, Graph, Node, TensorSpec
from lrptool.rules import Rule

_PLACE_BY_PLACE = ("Relu", "Sum", "BatchNormalization")
"""Operators whose outputs look at their inputs' values of the same place alone."""

Steps = tuple[int, int]
"""Every how many rows and columns."""
_ALL: Steps = (1, 1)


def skip_unread(graph: Graph, rules: Mapping[str, Rule]) -> tuple[Graph, dict[str, Rule]]:
    """Return a graph that leaves out what none of its strides reads, with the rules of its nodes.

    Tensors keep their names; those that are left out in part have smaller maps. Where somebody reads every second place
    of a map that others read whole, a pooling of single values stands between.

    Parameters
    ----------
    graph : Graph
        As `canonise` returns it.
    rules : mapping of str to Rule
        By name of node.

    Returns
    -------
    (Graph, dict of str to Rule)
        The very graph where nothing can be left out.
    """
    read = _read(graph, rules)
    if _is_all(read):
        return graph, dict(rules)
    tensors = {name: _thinned(spec, read.get(name, _ALL)) for name, spec in graph.tensors.items()}
    taken = {*graph.tensors, *graph.constants, *(node.name for node in graph.nodes)}
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        steps = read.get(node.outputs[0], _ALL)
        if _is_conv(node, graph):
            nodes[node.name] = _strided(node, steps, read[node.inputs[0]])
            continue
        # Every how many of the rows and columns that are there.
        apart = {name: _quotient(steps, read[name]) for name in node.inputs if name in graph.tensors}
        picks = {name: _pick(name, each, taken) for name, each in apart.items() if each != _ALL}
        nodes |= {pick.name: pick for pick in picks.values()}
        tensors |= {pick.outputs[0]: _picked(tensors[name], pick) for name, pick in picks.items()}
        inputs = tuple(picks[name].outputs[0] if name in picks else name for name in node.inputs)
        nodes[node.name] = replace(node, inputs=inputs)
    thinned = replace(graph, nodes=tuple(nodes.values()), tensors=tensors)
    return thinned, {name: rules.get(name, Rule.of("route")) for name in nodes}


def reads_all(graph: Graph, rules: Mapping[str, Rule]) -> bool:
    """Whether there is nothing to leave out."""
    return _is_all(_read(graph, rules))


def _is_all(read: Mapping[str, Steps]) -> bool:
    """Whether every tensor is read in full."""
    return all(steps == _ALL for steps in read.values())


def _read(graph: Graph, rules: Mapping[str, Rule]) -> dict[str, Steps]:
    """Return which rows and columns of every tensor somebody reads, where who writes it can leave out the others."""
    read: dict[str, Steps] = {graph.output: _ALL}
    for node in reversed(graph.nodes):
        able = len(node.outputs) == 1 and _is_able(node, graph, rules[node.name])
        steps = read.get(node.outputs[0], _ALL) if able else _ALL
        read.update(dict.fromkeys(node.outputs, steps))
        for name, wanted in _looked_at(node, graph, steps):
            before = read.get(name, wanted)
            read[name] = gcd(before[0], wanted[0]), gcd(before[1], wanted[1])
    read[graph.input.name] = _ALL
    for node in graph.nodes:
        # Taking places of an input only to spare an activation some would be no gain.
        if not _is_conv(node, graph) and all(read.get(name, _ALL) == _ALL for name in node.inputs):
            read.update(dict.fromkeys(node.outputs, _ALL))
    return read


def _is_able(node: Node, graph: Graph, rule: Rule) -> bool:
    """Whether a node can compute its maps at some places alone, and its rule needs no others."""
    if any(share.normalised for share in rule.shares) and rule.stabiliser.relative:
        return False
    if _is_conv(node, graph):
        return True
    # Bounds of pixels are not followed through what is put between, and constants are not thinned.
    constant = node.op == "Sum" and any(name in graph.constants for name in node.inputs)
    shapes = {graph.tensors[name].shape for name in (*node.inputs, *node.outputs) if name in graph.tensors}
    alike = len(shapes) == 1 and len(graph.tensors[node.outputs[0]].shape) == 4
    return node.op in _PLACE_BY_PLACE and alike and not constant and rule.name != "zbox"


def _is_conv(node: Node, graph: Graph) -> bool:
    """Whether a node is a convolution in two dimensions."""
    return node.op == "Conv" and len(graph.tensors[node.outputs[0]].shape) == 4


def _looked_at(node: Node, graph: Graph, steps: Steps) -> Iterator[tuple[str, Steps]]:
    """Return the tensors a node reads, and which of their rows and columns, where of its own outputs `steps` are."""
    if _is_conv(node, graph):
        single = not any(node.ints("pads")) and set(node.ints("kernel_shape")) == {1}
        wanted = _product(node.ints("strides"), steps) if single else _ALL
    else:
        wanted = steps
    for name in node.inputs:
        if name in graph.tensors:
            yield name, wanted


def _product(strides: tuple[int, ...], steps: Steps) -> Steps:
    """Steps of steps."""
    return strides[0] * steps[0], strides[1] * steps[1]


def _quotient(steps: Steps, taken: Steps) -> Steps:
    """Steps among what is there."""
    return steps[0] // taken[0], steps[1] // taken[1]


def _thinned(spec: TensorSpec, steps: Steps) -> TensorSpec:
    """Return what is known of a tensor of which some rows and columns are left out."""
    if steps == _ALL:
        return spec
    batch, channels, height, width = spec.shape
    return replace(spec, shape=(batch, channels, -(-(height or 0) // steps[0]), -(-(width or 0) // steps[1])))


def _strided(conv: Node, steps: Steps, taken: Steps) -> Node:
    """Return a convolution that computes some of its outputs, of an input of which `taken` are there."""
    strides = _quotient(_product(conv.ints("strides"), steps), taken)
    return replace(conv, attributes={**conv.attributes, "strides": strides})


def _pick(name: str, steps: Steps, taken: Collection[str]) -> Node:
    """Return the node that takes some rows and columns of a tensor; its name is none of those taken."""
    made = f"{name}/every {steps[0]}×{steps[1]}"
    while made in taken:
        made += "'"
    window: dict[str, Attribute] = {"kernel_shape": _ALL, "strides": steps, "pads": (0, 0, 0, 0), "ceil_mode": 0}
    return Node(made, "MaxPool", (name,), (made,), window)


def _picked(spec: TensorSpec, pick: Node) -> TensorSpec:
    """Return what is known of what it takes."""
    return replace(_thinned(spec, _product(pick.ints("strides"), _ALL)), name=pick.outputs[0])
