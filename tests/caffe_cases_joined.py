"""Layers to try that join, scale, cut, move or resize tensors, with what they compute."""

from __future__ import annotations

import numpy as np

from tests import caffe_reference as ref
from tests.caffe_cases import HALF, TANH, Array, Case, mean_of_maps, normal
from tests.caffe_nets import layer


def scaled(kind: str, options: str, shape: tuple[int, ...], *, bias: bool = False) -> Case:
    """A learned operand that covers the axes `shape` of the image says; 1 elsewhere."""
    stored = tuple(size for size in shape if size != 1)

    def expected(x: Array, *blobs: Array) -> Array:
        arrays = [blob.astype(np.float64).reshape(shape) for blob in blobs]
        if kind == "Bias":
            return x + arrays[0]
        return x * arrays[0] + (arrays[1] if bias else 0)

    block = f"{kind.lower()}_param {{ {options} {'bias_term: true' if bias else ''} }}"
    return Case(kind, expected, block, tuple(normal(*stored) for _ in range(1 + bias)))


GATE = layer("g", "Pooling", "data", "g", "pooling_param { pool: AVE global_pooling: true }")
FLAT_GATE = GATE + layer("f", "Flatten", "g", "f")
PARAMETER = layer("p", "Parameter", "", "p", "parameter_param { shape { dim: 3 } }")
WIDE_PARAMETER = layer("p", "Parameter", "", "p", "parameter_param { shape { dim: 7 dim: 6 } }")
DUMMY = layer("d", "DummyData", "", "d", "dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 0.5 } }")
OLD_DUMMY = layer("d", "DummyData", "", "d", "dummy_data_param { num: 2 channels: 3 height: 7 width: 6 }")
P3, P76 = normal(3), normal(7, 6)

AFFINE = [
    scaled("Scale", "", (3, 1, 1)),
    scaled("Scale", "", (3, 1, 1), bias=True),
    scaled("Scale", "axis: 2", (7, 1), bias=True),
    scaled("Scale", "axis: -1", (6,), bias=True),
    scaled("Scale", "axis: 1 num_axes: 2", (3, 7, 1)),
    scaled("Scale", "axis: 1 num_axes: -1", (3, 7, 6), bias=True),
    scaled("Scale", "axis: 0 num_axes: 0", (), bias=True),
    scaled("Bias", "", (3, 1, 1)),
    scaled("Bias", "axis: 2 num_axes: -1", (7, 6)),
    Case("Scale", lambda x: x * mean_of_maps(x), "scale_param { axis: 0 }", before=FLAT_GATE, bottoms="data f"),
    Case("Bias", lambda x: x + mean_of_maps(x), "bias_param { axis: 0 }", before=FLAT_GATE, bottoms="data f"),
    Case("Scale", lambda x: x * np.tanh(x), "scale_param { axis: 0 }", before=TANH, bottoms="data t"),
    Case(
        "Scale",
        lambda x, b: x * ref.per_channel(P3) + ref.per_channel(b),
        "scale_param { bias_term: true }",
        (normal(3),),
        before=PARAMETER,
        bottoms="data p",
        more={"p": [P3]},
    ),
    Case(
        "Bias", lambda x: x + P76, "bias_param { axis: 2 }", before=WIDE_PARAMETER, bottoms="data p", more={"p": [P76]}
    ),
    Case("Scale", lambda x: 0.5 * x, "scale_param { axis: 0 }", before=DUMMY, bottoms="data d"),
    Case("Bias", lambda x: x, "bias_param { axis: 0 }", before=OLD_DUMMY, bottoms="data d"),
    Case("Axpy", lambda x: mean_of_maps(x) * x + np.tanh(x), before=GATE + TANH, bottoms="g data t"),
    Case("Axpy", lambda x: mean_of_maps(x) * x + x, before=FLAT_GATE, bottoms="f data data"),
]

PAIR = TANH + layer("a", "AbsVal", "data", "a")

COMBINED = [
    Case("Eltwise", lambda x: x + np.tanh(x) + np.abs(x), before=PAIR, bottoms="data t a"),
    Case(
        "Eltwise",
        lambda x: 2 * x - 0.5 * np.tanh(x),
        "eltwise_param { operation: SUM coeff: 2 coeff: -0.5 }",
        before=PAIR,
        bottoms="data t",
    ),
    Case(
        "Eltwise",
        lambda x: x * np.tanh(x) * np.abs(x),
        "eltwise_param { operation: PROD }",
        before=PAIR,
        bottoms="data t a",
    ),
    Case("Eltwise", lambda x: np.maximum(x, 0.5), "eltwise_param { operation: MAX }", bottoms="data d", before=HALF),
    Case(
        "Eltwise",
        lambda x: np.maximum(x, np.tanh(x)),
        "eltwise_param { operation: MAX }",
        before=PAIR,
        bottoms="data t",
    ),
    *(
        Case(
            "Concat",
            lambda x, axis=axis: np.concatenate([x, np.tanh(x), np.abs(x)], axis),
            f"concat_param {{ {options} }}",
            before=PAIR,
            bottoms="data t a",
        )
        for axis, options in ((1, ""), (2, "axis: 2"), (3, "axis: -1"), (2, "concat_dim: 2"))
    ),
    Case(
        "Slice",
        lambda x: np.tanh(x[:, 2:]),
        "slice_param { slice_point: 2 }",
        tops="s0 s1",
        after=layer("x", "TanH", "s1", "x"),
    ),
    Case(
        "Slice",
        lambda x: x[..., 2:4],
        "slice_param { axis: -1 }",
        tops="s0 s1 s2",
        after=layer("x", "Split", "s1", "x"),
    ),
    Case(
        "Slice",
        lambda x: np.maximum(x[:, :, 1:3], x[:, :, 5:]),
        "slice_param { slice_dim: 2 slice_point: [1, 3, 5] }",
        tops="s0 s1 s2 s3",
        after=layer("x", "Eltwise", "s1 s3", "x", "eltwise_param { operation: MAX }"),
    ),
    Case("Slice", np.tanh, tops="s", after=layer("x", "TanH", "s", "x")),
]

WIDER = layer("w", "Concat", "data data", "w", "concat_param { axis: 2 }") + layer(
    "v", "Concat", "w w", "v", "concat_param { axis: 3 }"
)


def wider(x: Array) -> Array:
    return np.tile(x, (1, 1, 2, 2))


MOVES = [
    Case("Flatten", lambda x: x.reshape(2, 126)),
    Case("Flatten", lambda x: x.reshape(2, 3, 42), "flatten_param { axis: 2 }"),
    Case("Flatten", lambda x: x.reshape(2, 21, 6), "flatten_param { axis: 1 end_axis: -2 }"),
    Case("Reshape", lambda x: x.reshape(2, 6, 3, 7), "reshape_param { shape { dim: 0 dim: 6 dim: -1 dim: 7 } }"),
    Case("Reshape", lambda x: x.reshape(2, 3, 6, 7), "reshape_param { shape { dim: 6 dim: 7 } axis: 2 }"),
    Case("Reshape", lambda x: x.reshape(2, 21, 6), "reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 }"),
    Case("Permute", lambda x: x.transpose(0, 2, 3, 1), "permute_param { order: [0, 2, 3, 1] }"),
    Case("Permute", lambda x: x.transpose(0, 3, 1, 2), "permute_param { order: 0 order: 3 }"),
    Case("Tile", lambda x: np.concatenate([x, x, x], 1), "tile_param { tiles: 3 }"),
    Case("Tile", lambda x: np.concatenate([x, x], 3), "tile_param { axis: -1 tiles: 2 }"),
    Case(
        "ShuffleChannel",
        lambda x: np.tile(x, (1, 2, 1, 1))[:, [0, 3, 1, 4, 2, 5]],
        "shuffle_channel_param { group: 2 }",
        before=layer("t", "Tile", "data", "t", "tile_param { tiles: 2 }"),
        bottoms="t",
    ),
    Case("ChannelShuffle", lambda x: x, "shuffle_channel_param { group: 3 }"),
    *(
        Case("Crop", expected, options, before=WIDER, bottoms="v data")
        for expected, options in (
            (lambda x: wider(x)[:, :, :7, :6], ""),
            (lambda x: wider(x)[:, :, 3:10, 3:9], "crop_param { offset: 3 }"),
            (lambda x: wider(x)[:, :, 2:9, 5:11], "crop_param { offset: 2 offset: 5 }"),
            (lambda x: wider(x)[:, :, 1:8, 4:10], "crop_param { axis: 1 offset: [0, 1, 4] }"),
        )
    ),
    Case(
        "Crop",
        lambda x: wider(x)[..., 5:11],
        "crop_param { axis: -1 offset: 5 }",
        before=WIDER,
        bottoms="v w",
    ),
    *(
        Case("Reduction", expected, f"reduction_param {{ {options} }}")
        for expected, options in (
            (lambda x: x.sum((2, 3)), "axis: 2"),
            (lambda x: 0.5 * np.abs(x).sum(3), "operation: ASUM axis: -1 coeff: 0.5"),
            (lambda x: (x**2).sum((2, 3)), "operation: SUMSQ axis: 2"),
            (lambda x: -2 * x.mean((2, 3)), "operation: MEAN axis: 2 coeff: -2"),
            (lambda x: x.mean((1, 2, 3)).reshape(2, 1), "operation: MEAN axis: 1"),
            (lambda x: 3 * x.sum((1, 2, 3)).reshape(2, 1), "axis: 1 coeff: 3"),
        )
    ),
    Case("Interp", lambda x: ref.interp(x, 13, 11), "interp_param { zoom_factor: 2 }"),
    Case("Interp", lambda x: ref.interp(x, 4, 3), "interp_param { shrink_factor: 2 }"),
    Case("Interp", lambda x: ref.interp(x, 10, 7), "interp_param { shrink_factor: 2 zoom_factor: 3 }"),
    Case("Interp", lambda x: ref.interp(x, 9, 5), "interp_param { height: 9 width: 5 }"),
    Case(
        "Interp",
        lambda x: ref.interp(x[:, :, 1:5, 1:4], 8, 7),
        "interp_param { height: 8 width: 7 pad_beg: -1 pad_end: -2 }",
    ),
    Case("Interp", lambda x: ref.interp(x, 1, 12), "interp_param { height: 1 width: 12 }"),
    Case("Interp", lambda x: ref.interp(x, 14, 12), before=WIDER, bottoms="data v"),
    Case("Upsample", lambda x: x.repeat(2, 2).repeat(2, 3), "upsample_param { scale: 2 }"),
    Case("Upsample", lambda x: x.repeat(3, 2).repeat(2, 3), "upsample_param { scale_h: 3 scale_w: 2 }"),
]

JOINED = [*AFFINE, *COMBINED, *MOVES]
