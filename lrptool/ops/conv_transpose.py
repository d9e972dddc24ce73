"""Transposed convolution (Caffe's Deconvolution) in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.base import LinearMap, Operator, misfit
from lrptool.ops.conv_nd import ConvTransposeMap, Volume
from lrptool.ops.registry import register


@register
class ConvTranspose(Operator):
    """Every value spreads over a kernel's size of the output, in groups."""

    name = "ConvTranspose"
    default = None
    weighted = True

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, C, size…) → (N, O, larger…)."""
        weight, (batch, channels, *size), group = shapes[1], shapes[0], node.integer("group")
        if len(weight) != len(shapes[0]) or weight[0] != channels or (channels or 0) % group:
            raise misfit(node, f"weights {weight} in {group} group(s) do not fit an input of shape {shapes[0]}")
        kernel, out = node.ints("kernel_shape"), (weight[1] or 0) * group
        if tuple(weight[2:]) != kernel:
            raise misfit(node, f"kernel_shape {kernel}, weights have {list(weight[2:])}")
        if len(shapes) > 2 and shapes[2] != (out,):
            raise misfit(node, f"expected a bias of shape ({out},), found {shapes[2]}")
        pads, rank = node.ints("pads"), len(size)
        keys = ("strides", "dilations", "output_padding")
        sizes = zip(size, kernel, *(node.ints(key) for key in keys), pads[:rank], pads[rank:], strict=True)
        result = [((n or 0) - 1) * s + (k - 1) * d + 1 + extra - a - b for n, k, s, d, extra, a, b in sizes]
        if min(result) < 1:
            raise misfit(node, f"pads {pads} leave nothing of an input of shape {shapes[0]}")
        return ((batch, out, *result),)

    def macs(self, node: Node, graph: Graph) -> int:
        """One per weight and input position."""
        weight = graph.constants[node.inputs[1]]
        return prod(graph.tensors[node.inputs[0]].item_shape) * prod(weight.shape[1:])

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the transposed convolution over the graph's own weights."""
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
        volume = Volume.of(node, graph, wide=node.outputs[0], narrow=node.inputs[0])
        return ConvTransposeMap(graph.constants[node.inputs[1]], bias, volume)
