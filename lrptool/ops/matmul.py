"""Matrix products: of a tensor with weights, and of two tensors as in attention."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.axes import plain, reduce_to, stabilise
from lrptool.ops.base import (
    Kept,
    LinearMap,
    OnnxNode,
    Operator,
    Passage,
    Spelling,
    Treatment,
    Values,
    WeightPart,
    misfit,
)
from lrptool.ops.kept import by_proportion
from lrptool.ops.products import gate_strength
from lrptool.ops.registry import register


def _product_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Shape of a matrix product; leading axes broadcast, an open batch stays in front."""
    a, b = shapes
    rank = max(len(a), len(b))
    fronts = {shape[0] for shape in shapes if len(shape) == rank > 2}
    in_front = all(len(shape) == rank for shape in shapes if shape[0] is None)
    fits = min(len(a), len(b)) >= 2 and a[-1] == b[-2] and in_front and not (None in fronts and fronts - {None, 1})
    try:
        lead: Shape = np.broadcast_shapes(plain(a[:-2]), plain(b[:-2]))
    except ValueError:
        fits = False
    if not fits:
        raise misfit(node, f"factors of shapes {a} and {b} do not fit together")
    lead = (None, *lead[1:]) if None in fronts else lead
    return (*lead, a[-2], b[-1])


class MatMulMap:
    """A matrix product with constant weights on either side as a linear map.

    Parameters
    ----------
    weight : float32 or float64 (…, K, O), or (…, O, K) on the left
    bias : same dtype, broadcastable to the product; or None
    shape : Shape
        Of the tensor.
    left : bool
        Whether the weights stand on the left.
    """

    def __init__(self, weight: Values, bias: Values | None, shape: Shape, *, left: bool) -> None:
        self._weight, self._bias, self._shape, self._left = weight, bias, shape, left
        self._parts: dict[tuple[WeightPart, DTypeLike], Values] = {}

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> None:
        """Return nothing: the product is one of matrices already."""
        return

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return x Ŵ, or Ŵ x."""
        weight = self._part(part, xs[0].dtype)
        product: Values = np.matmul(weight, xs[0]) if self._left else np.matmul(xs[0], weight)
        return product

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return s Ŵᵀ, or Ŵᵀ s, in the shape of x."""
        turned = self._part(part, s.dtype).swapaxes(-1, -2)
        back = np.matmul(turned, s) if self._left else np.matmul(s, turned)
        return (reduce_to(back, tuple(len(s) if size is None else size for size in self._shape)),)

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the bias' part."""
        return None if self._bias is None else part.of(self._bias.astype(like.dtype, copy=False))

    def _part(self, part: WeightPart, dtype: np.dtype[np.floating]) -> Values:
        """Return a part of the weights, made once."""
        if part.kind == "all":
            return self._weight.astype(dtype, copy=False)
        key = (part, dtype)
        if key not in self._parts:
            self._parts[key] = part.of(self._weight.astype(dtype, copy=False))
        return self._parts[key]


@register
class MatMul(Operator):
    """x W [+ b], or W x: one factor is a constant. Two tensors multiply in BilinearMatMul."""

    name = "MatMul"
    default = None
    weighted = True

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(…, I, K) (…, K, O) → (…, I, O)."""
        if shapes[0][0] is None and shapes[1][0] is None:
            raise misfit(node, "expected a constant factor; two tensors: BilinearMatMul")
        result = _product_shape(node, shapes[:2])
        if len(shapes) > 2:
            fits = len(shapes[2]) <= len(result) and None not in shapes[2]
            sizes = zip(reversed(plain(shapes[2])), reversed(result), strict=False)
            if not fits or any(size not in (1, wanted) for size, wanted in sizes):
                raise misfit(node, f"a bias of shape {shapes[2]} does not fit a product {result}")
        return (result,)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """The product, then the sum."""
        if len(node.inputs) == 2:
            return super().spell(node, graph)
        product = f"{node.outputs[0]}/product"
        return Spelling(
            (
                OnnxNode("MatMul", node.inputs[:2], (product,)),
                OnnxNode("Add", (product, node.inputs[2]), node.outputs),
            )
        )

    def macs(self, node: Node, graph: Graph) -> int:
        """One per value of the result and value summed."""
        return _macs(node, graph)

    def linear_map(self, node: Node, graph: Graph) -> LinearMap:
        """Return the product with the graph's own weights."""
        left = node.inputs[0] in graph.constants
        weight: Values = np.asarray(graph.constants[node.inputs[0 if left else 1]])
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
        return MatMulMap(weight, bias, graph.tensors[node.inputs[1 if left else 0]].shape, left=left)


def _macs(node: Node, graph: Graph) -> int:
    """Values of the result, times the length of the axis summed over."""
    known = [graph.tensors[name] if name in graph.tensors else graph.constants[name] for name in node.inputs[:2]]
    inner = known[0].shape[-1] or 1
    return prod(plain(graph.tensors[node.outputs[0]].shape)) * int(inner)


def _factors(passage: Passage) -> tuple[Values, Values, Values]:
    """Both factors, and the relevance over the stabilised product."""
    (a, b), (y,) = passage.xs, passage.ys
    return a, b, passage.relevances[0] / stabilise(y, passage.epsilon)


def _halves(passage: Passage) -> tuple[Values, ...]:
    """The epsilon rule for each factor with the other as weights, and half of the relevance to each.

    R_A = A (R / 2(O + ε)) Bᵀ and R_B = B Aᵀ (R / 2(O + ε)); Achtibat et al. 2024, arXiv:2402.05602, section 3.3.
    """
    a, b, s = _factors(passage)
    s = s / 2
    return (
        a * reduce_to(np.matmul(s, b.swapaxes(-1, -2)), a.shape),
        b * reduce_to(np.matmul(a.swapaxes(-1, -2), s), b.shape),
    )


def _values_only(passage: Passage) -> tuple[Values, ...]:
    """The epsilon rule for the values; the attention weights are constants (Ali et al. 2022, arXiv:2202.07304).

    The weights are the factor that comes from a softmax; where neither or both do, the left one.
    """
    a, b, s = _factors(passage)
    strengths = [gate_strength(name, passage.graph) for name in passage.node.inputs]
    if strengths[1] > strengths[0]:
        return a * reduce_to(np.matmul(s, b.swapaxes(-1, -2)), a.shape), np.zeros_like(b)
    return np.zeros_like(a), b * reduce_to(np.matmul(a.swapaxes(-1, -2), s), b.shape)


def _keeps(passage: Passage) -> Kept:
    """The stabiliser's part."""
    return by_proportion(passage.relevances[0], np.matmul(*passage.xs), passage.epsilon)


def _gradient(passage: Passage) -> tuple[Values, ...]:
    """R Bᵀ and Aᵀ R."""
    (a, b), r = passage.xs, passage.relevances[0]
    return (
        reduce_to(np.matmul(r, b.swapaxes(-1, -2)), a.shape),
        reduce_to(np.matmul(a.swapaxes(-1, -2), r), b.shape),
    )


_BOTH = frozenset({"inputs", "outputs"})


@register
class BilinearMatMul(Operator):
    """The matrix product of two tensors: queries with keys, attention with values."""

    name = "BilinearMatMul"
    default = "attnlrp"
    treatments = {
        "attnlrp": Treatment(_halves, reads=_BOTH, at_zero="nothing", keeps=_keeps),
        "cp-lrp": Treatment(_values_only, reads=_BOTH, at_zero="nothing", keeps=_keeps),
        "gradient": Treatment(_gradient, reads=frozenset({"inputs"})),
    }

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(…, I, K) (…, K, J) → (…, I, J)."""
        return (_product_shape(node, shapes),)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """ONNX makes no difference."""
        return Spelling((OnnxNode("MatMul", node.inputs, node.outputs),))

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """When both factors are."""
        return all(inputs)

    def macs(self, node: Node, graph: Graph) -> int:
        """One per value of the result and value summed."""
        return _macs(node, graph)
