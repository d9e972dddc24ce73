"""Factors and shifts by constants: into the layer in front where that is exact, else one affine layer of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lrptool.graph import Array, Attribute, Graph, Node, Shape
from lrptool.graph.passes import prune

_FIRST = frozenset({"Conv", "Gemm", "ConvTranspose", "BatchNormalization"})
"""Layers beside which a single factor or shift is worth a layer: they can take it up."""


_LAST = frozenset({"Gemm", "MatMul"})
_FROM_AXIS = frozenset({"LayerNormalization", "RMSNormalization"})
_TAKING = _LAST | _FROM_AXIS | _FIRST | {"InstanceNormalization", "GroupNormalization"}
"""Layers with parameters for the last axis, for all axes from one on, or per channel, that can take up a constant."""
_NO_FACTOR = frozenset({"ConvTranspose"})
_NO_BIAS = frozenset({"RMSNormalization"})


def _span(layer: Node, rank: int) -> tuple[int, ...]:
    """Return the axes of a layer's output that its parameters span."""
    if layer.op in _FROM_AXIS:
        return tuple(range(layer.integer("axis"), rank))
    return (rank - 1,) if layer.op in _LAST else (1,)


class _Affine:
    """y = factor · x + shift, either a constant that spans some axes of the output."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.tensor: str | None = None
        self.factor: Array = np.ones((), np.float32)
        self.shift: Array = np.zeros((), np.float32)
        tensors = [name for name in node.inputs if name in graph.tensors]
        if node.op not in ("Mul", "Sum") or len(tensors) != 1 or len(node.inputs) > 2:
            return
        constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
        if graph.tensors[tensors[0]].shape != graph.tensors[node.outputs[0]].shape:
            return
        if node.op == "Mul":
            self.factor = constants[0]
        else:
            weights = node.attributes.get("coefficients", (1.0,) * len(node.inputs))
            pairs = dict(zip(node.inputs, weights if isinstance(weights, tuple) else (), strict=True))
            self.factor = np.asarray(pairs[tensors[0]], np.float32)
            for name in node.inputs:
                if name in graph.constants:
                    self.shift = graph.constants[name] * np.float32(pairs[name])
        self.tensor = tensors[0]


def _spread(value: Array, shape: Shape, axes: tuple[int, ...]) -> Array | None:
    """Return a constant as an array over some axes of a tensor; None where it differs along others."""
    full = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    if any(size != 1 for axis, size in enumerate(full.shape) if axis not in axes):
        return None
    return np.broadcast_to(full.reshape([full.shape[axis] for axis in axes]), [shape[axis] or 1 for axis in axes])


def absorb_constants(graph: Graph) -> Graph:
    """Let layers take up the factors and shifts directly behind them; the rest per channel becomes affine layers."""
    nodes: dict[str, Node] = {}
    constants = dict(graph.constants)
    writers: dict[str, str] = {}
    consumers = graph.consumers
    gone: set[str] = set()
    for node in graph.nodes:
        affine = _Affine(graph, node)
        layer = nodes.get(writers.get(affine.tensor or "", ""))
        alone = len(consumers.get(affine.tensor or "", ())) == 1 and affine.tensor != graph.output
        taken = _taken_up(graph, layer, node, affine, constants) if layer is not None and alone else None
        if taken is not None and layer is not None:
            gone.add(layer.outputs[0])
            nodes[layer.name] = taken
            writers[node.outputs[0]] = layer.name
            continue
        made = _own_layer(graph, node, affine, constants) if affine.tensor is not None else None
        nodes[node.name] = made or node
        writers.update(dict.fromkeys(node.outputs, node.name))
    tensors = {name: spec for name, spec in graph.tensors.items() if name not in gone}
    return prune(replace(graph, nodes=tuple(nodes.values()), constants=constants, tensors=tensors))


def _taken_up(graph: Graph, layer: Node, node: Node, affine: _Affine, constants: dict[str, Array]) -> Node | None:
    """Return a layer that does what an affine node behind it did, too; None where it cannot."""
    if layer.op not in _TAKING or layer.inputs[1] not in constants:
        return None
    shape = graph.tensors[node.outputs[0]].shape
    axes = _span(layer, len(shape))
    factor, shift = (_spread(value, shape, axes) for value in (affine.factor, affine.shift))
    if factor is None or shift is None:
        return None
    changes, weight = not (factor == 1).all(), constants[layer.inputs[1]]
    if (changes and layer.op in _NO_FACTOR) or (layer.op in _NO_BIAS and shift.any()):
        return None
    if layer.op == "MatMul" and weight.ndim != 2:
        return None
    inputs = list(layer.inputs)
    if changes:
        # Weights have their outputs on the first axis, but for MatMul, which has them on the last.
        wide = factor if layer.op == "MatMul" else factor.reshape(factor.shape + (1,) * (weight.ndim - factor.ndim))
        inputs[1] = _add(graph, constants, f"{layer.name}/weight*{node.name}", weight * wide)
    if layer.op not in _NO_BIAS and (len(inputs) > 2 or shift.any()):
        old = constants[inputs[2]].astype(np.float64) if len(inputs) > 2 else np.zeros(())
        name = _add(graph, constants, f"{layer.name}/bias+{node.name}", old * factor + shift)
        inputs = [*inputs[:2], name, *inputs[3:]]
    return replace(layer, inputs=tuple(inputs), outputs=node.outputs)


def _own_layer(graph: Graph, node: Node, affine: _Affine, constants: dict[str, Array]) -> Node | None:
    """Return an affine node as a batch normalisation of mean 0 and variance 1, where it is per channel."""
    shape = graph.tensors[node.outputs[0]].shape
    if len(shape) not in (2, 4, 5) or affine.tensor is None:
        return None
    factor, shift = (_spread(value, shape, (1,)) for value in (affine.factor, affine.shift))
    if factor is None or shift is None:
        return None
    single = affine.factor.size == 1 and affine.shift.size == 1
    if single and (shape[1] or 0) > 1 and not _beside_layer(graph, node, affine.tensor):
        return None
    count = shape[1] or 1
    values: dict[str, ArrayLike] = {
        "scale": factor,
        "bias": shift,
        "mean": np.zeros(count),
        "variance": np.ones(count),
    }
    names = [_add(graph, constants, f"{node.name}/{key}", value) for key, value in values.items()]
    return Node(node.name, "BatchNormalization", (affine.tensor, *names), node.outputs, {"epsilon": 0.0})


def _beside_layer(graph: Graph, node: Node, tensor: str) -> bool:
    """Whether a layer that could take up a factor stands in front of a node or behind it."""
    producer = graph.producers.get(tensor)
    behind = graph.consumers.get(node.outputs[0], ())
    return tensor == graph.input.name or any(
        other.op in _FIRST for other in (*behind, *((producer,) if producer else ()))
    )


def _takes_pads(pool: Node, pads: tuple[int, ...]) -> bool:
    """Whether an average pooling may have these pads: smaller than its window, as runtimes ask."""
    own = any(pool.ints("pads")) or bool(pool.integer("ceil_mode"))
    return not own and all(a < k for a, k in zip(pads, pool.ints("kernel_shape") * 2, strict=True))


def _add(graph: Graph, constants: dict[str, Array], wanted: str, value: ArrayLike) -> str:
    """Add a constant; return its name."""
    name, count = wanted, 1
    while name in constants or name in graph.tensors:
        count += 1
        name = f"{wanted}#{count}"
    constants[name] = np.array(value, np.float32)
    return name


def absorb_padding(graph: Graph) -> Graph:
    """Let convolutions, and average poolings that count their padding, take up zeros around the image."""
    producers, consumers = graph.producers, graph.consumers
    made: dict[str, Node] = {}
    for node in graph.nodes:
        pad = producers.get(node.inputs[0])
        if pad is None or pad.op != "Pad" or len(consumers[pad.outputs[0]]) != 1 or pad.outputs[0] == graph.output:
            continue
        pads, axes = pad.ints("pads"), len(graph.tensors[pad.outputs[0]].shape)
        zeros = pad.attributes["mode"] == "constant" and pad.number("value") == 0
        if not zeros or any(pads[axis] or pads[axes + axis] for axis in (0, 1)):
            continue
        more = (*pads[2:axes], *pads[axes + 2 :])
        if node.op == "Conv":
            own = node.ints("pads")
            new: dict[str, Attribute] = {"pads": tuple(a + b for a, b in zip(own, more, strict=True))}
        elif node.op == "AveragePool" and _takes_pads(node, more):
            new = {"pads": more, "count_include_pad": 1}
        else:
            continue
        made[node.name] = replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes={**node.attributes, **new})
    return prune(replace(graph, nodes=tuple(made.get(node.name, node) for node in graph.nodes))) if made else graph
