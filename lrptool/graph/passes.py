"""Rewrites Graph → Graph. None of them changes a score; each leaves alone what it cannot rewrite exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lrptool.graph.graph import Array, Graph
from lrptool.graph.node import Node

_UNTOUCHED = ("Identity", "Dropout")
_CHANNEL_AXIS_FIRST = ("Conv", "Gemm")


def prune(graph: Graph) -> Graph:
    """Keep only the nodes, constants and tensors that the output depends on."""
    needed = {graph.output}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    nodes = tuple(reversed(kept))
    written = {graph.input.name, *(tensor for node in nodes for tensor in node.outputs)}
    return replace(
        graph,
        nodes=nodes,
        constants={name: value for name, value in graph.constants.items() if name in needed},
        tensors={name: spec for name, spec in graph.tensors.items() if name in written},
    )


def _rename_inputs(node: Node, names: Mapping[str, str]) -> Node:
    """Return the node reading other tensors."""
    return replace(node, inputs=tuple(names.get(tensor, tensor) for tensor in node.inputs))


def drop_identities(graph: Graph) -> Graph:
    """Let the readers of an Identity or Dropout read its input."""
    source: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        renamed = _rename_inputs(node, source)
        if node.op in _UNTOUCHED:
            source[node.outputs[0]] = renamed.inputs[0]
        else:
            nodes.append(renamed)
    dropped = {name: spec for name, spec in graph.tensors.items() if name not in source}
    return replace(graph, nodes=tuple(nodes), tensors=dropped, output=source.get(graph.output, graph.output))


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold a batch normalisation into the convolution or dense layer that alone feeds it.

    W' = w W and b' = w (b − mean) + shift, with w = scale / √(variance + ε): exact, zero padding included, because the
    layer comes first. A normalisation in front of a layer stays: its shift does not reach the padding.
    """
    producers, consumers = graph.producers, graph.consumers
    constants = dict(graph.constants)
    replaced: dict[str, Node] = {}
    gone: dict[str, str] = {}
    for norm in graph.nodes:
        if norm.op != "BatchNormalization":
            continue
        layer = producers.get(norm.inputs[0])
        shared = layer is None or any(len(consumers[name]) > 1 for name in (layer.inputs[1], norm.inputs[0]))
        if layer is None or layer.op not in _CHANNEL_AXIS_FIRST or shared or norm.inputs[0] == graph.output:
            continue
        weight, bias = _folded(layer, norm, graph.constants)
        names = (f"{layer.name}/weight+{norm.name}", f"{layer.name}/bias+{norm.name}")
        constants.update(zip(names, (weight, bias), strict=True))
        replaced[layer.name] = replace(layer, inputs=(layer.inputs[0], *names), outputs=norm.outputs)
        gone[norm.name] = norm.inputs[0]
    nodes = tuple(replaced.get(node.name, node) for node in graph.nodes if node.name not in gone)
    tensors = {name: spec for name, spec in graph.tensors.items() if name not in gone.values()}
    return prune(replace(graph, nodes=nodes, constants=constants, tensors=tensors)) if gone else graph


def _folded(layer: Node, norm: Node, constants: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return weights and bias of a layer with the normalisation behind it, computed in float64."""
    scale, shift, mean, variance = (constants[name].astype(np.float64) for name in norm.inputs[1:])
    factor = scale / np.sqrt(variance + norm.number("epsilon"))
    weight = constants[layer.inputs[1]].astype(np.float64)
    bias = constants[layer.inputs[2]].astype(np.float64) if len(layer.inputs) > 2 else np.zeros_like(factor)
    folded = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return folded.astype(np.float32), (factor * (bias - mean) + shift).astype(np.float32)


def mark_nonnegative(graph: Graph, is_nonnegative: Callable[[Node, Sequence[bool]], bool]) -> Graph:
    """Mark the tensors known to be ≥ 0, given what each operator says of its outputs.

    Parameters
    ----------
    graph : Graph
    is_nonnegative : callable
        (node, which of its inputs are ≥ 0) → whether all its outputs are.
    """
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        known = [
            tensors[name].nonnegative if name in tensors else bool(np.all(graph.constants[name] >= 0))
            for name in node.inputs
        ]
        if is_nonnegative(node, known):
            tensors.update({name: replace(tensors[name], nonnegative=True) for name in node.outputs})
    return replace(graph, tensors=tensors)
