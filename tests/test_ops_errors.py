"""What operators say to inputs and attributes that do not fit."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Node
from lrptool.ops import Operator, operator, registry
from lrptool.ops.registry import register

POOL = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (0, 0, 0, 0), "ceil_mode": 0}
CONV = {"kernel_shape": (3, 2), "strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "group": 1}
LINE = {"kernel_shape": (3,), "strides": (1,), "pads": (0, 0), "dilations": (1,), "group": 1}
UPWARD = CONV | {"output_padding": (0, 0)}
CUT = {"starts": (0,), "ends": (3,), "axes": (2,), "steps": (1,)}
RESIZE = {
    "mode": "linear",
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "floor",
    "scales": (1.0, 1.0, 2.0, 2.0),
    "sizes": (),
}
LRN = {"size": 3, "alpha": 1.0, "beta": 0.75, "bias": 1.0}
IMAGE = (None, 4, 7, 6)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [
        ("Conv", [IMAGE, (5, 3, 3, 2)], CONV, "weights (5, 3, 3, 2) in 1 group(s) do not fit"),
        ("Conv", [IMAGE, (5, 2, 3, 2)], CONV | {"group": 2}, "in 2 group(s) do not fit"),
        ("Conv", [IMAGE, (5, 4, 2, 3)], CONV, "kernel_shape (3, 2), weights have [2, 3]"),
        ("Conv", [IMAGE, (5, 4, 3, 2), (4,)], CONV, "expected a bias of shape (5,), found (4,)"),
        ("Conv", [IMAGE, (5, 4, 3, 2)], CONV | {"dilations": (4, 1)}, "does not fit an input of shape"),
        ("Gemm", [(None, 6), (5, 7)], {}, "weights of shape (5, 7) do not fit an input of shape (None, 6)"),
        ("Gemm", [IMAGE, (5, 168)], {}, "do not fit an input of shape (None, 4, 7, 6)"),
        ("Gemm", [(None, 7), (5, 7), (7,)], {}, "expected a bias of shape (5,), found (7,)"),
        ("MaxPool", [(None, 4)], POOL, "expected an input (N, C, H, W)"),
        ("MaxPool", [(None, 4, 2, 6)], POOL, "a window of (3, 2) does not fit"),
        ("AveragePool", [(None, 4, 2, 6)], POOL, "a window of (3, 2) does not fit"),
        ("GlobalAveragePool", [(None, 4)], {}, "expected an input (N, C, …)"),
        ("GlobalMaxPool", [(None, 4)], {}, "expected an input (N, C, …)"),
        ("LRN", [(None, 4)], LRN, "expected an input (N, C, H, W)"),
        ("LRNWithinChannel", [(None, 4)], LRN, "expected an input (N, C, H, W)"),
        ("BatchNormalization", [IMAGE, (4,), (4,), (5,), (4,)], {"epsilon": 0.1}, "do not fit an input of shape"),
        ("Softmax", [IMAGE], {"axis": 0}, "expected an axis from 1 to 3, found 0"),
        ("Flatten", [IMAGE], {"axis": 2}, "expected axis 1, found 2"),
        ("Reshape", [IMAGE], {"shape": (5, -1)}, "cannot be reshaped to items of (5, -1)"),
        ("Reshape", [IMAGE], {"shape": (6, 29)}, "cannot be reshaped to items of (6, 29)"),
        ("Concat", [IMAGE, (None, 4, 6, 6)], {"axis": 1}, "do not agree outside axis 1"),
        ("Concat", [IMAGE, IMAGE], {"axis": 4}, "expected an axis from 1 to 3, found 4"),
        ("Concat", [IMAGE, IMAGE], {"axis": -4}, "expected an axis from 1 to 3, found -4"),
        ("Split", [IMAGE], {"axis": 1, "split": (2, 3)}, "slices (2, 3) do not fill axis 1"),
        ("Sum", [IMAGE, (None, 4, 7, 5)], {}, "do not fit together"),
        ("Mul", [IMAGE, (None, 3, 1, 1)], {}, "do not fit together"),
        ("Max", [IMAGE, (None, 3, 1, 1)], {}, "do not fit together"),
        ("Conv", [(None, 4, 9), (6, 4, 3)], LINE | {"group": 2}, "in 2 group(s) do not fit an input of shape"),
        ("Conv", [(None, 4, 9), (6, 4, 2)], LINE, "expected weights of kernel_shape (3,)"),
        ("Conv", [(None, 4, 9), (6, 4, 3), (5,)], LINE, "a bias of shape (6,)"),
        ("Conv", [(None, 4, 2), (6, 4, 3)], LINE, "a kernel of (3,) does not fit"),
        ("ConvTranspose", [IMAGE, (3, 5, 3, 2)], UPWARD, "weights (3, 5, 3, 2) in 1 group(s) do not fit"),
        ("ConvTranspose", [IMAGE, (4, 5, 2, 3)], UPWARD, "kernel_shape (3, 2), weights have [2, 3]"),
        ("ConvTranspose", [IMAGE, (4, 5, 3, 2), (4,)], UPWARD, "expected a bias of shape (5,), found (4,)"),
        ("ConvTranspose", [IMAGE, (4, 5, 3, 2)], UPWARD | {"pads": (9, 0, 0, 0)}, "leave nothing of an input"),
        ("MaxPool", [IMAGE], POOL | {"dilations": (4, 1)}, "a window of (3, 2) does not fit"),
        ("MaxPool", [(None, 4, 9)], POOL | {"dilations": (2, 1)}, "a window of (3, 2) does not fit"),
        ("AveragePool", [(None, 4, 2)], POOL | {"kernel_shape": (3,), "strides": (1,), "pads": (0, 0)}, "does not fit"),
        ("LpPool", [IMAGE], POOL | {"p": 0}, "expected p of at least 1, found 0"),
        ("MatMul", [IMAGE, (5, 6)], {}, "factors of shapes (None, 4, 7, 6) and (5, 6) do not fit together"),
        ("MatMul", [IMAGE, (2, 4, 6, 5)], {}, "do not fit together"),
        ("MatMul", [IMAGE, (None, 4, 6, 5)], {}, "two tensors: BilinearMatMul"),
        ("MatMul", [IMAGE, (6, 5), (4,)], {}, "a bias of shape (4,) does not fit"),
        ("BilinearMatMul", [IMAGE, (None, 6, 5)], {}, "do not fit together"),
        ("BilinearMatMul", [IMAGE, (None, 3, 6, 5)], {}, "do not fit together"),
        ("PRelu", [IMAGE, (5, 1, 1)], {}, "do not fit together"),
        ("PRelu", [(None, 1, 7, 6), (4, 1, 1)], {}, "slopes (4, 1, 1) do not fit"),
        ("Clip", [IMAGE], {"min": 1.0, "max": 0.5}, "expected min ≤ max, found 1 and 0.5"),
        ("Clip", [IMAGE], {"min": math.nan, "max": 0.5}, "expected min ≤ max"),
        ("Celu", [IMAGE], {"alpha": 0.0}, "expected an alpha other than 0"),
        ("Gelu", [IMAGE], {"approximate": "sigmoid"}, "expected approximate 'none' or 'tanh'"),
        ("Sum", [IMAGE, IMAGE], {"coefficients": (1.0,)}, "expected 2 coefficients, found 1"),
        ("Sum", [IMAGE, (None, 6)], {}, "do not fit together"),
        ("Div", [IMAGE, (None, 3, 1, 1)], {}, "do not fit together"),
        ("Min", [IMAGE, (5, 1, 1)], {}, "do not fit together"),
        ("Transpose", [IMAGE], {"perm": (1, 0, 2, 3)}, "perm (1, 0, 2, 3) does not fit"),
        ("Transpose", [IMAGE], {"perm": (0, 2, 1)}, "perm (0, 2, 1) does not fit"),
        ("Slice", [IMAGE], CUT | {"axes": (0,)}, "expected an axis from 1 to 3, found 0"),
        ("Slice", [IMAGE], CUT | {"steps": (0,)}, "steps (0,) does not fit"),
        ("Slice", [IMAGE], CUT | {"starts": (9,)}, "starts (9,), ends (3,)"),
        ("Gather", [IMAGE], {"axis": 1, "indices": (4,), "indices_shape": (1,)}, "indices (4,)"),
        ("Gather", [IMAGE], {"axis": 0, "indices": (0,), "indices_shape": ()}, "expected an axis from 1 to 3"),
        ("Gather", [IMAGE], {"axis": 1, "indices": (1, 2), "indices_shape": (3,)}, "indices_shape (3,)"),
        ("Pad", [IMAGE], {"pads": (1,) + (0,) * 7, "mode": "edge", "value": 0.0}, "pads (1, 0, 0, 0, 0, 0, 0, 0)"),
        ("Pad", [IMAGE], {"pads": (0, 0, 7) + (0,) * 5, "mode": "reflect", "value": 0.0}, "mode reflect does not fit"),
        ("Pad", [IMAGE], {"pads": (0,) * 8, "mode": "wrap", "value": 0.0}, "mode wrap does not fit"),
        ("Expand", [IMAGE], {"shape": (5, 7, 6)}, "shape (5, 7, 6) does not fit"),
        ("Expand", [IMAGE], {"shape": (2, 4, 7, 6)}, "shape (2, 4, 7, 6) does not fit"),
        ("Tile", [IMAGE], {"repeats": (2, 1, 1, 1)}, "repeats (2, 1, 1, 1) does not fit"),
        ("DepthToSpace", [IMAGE], {"blocksize": 3, "mode": "DCR"}, "blocksize 3, mode DCR does not fit"),
        ("SpaceToDepth", [IMAGE], {"blocksize": 2}, "blocksize 2 does not fit"),
        ("ReduceSum", [IMAGE], {"axes": (0, 1), "keepdims": 1}, "expected an axis from 1 to 3, found 0"),
        ("ReduceMax", [IMAGE], {"axes": (), "keepdims": 1}, "expected axes, each of them once"),
        ("ReduceMean", [(2, 3)], {"axes": (0, 1), "keepdims": 0}, "expected keepdims"),
        ("InstanceNormalization", [IMAGE, (4,), (5,)], {"epsilon": 0.1}, "expected one value per channel"),
        (
            "GroupNormalization",
            [IMAGE, (4,), (4,)],
            {"epsilon": 1.0, "num_groups": 3},
            "4 channels cannot be in 3 groups",
        ),
        ("LayerNormalization", [IMAGE, (7,)], {"epsilon": 0.1, "axis": -1}, "expected scale and bias of shape (6,)"),
        ("MVN", [IMAGE], {"axes": (), "epsilon": 0.1, "normalize_variance": 1}, "at least one axis"),
        ("L2Normalize", [IMAGE, (3,)], {"axes": (1,), "epsilon": 0.1}, "scale (3,) does not fit"),
        ("Resize", [IMAGE], RESIZE | {"scales": (2.0,) * 4}, "expected the batch to keep its size"),
        ("Resize", [IMAGE], RESIZE | {"scales": (1.0, 1.0)}, "scales (1.0, 1.0), sizes () do not fit"),
        ("Resize", [IMAGE], RESIZE | {"scales": (1.0, 1.0, 0.1, 1.0)}, "do not fit an input"),
        ("Resize", [IMAGE], RESIZE | {"mode": "cubic"}, "expected mode nearest, linear, found 'cubic'"),
    ],
)
def test_inputs_that_do_not_fit(op: str, shapes: list[Any], attributes: dict[str, Any], message: str) -> None:
    outputs = ("y", "z") if op == "Split" else ("y",)
    node = Node("n1", op, tuple(f"x{k}" for k in range(len(shapes))), outputs, attributes)
    with pytest.raises(ModelError) as caught:
        operator(op).infer(node, shapes)
    assert str(caught.value).startswith(("node 'n1': ", f"node 'n1' ({op}): "))
    assert message in str(caught.value)


def test_linear_interpolation_is_no_copy() -> None:
    node = Node("up", "Resize", ("x",), ("y",), RESIZE)
    with pytest.raises(UnsupportedError, match=r"node 'up' \(Resize\): rule 'route' does not apply") as caught:
        operator("Resize").treatment(node, "route")
    assert "proportion" in (caught.value.hint or "")
    nearest = Node("up", "Resize", ("x",), ("y",), RESIZE | {"mode": "nearest"})
    assert operator("Resize").treatment(nearest, "proportion")


def test_a_name_is_taken_once_but_by_what_extends_its_holder() -> None:
    held = operator("Relu")
    with pytest.raises(ValueError, match="operator 'Relu' is registered twice"):
        register(type("Other", (Operator,), {"name": "Relu", "infer": lambda *_: ()}))
    assert operator("Relu") is held
    extension = type("Wider", (type(held),), {})
    try:
        register(extension)
        assert type(operator("Relu")) is extension
    finally:
        registry._OPERATORS["Relu"] = held
