"""Resizing by copies or by linear interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrptool.errors import UnsupportedError
from lrptool.graph import Graph, Node, Shape
from lrptool.ops.axes import plain
from lrptool.ops.base import LinearMap, Spelling, Treatment, Values, WeightPart, misfit
from lrptool.ops.movement import Movement
from lrptool.ops.registry import register
from lrptool.ops.spelling import Words

_ROUND: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda at: np.ceil(at - np.float32(0.5)),
    "round_prefer_ceil": lambda at: np.floor(at + np.float32(0.5)),
}
_MODES = ("nearest", "linear")
_TRANSFORMATIONS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def _floats(node: Node, key: str) -> tuple[float, ...]:
    """Return an attribute that is a list of numbers."""
    value = node.attributes[key]
    if not isinstance(value, tuple):
        raise TypeError(f"node {node.name!r} ({node.op}): {key} is not a list")
    return tuple(float(v) for v in value)


def _sizes(node: Node, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the size of every axis of the result."""
    scales, sizes = _floats(node, "scales"), node.ints("sizes")
    if sizes:
        return sizes
    # As runtimes compute it: in single precision.
    return tuple(int(np.floor(np.float32(n) * np.float32(scale))) for n, scale in zip(shape, scales, strict=True))


def _coordinates(node: Node, axis: int, size: int, out: int, real: type[np.floating]) -> NDArray[Any]:
    """Return where each value of an axis of the result lies on that of the input, in a precision."""
    how = node.attributes["coordinate_transformation_mode"]
    at: NDArray[Any] = np.arange(out, dtype=real)
    scale = real(out) / real(size) if node.ints("sizes") else real(_floats(node, "scales")[axis])
    if how == "align_corners" or (how == "pytorch_half_pixel" and out == 1):
        at = at * real(size - 1) / real(max(1, out - 1))
    elif how == "asymmetric":
        at = at / scale
    else:
        at = (at + real(0.5)) / scale - real(0.5)
    return at


class ResizeMap:
    """Linear interpolation as a linear map: one matrix per axis, no weight of which is negative.

    Parameters
    ----------
    matrices : mapping of int to float64 (out, in)
        By axis; axes that stay as they are have none.
    """

    def __init__(self, matrices: dict[int, NDArray[np.float64]]) -> None:
        self._matrices = matrices

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> None:
        """Return nothing: two products with small matrices will do."""
        return

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Ŵ x."""
        return self._apply(xs[0], part, turned=False)

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return Ŵᵀ s."""
        return (self._apply(s, part, turned=True),)

    def bias(self, part: WeightPart, like: Values) -> None:
        """There is none."""
        return

    def _apply(self, values: Values, part: WeightPart, *, turned: bool) -> Values:
        """Multiply axis by axis: a part of a product of weights ≥ 0 is the product of parts, but for γ."""
        axiswise = WeightPart("all") if part.kind.startswith("gamma") else part
        for axis, matrix in self._matrices.items():
            weights = (matrix > 0).astype(values.dtype) if part.kind == "one" else axiswise.of(matrix)
            weights = weights.astype(values.dtype, copy=False)
            values = np.moveaxis(np.moveaxis(values, axis, -1) @ (weights if turned else weights.T), -1, axis)
        once = WeightPart(part.kind, part.gamma).of(np.ones((), values.dtype)) if axiswise is not part else 1
        return np.ascontiguousarray(values * once)


@register
class Resize(Movement):
    """Axes stretched or shrunk: the nearest value's copy, or a mean of the neighbours weighted by their distance."""

    name = "Resize"
    default = "proportion"
    treatments = {**Movement.treatments, "proportion": Movement.treatments["route"]}

    def check(self, node: Node, shape: Shape) -> None:
        """Sizes or scales for every axis, none for an open batch, in a mode that is known."""
        words = {key: node.attributes[key] for key in ("mode", "coordinate_transformation_mode", "nearest_mode")}
        known = (_MODES, _TRANSFORMATIONS, tuple(_ROUND))
        for (key, word), choices in zip(words.items(), known, strict=True):
            if word not in choices:
                expected = ", ".join(choices)
                raise UnsupportedError(f"node {node.name!r} ({node.op}): expected {key} {expected}, found {word!r}")
        scales, sizes, rank = _floats(node, "scales"), node.ints("sizes"), len(shape)
        if len(scales) != rank or len(sizes) not in (0, rank) or min(_sizes(node, plain(shape))) < 1:
            raise misfit(node, f"scales {scales}, sizes {sizes} do not fit an input of shape {shape}")
        if shape[0] is None and (scales[0] != 1 or sizes[:1] not in ((), (1,))):
            raise misfit(node, f"expected the batch to keep its size, found scale {scales[0]:g}")

    def move(self, node: Node, x: NDArray[Any], fill: int) -> NDArray[Any]:
        """Take the nearest values."""
        for axis, (size, out) in enumerate(zip(x.shape, _sizes(node, x.shape), strict=True)):
            # What is nearest hangs on a coordinate's last digit: single precision, as runtimes have it.
            at = _ROUND[str(node.attributes["nearest_mode"])](_coordinates(node, axis, size, out, np.float32))
            x = np.take(x, np.clip(at, 0, size - 1).astype(np.int64), axis=axis)
        return x

    def treatment(self, node: Node, name: str) -> Treatment:
        """Copies are routed back; a mean of neighbours is no copy."""
        if node.attributes["mode"] == "nearest":
            return super().treatment(node, name)
        raise UnsupportedError(
            f"node {node.name!r} ({node.op}): rule '{name}' does not apply to linear interpolation",
            hint="it takes share rules: proportion, epsilon, zplus, …",
        )

    def linear_map(self, node: Node, graph: Graph) -> LinearMap | None:
        """Return the interpolation as a linear map; None for copies."""
        if node.attributes["mode"] == "nearest":
            return None
        matrices = {}
        shape = plain(graph.tensors[node.inputs[0]].shape)
        for axis, (size, out) in enumerate(zip(shape, _sizes(node, shape), strict=True)):
            at = np.clip(_coordinates(node, axis, size, out, np.float64), 0, size - 1)
            below = np.floor(at).astype(np.int64)
            matrix = np.zeros((out, size))
            matrix[np.arange(out), below] += 1 - (at - below)
            matrix[np.arange(out), np.minimum(below + 1, size - 1)] += at - below
            if size != out or not np.array_equal(matrix, np.eye(size)):
                matrices[axis] = matrix
        return ResizeMap(matrices)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX takes sizes or scales as a tensor; an open batch gives its own size."""
        words, x, sizes = Words(node.outputs[0]), node.inputs[0], node.ints("sizes")
        keys = ("mode", "coordinate_transformation_mode", "nearest_mode")
        attributes = {key: node.attributes[key] for key in keys}
        if not sizes:
            words.add(
                "Resize", x, "", words.array("scales", np.array(_floats(node, "scales"), np.float32)), **attributes
            )
            return words.finish()
        is_open = graph.tensors[x].shape[0] is None
        wanted = words.array("sizes", np.array(sizes[1:] if is_open else sizes, np.int64))
        if is_open:
            wanted = words.add("Concat", words.add("Shape", x, start=0, end=1), wanted, axis=0)
        words.add("Resize", x, "", "", wanted, **attributes)
        return words.finish()
