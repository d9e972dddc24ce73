"""Textbook layer-wise relevance propagation in float64: what every other implementation is measured against.

Rules work on one sample of one dense layer ``z = W x + b``: ``W`` float64 (J, I), ``x`` (I,), ``b`` (J,) or None,
``R`` (J,) -> relevance of the inputs (I,). Any linear layer becomes such a matrix by `dense_matrix`. Stabiliser options
(``epsilon``, ``clip``, ``relative``) are keywords of `stabilise`. Speed is no concern here, being obviously right is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray


def sign(z: Array) -> Array:
    """+1 or -1; zero counts as positive."""
    return np.where(z >= 0, 1.0, -1.0)


def pos(a: Array) -> Array:
    return np.maximum(a, 0.0)


def neg(a: Array) -> Array:
    return np.minimum(a, 0.0)


def stabilise(z: Array, epsilon: float = 1e-6, *, clip: bool = False, relative: bool = False) -> Array:
    """Keep the denominators of one sample away from zero.

    ``z + epsilon sign(z)``, or with `clip` ``sign(z) max(|z|, epsilon)``; with `relative`, epsilon is first multiplied
    by the root mean square of all denominators of the sample.
    """
    if relative:
        epsilon = epsilon * float(np.sqrt(np.mean(z**2)))
    return sign(z) * np.maximum(np.abs(z), epsilon) if clip else z + sign(z) * epsilon


def share(terms: list[tuple[Array, Array]], bias: Array | float, R: Array, **stab: Any) -> Array:
    """Fractions with the same terms (W, x) above and below: sum of x_i [W^T R / stabilise(sum of W x + bias)]_i."""
    s = R / stabilise(sum(W @ x for W, x in terms) + bias, **stab)
    return sum(x * (W.T @ s) for W, x in terms)


def _bias(b: Array | None, W: Array) -> Array:
    return np.zeros(len(W)) if b is None else b


def epsilon(W: Array, x: Array, b: Array | None, R: Array, **stab: Any) -> Array:
    """Bach et al. 2015 (doi:10.1371/journal.pone.0130140), equation 58."""
    return share([(W, x)], _bias(b, W), R, **stab)


def zplus(W: Array, x: Array, b: Array | None, R: Array, **stab: Any) -> Array:
    """Positive contributions alone; the positive part of the bias takes its share of them."""
    return share([(pos(W), pos(x)), (neg(W), neg(x))], pos(_bias(b, W)), R, **stab)


def alpha_beta(W: Array, x: Array, b: Array | None, R: Array, alpha: float, beta: float, **stab: Any) -> Array:
    """Bach et al. 2015, equation 60, with beta counted positive: alpha (positive share) - beta (negative share)."""
    b = _bias(b, W)
    negative = share([(neg(W), pos(x)), (pos(W), neg(x))], neg(b), R, **stab) if beta else 0.0
    return (alpha * zplus(W, x, b, R, **stab) if alpha else 0.0) - beta * negative


def zplus_literal(W: Array, x: Array, b: Array | None, R: Array, **stab: Any) -> Array:
    """Montavon et al. 2019, z+ read literally for any x: the epsilon rule on W+, the bias as it is."""
    return epsilon(pos(W), x, b, R, **stab)


def gamma(
    W: Array, x: Array, b: Array | None, R: Array, gamma: float, sign_bias: Array | None = None, **stab: Any
) -> Array:
    """Contributions of the output's own sign count 1 + gamma times (generalised to inputs of both signs).

    The bias follows the output's sign too: b + gamma b+ where z > 0, b + gamma b- where z < 0; an output of exactly
    zero has no sign and passes nothing on. `sign_bias` is the layer's bias where the shares go without it (b=None): the
    sign is always that of the whole z.
    """
    b = _bias(b, W)
    raised, lowered = W + gamma * pos(W), W + gamma * neg(W)
    z = W @ x + (b if sign_bias is None else sign_bias)
    above = share([(raised, pos(x)), (lowered, neg(x))], b + gamma * pos(b), R * (z > 0), **stab)
    below = share([(lowered, pos(x)), (raised, neg(x))], b + gamma * neg(b), R * (z < 0), **stab)
    return above + below


def gamma_literal(W: Array, x: Array, b: Array | None, R: Array, gamma: float, **stab: Any) -> Array:
    """Montavon et al. 2019 (doi:10.1007/978-3-030-28954-6_10), section 10.2.1, read literally for any x: W + gamma W+.

    Only the weights are raised, the bias stays as it is.
    """
    return epsilon(W + gamma * pos(W), x, b, R, **stab)


def zbox(W: Array, x: Array, b: Array | None, R: Array, low: Array | float, high: Array | float, **stab: Any) -> Array:
    """Montavon et al. 2017 (doi:10.1016/j.patcog.2016.11.008), z^B: inputs between `low` and `high`.

    The formula has no bias, whatever the layer has: b - b+ - b- is zero.
    """
    low, high = np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape)
    return share([(W, x), (-pos(W), low), (-neg(W), high)], 0.0, R, **stab)


def wsquare(W: Array, x: Array, b: Array | None, R: Array, **stab: Any) -> Array:
    """Montavon et al. 2017, w^2: squared weights, whatever the input. A bias, where one is given, takes b^2.

    The paper has no bias in the denominator: that is ``b=None``.
    """
    return share([(W**2, np.ones_like(x))], _bias(b, W) ** 2, R, **stab)


def flat(W: Array, x: Array, b: Array | None, R: Array, connected: Array | None = None, **stab: Any) -> Array:
    """Every connected input gets the same, whatever the weights and the bias.

    `connected` (J, I) is the layer's matrix with every weight 1 (default: all are): a weight that happens to be zero
    still connects, a padded position does not.
    """
    return share([(np.ones_like(W) if connected is None else connected, np.ones_like(x))], 0.0, R, **stab)


def gradient(W: Array, x: Array, b: Array | None, R: Array) -> Array:
    return W.T @ R


def proportion(W: Array, x: Array, b: Array | None, R: Array, **stab: Any) -> Array:
    """Average pooling and sums: by contribution to the output, stabilised at the output's own scale."""
    return epsilon(W, x, None, R, **stab)


def dense_matrix(f: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Matrix (J, I) of a linear function of (N, *shape), by feeding it the I unit vectors as one batch."""
    size = math.prod(shape)
    return f(np.eye(size).reshape(size, *shape)).reshape(size, -1).T


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    group: int = 1,
) -> Array:
    """Convolution of x (N, C, H, W) with w (O, C / group, kh, kw); pads are top, left, bottom, right."""
    (sy, sx), (dy, dx), (top, left, bottom, right) = strides, dilations, pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    out, inside, kh, kw = w.shape
    height, width = (x.shape[2] - dy * (kh - 1) - 1) // sy + 1, (x.shape[3] - dx * (kw - 1) - 1) // sx + 1
    y = np.zeros((len(x), out, height, width)) + (0.0 if b is None else b[:, None, None])
    per_group = out // group
    for o, c, ky, kx in product(range(out), range(inside), range(kh), range(kw)):
        channel = o // per_group * inside + c
        rows, columns = ky * dy + sy * np.arange(height), kx * dx + sx * np.arange(width)
        y[:, o] += w[o, c, ky, kx] * x[:, channel][:, rows][:, :, columns]
    return y


def conv_transpose(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    output_padding: tuple[int, ...],
    group: int = 1,
) -> Array:
    """Each value of x (N, C, ...) times its kernels w (C, O / group, k...), laid down `strides` apart, then cropped."""
    rank, (channels, per_group) = x.ndim - 2, w.shape[:2]
    whole = [
        (n - 1) * s + (k - 1) * d + 1 + extra
        for n, s, k, d, extra in zip(x.shape[2:], strides, w.shape[2:], dilations, output_padding, strict=True)
    ]
    y = np.zeros((len(x), per_group * group, *whole))
    for c, o, tap in product(range(channels), range(per_group), np.ndindex(w.shape[2:])):
        starts = [t * d for t, d in zip(tap, dilations, strict=True)]
        at = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, x.shape[2:], strides, strict=True))
        y[(slice(None), c // (channels // group) * per_group + o, *at)] += w[(c, o, *tap)] * x[:, c]
    y = y[(..., *(slice(pads[k], size - pads[rank + k]) for k, size in enumerate(whole)))]
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


def conv_nd(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    group: int = 1,
) -> Array:
    """Convolution of x (N, C, ...) with w (O, C / group, k...) over any number of axes."""
    rank, (out, inside) = x.ndim - 2, w.shape[:2]
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    sizes = [
        (n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(x.shape[2:], w.shape[2:], dilations, strides, strict=True)
    ]
    y = np.zeros((len(x), out, *sizes)) + (0.0 if b is None else b.reshape(-1, *(1,) * rank))
    for o, c, tap in product(range(out), range(inside), np.ndindex(w.shape[2:])):
        starts = [t * d for t, d in zip(tap, dilations, strict=True)]
        at = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, sizes, strides, strict=True))
        y[:, o] += w[(o, c, *tap)] * x[(slice(None), o // (out // group) * inside + c, *at)]
    return y


def pooled_size(size: int, kernel: int, stride: int, begin: int, end: int, *, ceil: bool) -> int:
    """Output positions along one axis; with `ceil`, a last window that would start in the padding is dropped."""
    steps = (size + begin + end - kernel) / stride
    out = (math.ceil(steps) if ceil else math.floor(steps)) + 1
    return out - 1 if ceil and (out - 1) * stride >= size + begin else out


def pool_windows(
    height: int,
    width: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    *,
    ceil: bool = False,
) -> Iterator[tuple[int, int, slice, slice, int]]:
    """Output row and column, rows and columns inside the image, and the window's area up to the padded border."""
    axes = []
    for size, k, s, begin, end in zip((height, width), kernel, strides, pads[:2], pads[2:], strict=True):
        starts = [i * s - begin for i in range(pooled_size(size, k, s, begin, end, ceil=ceil))]
        axes.append([(slice(max(a, 0), min(a + k, size)), min(a + k, size + end) - a) for a in starts])
    for (i, (rows, tall)), (j, (columns, wide)) in product(enumerate(axes[0]), enumerate(axes[1])):
        yield i, j, rows, columns, tall * wide


def pool(x: Array, reduce: Callable[[Array, int], Array], **geometry: Any) -> Array:
    """Apply reduce((N, C, window), window's area up to the padded border) -> (N, C) to every window."""
    cells = {}
    for i, j, rows, columns, area in pool_windows(*x.shape[2:], **geometry):
        cells[i, j] = reduce(x[:, :, rows, columns].reshape(*x.shape[:2], -1), area)
    height, width = (max(ij[axis] for ij in cells) + 1 for axis in (0, 1))
    return np.stack([cells[ij] for ij in product(range(height), range(width))], -1).reshape(*x.shape[:2], height, width)


def max_pool(x: Array, **geometry: Any) -> Array:
    return pool(x, lambda window, _area: window.max(-1), **geometry)


def sum_pool(x: Array, **geometry: Any) -> Array:
    return pool(x, lambda window, _area: window.sum(-1), **geometry)


def average_pool(x: Array, *, count_pad: bool = True, **geometry: Any) -> Array:
    """Mean over windows; the divisor counts padding up to the padded border (Caffe), or with count_pad=False none."""
    return pool(x, lambda window, area: window.sum(-1) / (area if count_pad else window.shape[-1]), **geometry)


def max_pool_route(x: Array, R: Array, **geometry: Any) -> Array:
    """Each output's relevance goes to the first maximum of its window in row-major order."""
    result = np.zeros(x.shape)
    for i, j, rows, columns, _area in pool_windows(*x.shape[2:], **geometry):
        for n, c in np.ndindex(*x.shape[:2]):
            window = x[n, c, rows, columns]
            row, column = np.unravel_index(np.argmax(window), window.shape)
            result[n, c, rows.start + row, columns.start + column] += R[n, c, i, j]
    return result


def lrn_windows(shape: tuple[int, int, int], size: int, *, within: bool = False) -> Array:
    """float64 (I, I) for one sample of `shape` (C, H, W): 1 where input i is in the window of output k.

    Across channels the window is [c - floor((size - 1) / 2), c + ceil((size - 1) / 2)] at one position; within a
    channel it is the square of that side.
    """
    c, y, x = (axis.reshape(-1) for axis in np.indices(shape))

    def near(a: Array) -> Array:
        delta = a[None, :] - a[:, None]
        return (delta >= -((size - 1) // 2)) & (delta <= size // 2)

    def same(a: Array) -> Array:
        return a[None, :] == a[:, None]

    return (same(c) & near(y) & near(x) if within else near(c) & same(y) & same(x)).astype(float)


def _lrn_scale(x: Array, windows: Array, k: float, b: float) -> Array:
    return k + b * (windows @ x**2)


def lrn(x: Array, windows: Array, *, b: float, beta: float, k: float = 1.0) -> Array:
    """x_k (k + b sum x_i^2)^-beta for x (I,); `b` is alpha / size across channels, alpha / size^2 within one."""
    return x * _lrn_scale(x, windows, k, b) ** -beta


def lrn_jacobian(x: Array, windows: Array, *, b: float, beta: float, k: float = 1.0) -> Array:
    """float64 (K, I): d y_k / d x_i."""
    scale = _lrn_scale(x, windows, k, b)
    mixed = 2 * b * beta * windows * np.outer(x * scale ** (-beta - 1), x)
    return np.diag(scale**-beta) - mixed


def lrn_taylor_terms(x: Array, windows: Array, *, b: float, beta: float, k: float = 1.0) -> Array:
    """float64 (K, I): what input i contributes to the normalised output k.

    Binder et al. 2016 (doi:10.1007/978-3-319-44781-0_8, arXiv:1604.00825) writes the layer as
    y_k = x_k / (1 + b sum x_i^2)^c and takes the derivative at the input z1 = (x_1, .., x_n), towards the reference
    z2 = (0, .., 0, x_k, 0, .., 0), because the gradient at z2 itself vanishes for i != k:
    y_k(z1) ~ y_k(z2) + grad y_k(z1) . (z1 - z2). So
    i = k: x_k / (1 + b x_k^2)^c, and i != k: -2 b c x_k x_i^2 / (1 + b sum x^2)^(c + 1).
    Here 1 is the layer's k and c its beta.
    """
    scale = _lrn_scale(x, windows, k, b)
    others = windows * (1 - np.eye(len(x)))
    return np.diag(x * (k + b * x**2) ** -beta) - 2 * b * beta * others * np.outer(x * scale ** (-beta - 1), x**2)


def lrn_taylor(x: Array, R: Array, windows: Array, *, b: float, beta: float, k: float = 1.0, **stab: Any) -> Array:
    """R_i = sum_k terms_ki R_k / stabilise(sum_i terms_ki)."""
    terms = lrn_taylor_terms(x, windows, b=b, beta=beta, k=k)
    return terms.T @ (R / stabilise(terms.sum(1), **stab))


def resize(x: Array, out: tuple[int, ...], scales: tuple[float, ...], mode: str, how: str, rounding: str) -> Array:
    """x (N, C, ...) with axes of sizes `out`, value by value along each axis."""
    for axis, (size, count, scale) in enumerate(zip(x.shape[1:], out, scales, strict=True), 1):
        moved = np.moveaxis(x, axis, 0)
        rows = []
        for i in range(count):
            at = (i + 0.5) / scale - 0.5
            if how == "asymmetric":
                at = i / scale
            elif how == "align_corners":
                at = i * (size - 1) / (count - 1) if count > 1 else 0.0
            elif how == "pytorch_half_pixel" and count == 1:
                at = 0.0
            low = math.floor(at)
            if mode == "linear":
                near = [moved[min(max(low + k, 0), size - 1)] for k in (0, 1)]
                rows.append((1 - (at - low)) * near[0] + (at - low) * near[1])
                continue
            up = {"floor": False, "ceil": at > low, "round_prefer_floor": at - low > 0.5}.get(rounding, at - low >= 0.5)
            rows.append(moved[min(max(low + up, 0), size - 1)])
        x = np.moveaxis(np.stack(rows), 0, axis)
    return x
