"""Layers to try, with what they compute: convolutions, products, poolings, activations, normalisations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests import caffe_reference as ref
from tests.caffe_nets import SHAPE, layer

Array = np.ndarray
RNG = np.random.default_rng(4)
X = RNG.normal(size=SHAPE)


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return RNG.uniform(0.5, 2, shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A layer `x` on `data` (or on what layers before it write) and what it computes of the image and its blobs.

    ``blobs`` belong to the layer itself; ``more`` to layers before it, by name.
    """

    kind: str
    expected: Callable[..., Array]
    options: str = ""
    blobs: tuple[Array, ...] = ()
    before: str = ""
    bottoms: str = "data"
    more: dict[str, Sequence[Array]] = field(default_factory=dict)
    tops: str = "x"
    after: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.options}"[:90]


def conv(kind: str, options: str, blobs: Sequence[Array], **geometry: Any) -> Case:
    function = ref.deconvolution if kind == "Deconvolution" else ref.convolution
    wanted = f"convolution_param {{ {options} {'' if len(blobs) > 1 else 'bias_term: false'} }}"
    return Case(kind, lambda x, *b: function(x, *b, **geometry), wanted, tuple(blobs))


TANH = layer("t", "TanH", "data", "t")
IMAGE_SIZE = "shape { dim: 1 dim: 3 dim: 7 dim: 6 }"
HALF = layer("d", "DummyData", "", "d", f"dummy_data_param {{ {IMAGE_SIZE} data_filler {{ value: 0.5 }} }}")


def normalised(x: Array, scale: Array, shift: Array, mean: Array, variance: Array, eps: float = 1e-5) -> Array:
    deviation = np.sqrt(ref.per_channel(variance) + eps)
    return (x - ref.per_channel(mean)) / deviation * ref.per_channel(scale) + ref.per_channel(shift)


def mean_of_maps(x: Array) -> Array:
    return x.mean((2, 3), keepdims=True)


CONVOLUTIONS = [
    conv("Convolution", "num_output: 4 kernel_size: 3", [normal(4, 3, 3, 3), normal(4)]),
    conv(
        "Convolution",
        "num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2",
        [normal(4, 3, 3, 2)],
        stride=(2, 1),
        pad=(1, 2),
    ),
    conv(
        "Convolution",
        "num_output: 6 kernel_size: 2 kernel_size: 3 stride: 2 dilation: 2 dilation: 1 group: 3",
        [normal(6, 1, 2, 3), normal(6)],
        stride=(2, 2),
        dilation=(2, 1),
        group=3,
    ),
    conv(
        "Convolution", "num_output: 2 kernel_size: 3 hole: 2 pad: 2", [normal(2, 3, 3, 3)], pad=(2, 2), dilation=(2, 2)
    ),
    conv(
        "Convolution",
        "num_output: 2 kernel_size: 3 hole_h: 2 hole_w: 1",
        [normal(2, 3, 3, 3)],
        dilation=(2, 1),
    ),
    conv(
        "DepthwiseConvolution",
        "num_output: 3 kernel_size: 3 pad: 1",
        [normal(3, 1, 3, 3), normal(3)],
        pad=(1, 1),
        group=3,
    ),
    conv("ConvolutionDepthwise", "num_output: 3 kernel_size: 3 group: 3", [normal(3, 1, 3, 3)], group=3),
    conv("DepthwiseConvolution", "num_output: 6 kernel_size: 2", [normal(6, 1, 2, 2)], group=3),
    conv("Deconvolution", "num_output: 4 kernel_size: 3", [normal(3, 4, 3, 3), normal(4)]),
    conv(
        "Deconvolution",
        "num_output: 6 kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 2 group: 3",
        [normal(3, 2, 3, 4)],
        stride=(2, 3),
        pad=(1, 2),
        group=3,
    ),
    conv("Deconvolution", "num_output: 2 kernel_size: 2 dilation: 2", [normal(3, 2, 2, 2)], dilation=(2, 2)),
]


def dense(options: str, weight: Array, *bias: Array, transpose: bool = False) -> Case:
    matrix = weight if transpose else weight.T

    def expected(x: Array, *_: Array) -> Array:
        inside = len(matrix)
        lead = x.shape[: int(np.flatnonzero(np.cumprod(x.shape[::-1]) == inside)[0] + 1) * -1]
        return x.reshape(*lead, inside) @ matrix + (bias[0] if bias else 0)

    wanted = f"inner_product_param {{ {options} {'' if bias else 'bias_term: false'} }}"
    return Case("InnerProduct", expected, wanted, (weight, *bias))


DENSE = [
    dense("num_output: 5", normal(5, 126), normal(5)),
    dense("num_output: 5 transpose: true", normal(126, 5), transpose=True),
    dense("num_output: 5 axis: 2", normal(5, 42), normal(5)),
    dense("num_output: 4 axis: -1 transpose: true", normal(6, 4), normal(4), transpose=True),
]


def pool(
    options: str, kernel: tuple, stride: tuple, pad: tuple = (0, 0), *, ave: bool = False, up: bool = True
) -> Case:
    return Case(
        "Pooling",
        lambda x: ref.pooling(x, kernel, stride, pad, ave=ave, up=up),
        f"pooling_param {{ {options} {'pool: AVE' if ave else ''} }}",
    )


POOLINGS = [
    *(pool("kernel_size: 2 stride: 2", (2, 2), (2, 2), ave=ave) for ave in (False, True)),
    *(pool("kernel_size: 3 stride: 2 pad: 1", (3, 3), (2, 2), (1, 1), ave=ave) for ave in (False, True)),
    *(
        pool("kernel_h: 3 kernel_w: 2 stride_h: 3 stride_w: 1 pad_h: 2 pad_w: 1", (3, 2), (3, 1), (2, 1), ave=ave)
        for ave in (False, True)
    ),
    *(pool("kernel_size: 2 stride: 2 round_mode: FLOOR", (2, 2), (2, 2), ave=ave, up=False) for ave in (False, True)),
    *(pool("kernel_size: 3 stride: 2 ceil_mode: false", (3, 3), (2, 2), ave=ave, up=False) for ave in (False, True)),
    *(pool("kernel_size: 4 stride: 3 pad: 3", (4, 4), (3, 3), (3, 3), ave=ave) for ave in (False, True)),
    Case("Pooling", lambda x: x.max((2, 3), keepdims=True), "pooling_param { global_pooling: true }"),
    Case("Pooling", mean_of_maps, "pooling_param { pool: AVE global_pooling: true }"),
    Case("SPP", lambda x: ref.spp(x, 1, ave=False).reshape(2, 3, 1, 1), "spp_param { pyramid_height: 1 }"),
    Case("SPP", lambda x: ref.spp(x, 3, ave=False), "spp_param { pyramid_height: 3 }"),
    Case("SPP", lambda x: ref.spp(x, 2, ave=True), "spp_param { pyramid_height: 2 pool: AVE }"),
]

ACTIVATIONS = [
    Case("ReLU", lambda x: np.maximum(x, 0)),
    Case("ReLU", lambda x: np.where(x > 0, x, 0.25 * x), "relu_param { negative_slope: 0.25 }"),
    Case(
        "ReLU6",
        lambda x: np.clip(4 * x, 0, 6),
        before=layer("p", "Power", "data", "p", "power_param { scale: 4 }"),
        bottoms="p",
    ),
    Case("Clip", lambda x: np.clip(x, -0.5, 1), "clip_param { min: -0.5 max: 1 }"),
    Case("PReLU", lambda x, a: np.where(x > 0, x, ref.per_channel(a) * x), blobs=(normal(3),)),
    Case(
        "PReLU",
        lambda x, a: np.where(x > 0, x, a.item() * x),
        "prelu_param { channel_shared: true }",
        (np.float32([0.3]),),
    ),
    Case("CReLU", lambda x: np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 1)),
    Case(
        "CReLU",
        lambda x: np.concatenate([np.where(v > 0, v, 0.5 * v) for v in (x, -x)], 2),
        "crelu_param { negative_slope: 0.5 concat_axis: 2 }",
    ),
    Case("ELU", lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)), "elu_param { alpha: 0.5 }"),
    Case("SELU", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    Case("Sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    Case("HardSigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    Case("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    Case("TanH", np.tanh),
    Case("AbsVal", np.abs),
    Case("BNLL", lambda x: np.log1p(np.exp(x))),
    Case("Softplus", lambda x: np.log1p(np.exp(x))),
    Case("Mish", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    Case("Swish", lambda x: x / (1 + np.exp(-1.5 * x)), "swish_param { beta: 1.5 }"),
    Case("Swish", lambda x: x / (1 + np.exp(-x))),
    Case("Threshold", lambda x: (x > 0.25).astype(float), "threshold_param { threshold: 0.25 }"),
    Case("Power", lambda x: (0.5 - 2 * x) ** 2, "power_param { power: 2 scale: -2 shift: 0.5 }"),
    Case("Power", lambda x: 3 - 0.5 * x, "power_param { scale: -0.5 shift: 3 }"),
    Case("Exp", np.exp),
    Case("Exp", lambda x: 2.0 ** (0.5 * x - 1), "exp_param { base: 2 scale: 0.5 shift: -1 }"),
    Case("Log", lambda x: np.log(x + 9), "log_param { shift: 9 }"),
    Case("Log", lambda x: np.log2(0.5 * x + 9), "log_param { base: 2 scale: 0.5 shift: 9 }"),
    Case("Dropout", lambda x: x, "dropout_param { dropout_ratio: 0.75 }"),
    Case("Dropout", lambda x: 0.25 * x, "dropout_param { dropout_ratio: 0.75 scale_train: false }"),
    Case(
        "Softmax",
        lambda x: np.maximum(np.exp(x) / np.exp(x).sum(2, keepdims=True), 0),
        "softmax_param { axis: 2 }",
        tops="s",
        after=layer("x", "ReLU", "s", "x"),
    ),
]

STATISTICS = [
    Case(
        "BatchNorm",
        lambda x, m, v, f: (x - ref.per_channel(m / f)) / np.sqrt(ref.per_channel(v / f) + 0.01),
        "batch_norm_param { eps: 0.01 }",
        (normal(3), positive(3), np.float32([4])),
    ),
    Case(
        "BatchNorm",
        lambda x, m, v, _, g, b: normalised(x, g, b, m, v),
        "batch_norm_param { scale_bias: true }",
        (normal(3), positive(3), np.float32([1]), normal(3), normal(3)),
    ),
    Case(
        "BN",
        lambda x, g, b: x * ref.per_channel(g) + ref.per_channel(b),
        "bn_param { bn_mode: INFERENCE scale_filler { value: 1 } shift_filler { value: 0.001 } }",
        (normal(1, 3, 1, 1), normal(1, 3, 1, 1)),
    ),
    Case(
        "BN",
        lambda x, g, b, m, v: normalised(x, g, b, m, v, 0.01),
        "bn_param { slope_filler { value: 1 } frozen: true momentum: 0.95 eps: 0.01 }",
        (normal(3), normal(3), normal(3), positive(3)),
    ),
    Case(
        "BN",
        lambda x, g, b, m, v: normalised(x, g, b, m, v, 0.5),
        "bn_param { scale_filler { value: 1 } var_eps: 0.5 }",
        (normal(3), normal(3), normal(3), positive(3)),
    ),
    Case("LRN", lambda x: ref.lrn_across(x, 3, 0.5, 0.25, 2), "lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }"),
    Case(
        "LRN",
        lambda x: ref.lrn_within(x, 3, 0.5, 0.75),
        "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }",
    ),
    Case("MVN", ref.mvn),
    Case("MVN", lambda x: ref.mvn(x, across=True), "mvn_param { across_channels: true }"),
    Case("MVN", lambda x: ref.mvn(x, variance=False), "mvn_param { normalize_variance: false }"),
    Case("MVN", lambda x: ref.mvn(x, eps=0.5), "mvn_param { eps: 0.5 }"),
    Case(
        "Normalize",
        lambda x, s: x / np.sqrt((x**2).sum(1, keepdims=True) + 0.5) * ref.per_channel(s),
        "norm_param { across_spatial: false channel_shared: false eps: 0.5 }",
        (normal(3),),
    ),
    Case(
        "Normalize",
        lambda x, s: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True)) * s.item(),
        "",
        (np.float32([20]),),
    ),
]

LOOKED_UP = [
    Case(
        "Embed",
        lambda x, table, bias: (table + bias)[np.clip(x, 0, 4).astype(int)],
        "embed_param { input_dim: 5 num_output: 4 }",
        (normal(5, 4), normal(4)),
    ),
    Case(
        "Embed",
        lambda x, table: table[np.clip(x, 0, 1).astype(int)],
        "embed_param { input_dim: 2 num_output: 3 bias_term: false }",
        (normal(2, 3),),
    ),
]
PLAIN = [*CONVOLUTIONS, *LOOKED_UP, *DENSE, *POOLINGS, *ACTIVATIONS, *STATISTICS]
