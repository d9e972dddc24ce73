"""Convolution in two dimensions, forward, as a task over the phases of the padded input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.kernels.geometry import Geometry
from lrptool.kernels.landing import Landing
from lrptool.kernels.product import Axis, Product
from lrptool.kernels.records import ONE
from lrptool.kernels.schedule import Schedule
from lrptool.kernels.scratch import SLACK

Values = NDArray[np.floating[Any]]


class ForwardConv:
    """y = W * x for one array of weights (O, C/group, kh, kw), packed once; float32 or float64.

    A stride splits the padded input into stride² phases, each read at stride 1. The engine lets onnxruntime do the
    products that depend on the picture; this one is for those that do not, and for float64.
    """

    def __init__(self, weight: Values, geometry: Geometry) -> None:
        self._geometry = g = geometry
        (kh, kw), (sy, sx), (dy, dx) = g.kernel, g.strides, g.dilations
        self._rows = max(g.out_size[0] + (kh - 1) * dy // sy, -(-(g.in_size[0] + g.pads[0]) // sy))
        self._cols = max(g.out_size[1] + (kw - 1) * dx // sx, -(-(g.in_size[1] + g.pads[1]) // sx))
        plane = self._rows * self._cols
        self._channels, self._slots = weight.shape[:2]
        offsets = np.array(
            [
                (channel * sy * sx + ky * dy % sy * sx + kx * dx % sx) * plane
                + ky * dy // sy * self._cols
                + kx * dx // sx
                for channel in range(self._slots)
                for ky in range(kh)
                for kx in range(kw)
            ],
            np.int64,
        ).reshape(self._slots, -1)
        terms = weight.reshape(g.group, self._channels // g.group, -1).transpose(0, 2, 1)
        y, x = (Axis(steps, 1, 0, 0, steps) for steps in g.out_size)
        self._product = Product.of(terms, offsets, y, x, self._cols)

    def __call__(self, x: Values) -> Values:
        """Return y (N, O, Ho, Wo) of x (N, C, H, W)."""
        g, (sy, sx) = self._geometry, self._geometry.strides
        (height, width), (top, left) = g.in_size, g.pads[:2]
        batch, channels = x.shape[:2]
        padded = np.zeros((batch, channels, self._rows * sy, self._cols * sx), x.dtype)
        padded[:, :, top : top + height, left : left + width] = x
        phases = padded.reshape(batch, channels, self._rows, sy, self._cols, sx).transpose(0, 1, 3, 5, 2, 4)
        planes = np.concatenate([phases.reshape(-1), np.zeros(SLACK, x.dtype)])
        out = np.empty((batch, self._channels, *g.out_size), x.dtype)
        schedule = Schedule(batch, x.dtype)
        source, target = schedule.hold(planes, phases[0].size), schedule.hold(out, out[0].size)
        per_group = phases[0].size // g.group
        flags = schedule.flags(batch * g.group * self._slots, are_set=True)
        landing = Landing(source, per_group, flags, target, ONE, target, g.out_size, None, accumulate=False)
        self._product.add_to(schedule, landing)
        schedule.run()
        return out
