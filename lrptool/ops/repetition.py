"""Operators that repeat values or move them between channels and pixels: movements, too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.axes import plain
from lrptool.ops.base import Spelling
from lrptool.ops.movement import Movement, complain, with_tensors
from lrptool.ops.registry import register


@register
class Expand(Movement):
    """Repeated along axes of size 1 until it has an item's ``shape`` (the whole shape where the batch is fixed)."""

    name = "Expand"

    def check(self, node: Node, shape: Shape) -> None:
        """Sizes agree or are 1, and an open batch stays in front."""
        target = self._target(node, shape)
        if len(target) < len(shape) or (shape[0] is None and len(target) != len(shape)):
            raise complain(node, shape, shape=node.ints("shape"))
        tail = target[len(target) - len(shape) :]
        if any(1 not in (a, b) and a != b for a, b in zip(plain(shape), tail, strict=True)):
            raise complain(node, shape, shape=node.ints("shape"))

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Broadcast; items' shapes are one axis short."""
        target = node.ints("shape")
        short = x.ndim - len(target)
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, (1,) * max(short, 0) + target))

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the shape as a tensor; 1 keeps the batch."""
        return with_tensors(node, shape=self._target(node, graph.tensors[node.inputs[0]].shape))

    @staticmethod
    def _target(node: Node, shape: Shape) -> tuple[int, ...]:
        """Return the shape to broadcast with, the batch axis included."""
        return (1, *node.ints("shape")) if shape[0] is None else node.ints("shape")


@register
class Tile(Movement):
    """Repeated as a whole along each axis."""

    name = "Tile"

    def check(self, node: Node, shape: Shape) -> None:
        """One number ≥ 1 per axis, 1 for the batch."""
        repeats = node.ints("repeats")
        if len(repeats) != len(shape) or min(repeats) < 1 or (shape[0] is None and repeats[0] != 1):
            raise complain(node, shape, repeats=repeats)

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Repeat."""
        return np.tile(x, node.ints("repeats"))

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes the numbers as a tensor."""
        return with_tensors(node, repeats=node.ints("repeats"))


@register
class DepthToSpace(Movement):
    """Channels become blocks of pixels; ``mode`` DCR or CRD tells which channel comes first."""

    name = "DepthToSpace"

    def check(self, node: Node, shape: Shape) -> None:
        """Channels for every pixel of a block."""
        block, mode = node.integer("blocksize"), str(node.attributes["mode"])
        if len(shape) != 4 or block < 1 or plain(shape)[1] % (block * block) or mode not in ("DCR", "CRD"):
            raise complain(node, shape, blocksize=block, mode=mode)

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Split channels, interleave rows and columns."""
        (n, c, h, w), b = x.shape, node.integer("blocksize")
        if node.attributes["mode"] == "DCR":
            blocks = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            blocks = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return blocks.reshape(n, c // (b * b), h * b, w * b)


@register
class SpaceToDepth(Movement):
    """Blocks of pixels become channels."""

    name = "SpaceToDepth"

    def check(self, node: Node, shape: Shape) -> None:
        """Whole blocks."""
        block = node.integer("blocksize")
        if len(shape) != 4 or block < 1 or any(size % block for size in plain(shape)[2:]):
            raise complain(node, shape, blocksize=block)

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Gather the pixels of each block."""
        (n, c, h, w), b = x.shape, node.integer("blocksize")
        return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)
