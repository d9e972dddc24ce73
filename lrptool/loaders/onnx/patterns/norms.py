"""Normalisations that files spell out: means, deviations and quotients put back together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lrptool.graph import Attribute, Graph, Node
from lrptool.loaders.onnx.patterns.cones import STATISTICS, Cone, Numbers, computed, cones
from lrptool.loaders.onnx.patterns.rewrite import Rewrite

_CLOSE = 1e-6
_SMALL = 1e-2
"""Deviation of the input that shows the ε of a normalisation best."""
Axes = tuple[int, ...]
Samples = list[tuple[Numbers, Numbers]]


def recognise_norms(graph: Graph) -> Graph:
    """Put one operator where a file has several for one normalisation or softmax."""
    rewrite = Rewrite(graph)
    done: set[str] = set()
    for cone in cones(graph):
        statistics = [node for node in cone.nodes if node.op in STATISTICS]
        axes = {_axes(graph, node) for node in statistics}
        if cone.end.name in done or len(axes) != 1:
            continue
        over = axes.pop()
        samples = _samples(graph, cone, over)
        if any(y.shape != x.shape or not np.isfinite(y).all() or not y.all() for x, y in samples):
            continue
        if any(attempt(rewrite, cone, over, samples) for attempt in (_deviation, _root_mean_square, _length, _softmax)):
            done.update(node.name for node in cone.nodes)
    return rewrite.made()


def _axes(graph: Graph, node: Node) -> Axes:
    """Return the axes a statistic is taken over."""
    if node.op == "GlobalAveragePool":
        return tuple(range(2, len(graph.tensors[node.inputs[0]].shape)))
    return node.ints("axes")


def _samples(graph: Graph, cone: Cone, axes: Axes) -> Samples:
    """Return inputs of two sizes and what a part of a graph computes of them."""
    shape = [2 if size is None else size for size in graph.tensors[cone.root].shape]
    if "Expand" not in cone.ops:
        # Places along the other axes know nothing of each other: a few of them will do.
        shape = [size if axis in axes else min(size, 3) for axis, size in enumerate(shape)]
    normal = np.random.default_rng(0).normal(size=shape)
    return [(x, computed(graph, cone, x)) for x in (_SMALL * normal, 0.5 + 2 * normal)]


def _agrees(samples: Samples, f: Callable[[Numbers], Numbers]) -> bool:
    """Whether a function explains all samples."""
    return all(np.allclose(y, f(x), rtol=_CLOSE, atol=_CLOSE * np.abs(y).max()) for x, y in samples)


def _epsilon(squares: Numbers, own: Numbers, y: Numbers) -> float:
    """Return what has to be added to a mean square so that `own` over its root is `y`."""
    largest = np.abs(own) >= 0.5 * np.abs(own).max()
    added = (own / y) ** 2 - squares
    return max(0.0, float(np.float32(np.median(added[largest]))))


def _deviation(rewrite: Rewrite, cone: Cone, axes: Axes, samples: Samples) -> bool:
    """(x − mean) / √(variance + ε)."""

    def centred(x: Numbers) -> Numbers:
        return np.asarray(x - x.mean(axes, keepdims=True))

    def variance(x: Numbers) -> Numbers:
        return np.broadcast_to((centred(x) ** 2).mean(axes, keepdims=True), x.shape)

    x, y = samples[0]
    epsilon = _epsilon(variance(x), centred(x), y)
    if not _agrees(samples, lambda x: centred(x) / np.sqrt(variance(x) + epsilon)):
        return False
    shape = rewrite.graph.tensors[cone.root].shape
    rank, name, root, out = len(shape), cone.end.name, cone.root, cone.end.outputs[0]
    sizes = [size or 1 for size in shape]
    if axes == tuple(range(2, rank)) and rank > 3:
        _put_with_ones(rewrite, cone, "InstanceNormalization", (sizes[1],), {"epsilon": epsilon})
    elif axes == tuple(range(1, rank)) and rank > 2:
        options: dict[str, Attribute] = {"num_groups": 1, "epsilon": epsilon}
        _put_with_ones(rewrite, cone, "GroupNormalization", (sizes[1],), options)
    elif axes == tuple(range(axes[0], rank)):
        options = {"axis": axes[0], "epsilon": epsilon}
        _put_with_ones(rewrite, cone, "LayerNormalization", tuple(sizes[axes[0] :]), options)
    elif axes == (1,):
        behind = (0, *range(2, rank), 1)
        turned = rewrite.node("Transpose", f"{name}/channels last", [root], attributes={"perm": behind})
        ones = rewrite.constant(f"{name}/scale", np.ones(sizes[1]))
        zeros = rewrite.constant(f"{name}/bias", np.zeros(sizes[1]))
        inputs = [turned.outputs[0], ones, zeros]
        options = {"axis": rank - 1, "epsilon": epsilon}
        norm = rewrite.node("LayerNormalization", f"{name}/norm", inputs, attributes=options)
        back = (0, rank - 1, *range(1, rank - 1))
        rewrite.put(cone.end, turned, norm, rewrite.node("Transpose", name, norm.outputs, out, {"perm": back}))
    else:
        return False
    return True


def _put_with_ones(
    rewrite: Rewrite, cone: Cone, op: str, shape: tuple[int, ...], attributes: dict[str, Attribute]
) -> None:
    """Put a normalisation with a scale of ones and a bias of zeros."""
    ones = rewrite.constant(f"{cone.end.name}/scale", np.ones(shape))
    zeros = rewrite.constant(f"{cone.end.name}/bias", np.zeros(shape))
    inputs = [cone.root, ones, zeros]
    rewrite.put(cone.end, rewrite.node(op, cone.end.name, inputs, cone.end.outputs[0], attributes))


def _root_mean_square(rewrite: Rewrite, cone: Cone, axes: Axes, samples: Samples) -> bool:
    """X / √(mean x² + ε)."""

    def squares(x: Numbers) -> Numbers:
        return np.broadcast_to((x**2).mean(axes, keepdims=True), x.shape)

    x, y = samples[0]
    shape = rewrite.graph.tensors[cone.root].shape
    if axes != tuple(range(axes[0], len(shape))):
        return False
    epsilon = _epsilon(squares(x), x, y)
    if not _agrees(samples, lambda x: x / np.sqrt(squares(x) + epsilon)):
        return False
    ones = rewrite.constant(f"{cone.end.name}/scale", np.ones([size or 1 for size in shape[axes[0] :]]))
    options: dict[str, Attribute] = {"axis": axes[0], "epsilon": epsilon}
    rewrite.put(
        cone.end, rewrite.node("RMSNormalization", cone.end.name, [cone.root, ones], cone.end.outputs[0], options)
    )
    return True


def _length(rewrite: Rewrite, cone: Cone, axes: Axes, samples: Samples) -> bool:
    """X / √(Σ x² + ε), or with a smallest length for zeros."""

    def squares(x: Numbers) -> Numbers:
        return np.broadcast_to((x**2).sum(axes, keepdims=True), x.shape)

    x, y = samples[0]
    epsilon = max(_epsilon(squares(x), x, y), 1e-30)
    if not _agrees(samples, lambda x: x / np.sqrt(squares(x) + epsilon)):
        return False
    options: dict[str, Attribute] = {"axes": axes, "epsilon": epsilon}
    rewrite.put(cone.end, rewrite.node("L2Normalize", cone.end.name, [cone.root], cone.end.outputs[0], options))
    return True


def _softmax(rewrite: Rewrite, cone: Cone, axes: Axes, samples: Samples) -> bool:
    """Exponentials over their sum, or the logarithm of that."""
    if len(axes) != 1 or "Exp" not in cone.ops:
        return False

    def softmax(x: Numbers) -> Numbers:
        powers = np.exp(x - x.max(axes, keepdims=True))
        return np.asarray(powers / powers.sum(axes, keepdims=True))

    for op, f in (("Softmax", softmax), ("LogSoftmax", lambda x: np.log(softmax(x)))):
        if _agrees(samples, f):
            rewrite.put(cone.end, rewrite.node(op, cone.end.name, [cone.root], cone.end.outputs[0], {"axis": axes[0]}))
            return True
    return False


def recognise_groups(graph: Graph) -> Graph:
    """Put a group normalisation where a file regroups the channels around an instance normalisation."""
    rewrite = Rewrite(graph)
    producers, consumers = graph.producers, graph.consumers
    for norm in graph.nodes:
        if norm.op not in ("InstanceNormalization", "LayerNormalization"):
            continue
        before, after = producers.get(norm.inputs[0]), consumers.get(norm.outputs[0], ())
        if before is None or before.op != "Reshape" or len(after) != 1 or after[0].op != "Reshape":
            continue
        whole, parted = graph.tensors[before.inputs[0]].shape, graph.tensors[norm.inputs[0]].shape
        if whole != graph.tensors[after[0].outputs[0]].shape or len(whole) < 3 or len(parted) != 3:
            continue
        if norm.op == "LayerNormalization" and norm.integer("axis") != 2:
            continue
        channels, groups = whole[1] or 1, parted[1] or 1
        scale, bias = (graph.constants[name] for name in norm.inputs[1:3])
        if channels % groups or (norm.op == "LayerNormalization" and (np.ptp(scale) or np.ptp(bias))):
            continue
        each = channels // groups
        per_channel = [np.repeat(v, each) if v.size == groups else np.full(channels, v.flat[0]) for v in (scale, bias)]
        names = [
            rewrite.constant(f"{norm.name}/{key}", v) for key, v in zip(("scale", "bias"), per_channel, strict=True)
        ]
        options: dict[str, Attribute] = {"num_groups": groups, "epsilon": norm.number("epsilon")}
        inputs = [before.inputs[0], *names]
        made = rewrite.node("GroupNormalization", norm.name, inputs, after[0].outputs[0], options)
        rewrite.put(after[0], made, gone=[norm])
    return rewrite.made()
