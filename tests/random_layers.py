"""Layers of any shape, drawn by hypothesis: small enough for a dense matrix, odd enough to find a wrong axis."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
from hypothesis import strategies as st

from lrptool.kernels import Geometry
from tests.test_rules import Layer

Array = np.ndarray
Image = tuple[int, int, int]

MOST_ENTRIES = 400_000
"""Of a layer's dense matrix, about."""
MOST_OF_COMMON = 110
"""Positions on maps of many channels."""
ONE_IN = 8
"""So many convolutions there is one as most networks have them."""


class RandomLayer(Layer):
    """A layer whose matrix is written down tap by tap: the oracle's, without feeding it every unit vector."""

    def matrix(self, w: Array) -> Array:
        return w if self.geometry is None else conv_matrix(w, self.geometry)


def conv_matrix(w: Array, g: Geometry) -> Array:
    """Return a convolution as a matrix, float64 (O·Ho·Wo, C·H·W)."""
    out, per_group = w.shape[:2]
    matrix = np.zeros((out, *g.out_size, g.group, per_group, *g.in_size))
    for tap in product(*map(range, g.kernel)):
        (outs_y, ins_y), (outs_x, ins_x) = (_reach(g, axis, place) for axis, place in enumerate(tap))
        for o in range(out):
            block = matrix[o, :, :, o // (out // g.group)]
            block[outs_y[:, None], outs_x, :, ins_y[:, None], ins_x] += w[o, :, *tap]
    return matrix.reshape(out * prod(g.out_size), -1)


def _reach(g: Geometry, axis: int, place: int) -> tuple[Array, Array]:
    """Outputs along an axis for which a tap falls inside the map, and where it falls."""
    outs = np.arange(g.out_size[axis])
    ins = outs * g.strides[axis] + place * g.dilations[axis] - g.pads[axis]
    inside = (ins >= 0) & (ins < g.in_size[axis])
    return outs[inside], ins[inside]


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def images() -> st.SearchStrategy[Image]:
    """Few channels on maps of any shape, one row as wide as several vector registers among them; many on small ones."""
    few, wide, many = (st.integers(*bounds) for bounds in ((1, 4), (20, 70), (5, 36)))
    return st.one_of(
        st.tuples(few, st.integers(1, 12), st.integers(1, 12)),
        st.tuples(st.integers(1, 3), st.integers(1, 3), wide),
        st.tuples(many, st.integers(1, 6), st.integers(1, 6)),
    )


@st.composite
def geometries(draw: st.DrawFn, image: Image) -> Geometry:
    """Any kernel, strides, dilations, groups and uneven pads that leave an output."""
    channels, *size = image
    kernel = list(draw(st.one_of(st.just((1, 1)), st.just((3, 3)), _pairs(1, 5))))
    strides = draw(st.one_of(st.just((1, 1)), _pairs(1, 4)))
    dilations = draw(st.one_of(st.just((1, 1)), _pairs(1, 3)))
    pads = draw(st.one_of(st.just((0, 0, 0, 0)), st.tuples(*[st.integers(0, 3)] * 4)))
    out = [0, 0]
    for axis in (0, 1):
        room = size[axis] + pads[axis] + pads[axis + 2]
        # What does not fit becomes a single tap.
        kernel[axis] = kernel[axis] if (kernel[axis] - 1) * dilations[axis] < room else 1
        out[axis] = (room - (kernel[axis] - 1) * dilations[axis] - 1) // strides[axis] + 1
    group = draw(st.sampled_from([group for group in (1, 2, 3, channels) if channels % group == 0]))
    return Geometry((size[0], size[1]), (out[0], out[1]), (kernel[0], kernel[1]), strides, pads, dilations, group)


LEAST, MOST = 8, 40
"""Channels in and out of convolutions as most networks have them."""


@st.composite
def common(draw: st.DrawFn) -> tuple[Image, Geometry, int]:
    """Image, geometry and outputs of a 3 × 3 convolution of many channels, of stride 1."""
    width = draw(st.integers(5, 20))
    height = draw(st.integers(5, max(5, min(20, MOST_OF_COMMON // width))))
    room = 2 * MOST_ENTRIES // (width * height) ** 2
    channels = draw(st.integers(LEAST, min(MOST, room // LEAST)))
    pads = draw(st.one_of(st.just((1, 1, 1, 1)), st.tuples(*[st.integers(0, 1)] * 4)))
    out = (height + pads[0] + pads[2] - 2, width + pads[1] + pads[3] - 2)
    outputs = draw(st.integers(LEAST, max(LEAST, min(MOST, room // channels))))
    return (channels, height, width), Geometry((height, width), out, (3, 3), (1, 1), pads, (1, 1), 1), outputs


@st.composite
def convolutions(draw: st.DrawFn, image: Image | None = None, batch: int | None = None) -> RandomLayer:
    """A convolution with its data, grouped, depthwise or neither; on an image of its own unless one is given."""
    if image is None and draw(st.integers(1, ONE_IN)) == 1:
        image, g, out = draw(common())
        shape = (batch or draw(st.integers(1, 2)), *image)
        return _with_data(draw, shape, (out, image[0], *g.kernel), (out, *g.out_size), g)
    image = image or draw(images())
    g = draw(geometries(image))
    room = MOST_ENTRIES // (prod(image) * prod(g.out_size) * g.group)
    out = g.group * draw(st.integers(1, max(1, min(room, 20))))
    shape = (batch or draw(st.integers(1, 3)), *image)
    return _with_data(draw, shape, (out, image[0] // g.group, *g.kernel), (out, *g.out_size), g)


@st.composite
def dense_layers(draw: st.DrawFn, inside: int | None = None, batch: int | None = None) -> RandomLayer:
    """A dense layer with its data; some as wide as what a thread takes at a time."""
    inside = inside or draw(st.one_of(st.integers(1, 40), st.integers(250, 1100)))
    out = draw(st.integers(1, 40))
    return _with_data(draw, (batch or draw(st.integers(1, 4)), inside), (out, inside), (out,), None)


def _with_data(
    draw: st.DrawFn, x_shape: tuple[int, ...], w_shape: tuple[int, ...], out: tuple[int, ...], g: Geometry | None
) -> RandomLayer:
    """Normal numbers; inputs of one sign or both, outputs without relevance, with or without a bias."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    x, w = (random.normal(size=shape) for shape in (x_shape, w_shape))
    b = random.normal(size=w_shape[0]) if draw(st.booleans()) else None
    r = random.normal(size=(x_shape[0], *out))
    # Relevance of all channels, of about half of them, or of one alone, as at the scores.
    arriving = {"all": np.ones(out[0], bool), "half": random.random(out[0]) < 0.5, "one": np.arange(out[0]) == 0}
    r[:, ~arriving[draw(st.sampled_from(list(arriving)))]] = 0
    x = np.maximum(x, 0) if draw(st.booleans()) else x
    # Exact in float32, so that both precisions compute the same thing.
    x, w, r = (values.astype(np.float32).astype(np.float64) for values in (x, w, r))
    return RandomLayer(x, w, None if b is None else b.astype(np.float32).astype(np.float64), g, r)


@st.composite
def windows(draw: st.DrawFn, size: tuple[int, int]) -> dict[str, object]:
    """A pooling window with uneven pads smaller than itself, overlapping or with gaps, rounding down or up."""
    kernel = [draw(st.integers(1, min(4, n))) for n in size]
    pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    return {"kernel": tuple(kernel), "strides": draw(_pairs(1, 4)), "pads": tuple(pads), "ceil": draw(st.booleans())}
