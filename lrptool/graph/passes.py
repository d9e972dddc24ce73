"""Rewrites Graph → Graph. None of them changes a score; each leaves alone what it cannot rewrite exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lrptool.graph.constants import Array
from lrptool.graph.graph import Graph
from lrptool.graph.node import Attribute, Node

_UNTOUCHED = ("Identity", "Dropout")
_FOLDED = ("Conv", "Gemm", "BatchNormalization")
"""Operators a normalisation behind them can be folded into: their weights have the output channels on axis 0."""


_JOINED = ("Conv", "Gemm")
"""Operators a normalisation in front of them can be folded into: their weights have the input channels on axis 1."""


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
    """Fold a batch normalisation into the convolution, dense layer or normalisation that alone feeds it.

    W' = w W and b' = w (b − mean) + shift, with w = scale / √(variance + ε): exact, zero padding included, because the
    layer comes first.
    """
    readers = {name: len(nodes) for name, nodes in graph.consumers.items()}
    constants = dict(graph.constants)
    nodes: dict[str, Node] = {}
    writers: dict[str, str] = {}
    for node in graph.nodes:
        made = node
        source = node.inputs[0] if node.inputs else ""
        layer = nodes.get(writers.get(source, ""))
        alone = readers.get(source) == 1 and source != graph.output
        foldable = layer is not None and layer.op in _FOLDED and readers.get(layer.inputs[1], 1) == 1
        if node.op == "BatchNormalization" and layer is not None and foldable and alone:
            del nodes[layer.name]
            made, added = _folded(layer, node, constants)
            constants.update(added)
        nodes[made.name] = made
        writers.update(dict.fromkeys(made.outputs, made.name))
    if len(nodes) == len(graph.nodes):
        return graph
    kept = {name: spec for name, spec in graph.tensors.items() if name in writers or name == graph.input.name}
    return prune(replace(graph, nodes=tuple(nodes.values()), constants=constants, tensors=kept))


def _folded(layer: Node, norm: Node, constants: Mapping[str, Array]) -> tuple[Node, dict[str, Array]]:
    """Return a layer with the normalisation behind it in its weights, computed in float64, and its new constants."""
    factor, offset = _affine(norm, constants)
    values: dict[str, NDArray[np.floating]]
    if layer.op == "BatchNormalization":
        weight, bias = _affine(layer, constants)
        ones, zeros = np.ones_like(factor), np.zeros_like(factor)
        values = {"scale": weight * factor, "bias": factor * bias + offset, "mean": zeros, "variance": ones}
        attributes: dict[str, Attribute] = {"epsilon": 0.0}
    else:
        given = constants[layer.inputs[1]]
        bias = constants[layer.inputs[2]].astype(np.float64) if len(layer.inputs) > 2 else np.zeros_like(factor)
        folded = _scaled(given, factor.reshape(-1, *(1,) * (given.ndim - 1)))
        values = {"weight": folded, "bias": factor * bias + offset}
        attributes = dict(layer.attributes)
    added = {f"{layer.name}/{key}+{norm.name}": value.astype(np.float32, copy=False) for key, value in values.items()}
    inputs = (layer.inputs[0], *added)
    return replace(layer, inputs=inputs, outputs=norm.outputs, attributes=attributes), added


def fold_forward(graph: Graph) -> Graph:
    """Fold a batch normalisation into the convolution or dense layer that alone reads it, where that is exact.

    W' = W w and b' = b + Σ W shift. Padding is put around what was normalised, so a shift that is not zero may only
    join a convolution that pads nothing.
    """
    readers = graph.consumers
    constants = dict(graph.constants)
    source: dict[str, str] = {}
    made: dict[str, Node] = {}
    for node in graph.nodes:
        layer = next(iter(readers.get(node.outputs[0], ())), None)
        if node.op != "BatchNormalization" or layer is None or node.outputs[0] == graph.output:
            continue
        if len(readers[node.outputs[0]]) == 1 and layer.inputs[0] == node.outputs[0] and layer.op in _JOINED:
            factor, offset = _affine(node, constants)
            if not offset.any() or not any(layer.ints("pads") if layer.op == "Conv" else ()):
                made[layer.name], added = _joined(layer, node, factor, offset, constants)
                constants.update(added)
                source[node.name] = node.inputs[0]
    if not made:
        return graph
    nodes = tuple(made.get(node.name, node) for node in graph.nodes if node.name not in source)
    return prune(replace(graph, nodes=nodes, constants=constants))


def _joined(
    layer: Node, norm: Node, factor: NDArray[np.float64], offset: NDArray[np.float64], constants: Mapping[str, Array]
) -> tuple[Node, dict[str, Array]]:
    """Return a layer with the normalisation in front of it in its weights, and its new constants."""
    weight = constants[layer.inputs[1]]
    groups = layer.integer("group", 1) if layer.op == "Conv" else 1
    # Output channels of one group read the input channels of that group.
    inside = np.repeat(np.stack([factor, offset]).reshape(2, groups, -1), len(weight) // groups, axis=1)
    scale, shift = inside.reshape(2, *weight.shape[:2], *(1,) * (weight.ndim - 2))
    bias = (weight * shift).reshape(len(weight), -1).sum(axis=1)
    if len(layer.inputs) > 2:
        bias += constants[layer.inputs[2]]
    values = {"weight": _scaled(weight, scale), "bias": bias}
    added = {f"{layer.name}/{norm.name}+{key}": value.astype(np.float32, copy=False) for key, value in values.items()}
    return replace(layer, inputs=(norm.inputs[0], *added)), added


def _scaled(weight: Array, factor: NDArray[np.float64]) -> Array:
    """Return weights times factors, multiplied in float64 a few at a time: a copy of all takes three times as long."""
    out = np.empty_like(weight)
    np.multiply(weight, factor, out=out, dtype=np.float64, casting="same_kind")
    return out


def _affine(norm: Node, constants: Mapping[str, Array]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a normalisation as factor and offset per channel."""
    scale, shift, mean, variance = (constants[name].astype(np.float64) for name in norm.inputs[1:])
    factor = scale / np.sqrt(variance + norm.number("epsilon"))
    return factor, shift - factor * mean


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
