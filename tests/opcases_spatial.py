"""Convolutions and poolings of all ranks to try."""

from __future__ import annotations

import functools
from typing import Any

from tests import oracle
from tests.opcases import Case, normal


def transposed_case(note: str, x: str, weight: tuple[int, ...], bias: bool, **steps: Any) -> Case:
    """`weight` is (C, O / group, k...)."""
    w, rank = normal(*weight), len(weight) - 2
    plain = {"strides": (1,) * rank, "dilations": (1,) * rank, "pads": (0,) * 2 * rank, "output_padding": (0,) * rank}
    geometry = plain | {"group": 1} | steps
    constants = (w, normal(weight[1] * geometry["group"])) if bias else (w,)
    expected = functools.partial(oracle.conv_transpose, w=w, b=constants[1] if bias else None, **geometry)
    attributes = geometry | {"kernel_shape": weight[2:]}
    return Case("ConvTranspose", expected, (x,), attributes, constants, note=note, sign="lost")


ODD = {"strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 3), "output_padding": (1, 0)}
CASES = [
    transposed_case("plain", "x", (4, 5, 3, 2), bias=True),
    transposed_case("odd", "x", (4, 5, 3, 2), bias=True, **ODD),
    transposed_case("groups-nobias", "x", (4, 3, 2, 3), bias=False, group=2, strides=(2, 3)),
    transposed_case("depthwise", "x", (4, 1, 4, 4), bias=False, group=4, strides=(2, 2), pads=(1, 1, 1, 1)),
    transposed_case("line", "line", (4, 2, 3), bias=True, strides=(3,), pads=(1, 2), output_padding=(2,)),
    transposed_case("volume", "cube", (2, 3, 2, 3, 2), bias=True, strides=(2, 1, 2), pads=(1, 0, 1, 0, 2, 0),
                    dilations=(1, 2, 1), output_padding=(1, 0, 0)),
]  # fmt: skip
