"""What the backward pass of a composite has to multiply, and what a network has to keep in memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from lrptool.engine import Step
from lrptool.graph import Graph
from lrptool.ops import operator

MEGA = 1e6


def products(step: Step) -> int:
    """Transposed products with the layer's weights that its rule needs: one per term that is not known to be zero."""
    return sum(len(share.terms) for share in step.layer.step.shares) if step.layer is not None else 0


def operations(graph: Graph, step: Step) -> float:
    """Floating-point operations of a layer's transposed products for one picture, two per multiply-add."""
    return 2.0 * operator(step.node.op, step.node.name).macs(step.node, graph) * products(step)


def backward_operations(graph: Graph, steps: Sequence[Step]) -> float:
    """The same for all layers.

    Relevance starts in one class, so the last layer counts with one of its outputs. Zeros elsewhere, behind a ReLU
    say, count like any other number.
    """
    total, classes = 0.0, graph.tensors[graph.output].item_shape[0]
    for step in steps:
        count = operations(graph, step)
        total += count / classes if total == 0 else count
    return total


def memory_bound(graph: Graph) -> float:
    """Megabytes explaining one picture may take: weights × 1.5 + activations × 2 + 250 MB.

    Activations are the picture and what the layers write; a ReLU writes over what it reads, a Flatten writes nothing.
    """
    weights = sum(constant.nbytes for constant in graph.constants.values())
    written = [graph.input.name, *(n.outputs[0] for n in graph.nodes if n.op not in ("Relu", "Flatten"))]
    activations = sum(4 * prod(graph.tensors[name].item_shape) for name in written)
    return (1.5 * weights + 2 * activations) / MEGA + 250
