"""Graphs whose batch is fixed: axis 0 is an axis like any other, and shapes are whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest

from lrptool.engine import emit
from lrptool.errors import ModelError
from lrptool.graph import Graph, TensorSpec
from lrptool.ops import GraphBuilder, Passage, WeightPart, operator

SHAPE = (3, 4, 5)
RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=SHAPE)
W, FIRST = RANDOM.normal(size=(5, 2)), RANDOM.normal(size=(2, 4, 5))


@dataclass(frozen=True)
class Fixed:
    """An operator on x (3, 4, 5) and on the same turned (3, 5, 4)."""

    op: str
    expected: Callable[..., Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("x",)
    constants: tuple[np.ndarray, ...] = ()

    def graph(self) -> Graph:
        builder = GraphBuilder("fixed", TensorSpec("x", SHAPE))
        builder.add("Transpose", "turned", ("x",), perm=(0, 2, 1))
        constants = [builder.constant(f"c{k}", value) for k, value in enumerate(self.constants)]
        outputs = ("y", "z") if self.op == "Split" else ("y",)
        builder.add(self.op, "y", (*self.inputs, *constants), outputs, **self.attributes)
        return builder.finish("y", "logits")

    def arrays(self) -> list[np.ndarray]:
        made = {"x": X, "turned": X.swapaxes(1, 2)}
        return [np.ascontiguousarray(made[name]) for name in self.inputs]

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        made = self.expected(*arrays)
        return list(made) if isinstance(made, list) else [made]


CASES = [
    Fixed("Transpose", lambda x: x.transpose(2, 0, 1), {"perm": (2, 0, 1)}),
    Fixed("Reshape", lambda x: x.reshape(6, 10), {"shape": (6, -1)}),
    Fixed("Flatten", lambda x: x.reshape(12, 5), {"axis": 2}),
    Fixed("Flatten", lambda x: x.reshape(1, 60), {"axis": 0}),
    Fixed("Flatten", lambda x: x.reshape(12, 5), {"axis": -1}),
    Fixed("Concat", lambda x: np.concatenate([x, FIRST]), {"axis": 0}, constants=(FIRST,)),
    Fixed("Concat", lambda x, same: np.concatenate([x, same]), {"axis": -3}, inputs=("x", "x")),
    Fixed("Split", lambda x: [x[:1], x[1:]], {"axis": 0, "split": (1, 2)}),
    Fixed("Slice", lambda x: x[2:0:-1], {"starts": (2,), "ends": (0,), "axes": (0,), "steps": (-1,)}),
    Fixed("Gather", lambda x: x[1], {"axis": 0, "indices": (1,), "indices_shape": ()}),
    Fixed("Gather", lambda x: x[[2, 0, 2]], {"axis": 0, "indices": (2, 0, 2), "indices_shape": (3,)}),
    Fixed("Pad", lambda x: np.pad(x, [(1, 0), (0, 0), (0, 2)]),
          {"pads": (1, 0, 0, 0, 0, 2), "mode": "constant", "value": 0.0}),
    Fixed("Expand", lambda x: np.broadcast_to(x, (2, 3, 4, 5)), {"shape": (2, 3, 1, 5)}),
    Fixed("Tile", lambda x: np.tile(x, (2, 1, 1)), {"repeats": (2, 1, 1)}),
    Fixed("Softmax", lambda x: np.exp(x) / np.exp(x).sum(0), {"axis": 0}),
    Fixed("LogSoftmax", lambda x: x - np.log(np.exp(x).sum(0)), {"axis": 0}),
    Fixed("LayerNormalization", lambda x: (x - x.mean()) / np.sqrt(x.var() + 0.1) * FIRST[0, 0, 0],
          {"axis": 0, "epsilon": 0.1}, constants=(np.full(SHAPE, FIRST[0, 0, 0]),)),
    Fixed("MVN", lambda x: x - x.mean((0, 2), keepdims=True),
          {"axes": (0, 2), "epsilon": 0.1, "normalize_variance": 0}),
    Fixed("ReduceMean", lambda x: x.mean((0, 2)), {"axes": (0, 2), "keepdims": 0}),
    Fixed("ReduceSum", lambda x: x.sum(0, keepdims=True), {"axes": (0,), "keepdims": 1}),
    Fixed("ReduceMax", lambda x: x.max(0), {"axes": (0,), "keepdims": 0}),
    Fixed("ReduceL2", lambda x: np.sqrt((x**2).sum(0)), {"axes": (0,), "keepdims": 0}),
    Fixed("Sum", lambda x: x + FIRST[:1], constants=(FIRST[:1],)),
    Fixed("Mul", lambda x: x * FIRST[0], constants=(FIRST[0],)),
    Fixed("MatMul", lambda x: x @ W, constants=(W,)),
    Fixed("BilinearMatMul", lambda x, t: x @ t, inputs=("x", "turned")),
]  # fmt: skip
params = pytest.mark.parametrize("case", [pytest.param(case, id=f"{k}-{case.op}") for k, case in enumerate(CASES)])


@params
def test_shape_and_forward(case: Fixed) -> None:
    graph = case.graph()
    names = graph.node("y").outputs
    session = onnxruntime.InferenceSession(emit(graph, names).SerializeToString(), providers=["CPUExecutionProvider"])
    made = session.run(None, {"x": X.astype(np.float32)})
    for name, y, wanted in zip(names, made, case.run(case.arrays()), strict=True):
        assert graph.tensors[name].shape == wanted.shape == y.shape
        assert graph.tensors[name].array_shape(8) == wanted.shape
        np.testing.assert_allclose(y, wanted, atol=3e-6)


def jacobian_times(case: Fixed, rs: list[np.ndarray]) -> list[np.ndarray]:
    """The transposed Jacobian times relevance, by central differences."""
    result, h = [], 1e-6
    for k, x in enumerate(case.arrays()):
        slope = np.zeros(x.size)
        for i in range(x.size):
            step = np.zeros(x.size)
            step[i] = h
            ends = [
                case.run([a + sign * step.reshape(a.shape) if j == k else a for j, a in enumerate(case.arrays())])
                for sign in (1, -1)
            ]
            slope[i] = sum(((up - down) * r).sum() for up, down, r in zip(*ends, rs, strict=True)) / (2 * h)
        result.append(slope.reshape(x.shape))
    return result


@params
def test_gradient(case: Fixed) -> None:
    graph = case.graph()
    node, op = graph.node("y"), operator(case.op)
    arrays, ys = case.arrays(), case.run(case.arrays())
    rs = [np.random.default_rng(1).normal(size=y.shape) for y in ys]
    linear = op.linear_map(node, graph)
    if linear is not None:
        shares = linear.transpose(rs[0], WeightPart("all"))
    else:
        xs = (*arrays, *(value.astype(float) for value in case.constants))
        shares = op.treatment(node, "gradient").redistribute(Passage(node, graph, xs, tuple(ys), tuple(rs), 0.01))
    for share, wanted in zip(shares, jacobian_times(case, rs), strict=True):
        assert share.shape == wanted.shape
        np.testing.assert_allclose(share, wanted, atol=1e-7 * np.abs(wanted).max())


def test_an_open_batch_is_not_mixed_with_a_fixed_one() -> None:
    builder = GraphBuilder("open", TensorSpec("x", (None, 4, 5)))
    with pytest.raises(ModelError, match=r"expected an axis from 1 to 2, found 0"):
        builder.add("Softmax", "y", ("x",), axis=0)
    with pytest.raises(ModelError, match=r"expected an axis from 1 to 2, found -3"):
        builder.add("ReduceMax", "y", ("x",), axes=(-3,), keepdims=1)
    with pytest.raises(ModelError, match=r"perm \(1, 0, 2\) does not fit"):
        builder.add("Transpose", "y", ("x",), perm=(1, 0, 2))


def test_array_shape_fills_in_an_open_batch_only() -> None:
    assert TensorSpec("x", (None, 4, 5)).array_shape(7) == (7, 4, 5)
    assert TensorSpec("x", SHAPE).array_shape(7) == SHAPE
