"""What Caffe's layers compute, in float64 and one value at a time: slow, and written from their definitions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import ceil, floor

import numpy as np

Array = np.ndarray


def positions(*sizes: int) -> Iterator[tuple[int, ...]]:
    return product(*map(range, sizes))


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Sequence[int] = (1, 1),
    pad: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    group: int = 1,
) -> Array:
    out, inside = weight.shape[:2]
    size = [
        (n + 2 * p - (d * (k - 1) + 1)) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, strict=True)
    ]
    y = np.zeros((len(x), out, *size))
    for n, o, *at in positions(len(x), out, *size):
        total = 0.0 if bias is None else float(bias[o])
        for c, *tap in positions(*weight.shape[1:]):
            place = [a * s - p + t * d for a, s, p, t, d in zip(at, stride, pad, tap, dilation, strict=True)]
            if all(0 <= v < size for v, size in zip(place, x.shape[2:], strict=True)):
                channel = o // (out // group) * inside + c
                total += float(weight[(o, c, *tap)]) * float(x[(n, channel, *place)])
        y[(n, o, *at)] = total
    return y


def deconvolution(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Sequence[int] = (1, 1),
    pad: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    group: int = 1,
) -> Array:
    """Every value spreads its kernel over the output; what falls into the padding is lost."""
    channels, per_group = weight.shape[:2]
    size = [
        s * (n - 1) + d * (k - 1) + 1 - 2 * p
        for n, k, s, p, d in zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, strict=True)
    ]
    y = np.zeros((len(x), per_group * group, *size))
    for n, c, h, w in positions(*x.shape):
        first = c // (channels // group) * per_group
        for o, i, j in positions(*weight.shape[1:]):
            row, column = h * stride[0] - pad[0] + i * dilation[0], w * stride[1] - pad[1] + j * dilation[1]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                y[n, first + o, row, column] += x[n, c, h, w] * weight[c, o, i, j]
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def pooled_size(n: int, k: int, s: int, p: int, *, up: bool = True) -> int:
    """Caffe's arithmetic: a window that would begin in the padding behind the image is dropped, if there is padding."""
    count = int((ceil if up else floor)((n + 2 * p - k) / s)) + 1
    if p and (count - 1) * s >= n + p:
        count -= 1
    return count


def pooling(
    x: Array, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int] = (0, 0), *, ave: bool, up: bool = True
) -> Array:
    height, width = x.shape[2:]
    size = [pooled_size(n, k, s, p, up=up) for n, k, s, p in zip((height, width), kernel, stride, pad, strict=True)]
    y = np.zeros((*x.shape[:2], *size))
    for n, c, h, w in positions(*y.shape):
        top, left = h * stride[0] - pad[0], w * stride[1] - pad[1]
        bottom, right = min(top + kernel[0], height + pad[0]), min(left + kernel[1], width + pad[1])
        count = (bottom - top) * (right - left)
        window = x[n, c, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        y[n, c, h, w] = window.sum() / count if ave else window.max()
    return y


def lrn_across(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        window = x[:, max(0, c - size // 2) : c + size // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha / size * (window**2).sum(1)) ** beta
    return y


def lrn_within(x: Array, size: int, alpha: float, beta: float) -> Array:
    mean = pooling(x**2, (size, size), (1, 1), (size // 2, size // 2), ave=True)
    return x / (1 + alpha * mean) ** beta


def interp(x: Array, height: int, width: int) -> Array:
    """Bilinear, corners on corners."""
    y = np.zeros((*x.shape[:2], height, width))
    for h, w in positions(height, width):
        row = h * (x.shape[2] - 1) / (height - 1) if height > 1 else 0.0
        column = w * (x.shape[3] - 1) / (width - 1) if width > 1 else 0.0
        r, c = int(row), int(column)
        below, right = min(r + 1, x.shape[2] - 1), min(c + 1, x.shape[3] - 1)
        fr, fc = row - r, column - c
        upper = (1 - fc) * x[:, :, r, c] + fc * x[:, :, r, right]
        lower = (1 - fc) * x[:, :, below, c] + fc * x[:, :, below, right]
        y[:, :, h, w] = (1 - fr) * upper + fr * lower
    return y


def spp(x: Array, levels: int, *, ave: bool) -> Array:
    parts = []
    for level in range(levels):
        bins = 2**level
        kernel = [ceil(n / bins) for n in x.shape[2:]]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:], strict=True)]
        parts.append(pooling(x, kernel, kernel, pad, ave=ave).reshape(len(x), -1))
    return np.concatenate(parts, 1)


def mvn(x: Array, *, variance: bool = True, across: bool = False, eps: float = 1e-9) -> Array:
    axes = (1, 2, 3) if across else (2, 3)
    centred = x - x.mean(axes, keepdims=True)
    return centred / (np.sqrt((centred**2).mean(axes, keepdims=True)) + eps) if variance else centred


def per_channel(values: Array, rank: int = 4) -> Array:
    return np.asarray(values, np.float64).reshape(-1, *(1,) * (rank - 2))


def elementwise(function: Callable[[float], float]) -> Callable[[Array], Array]:
    return np.vectorize(function, otypes=[np.float64])
