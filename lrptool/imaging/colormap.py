"""Colour maps: 256 colours for relevance from negative over zero to positive, by name or by a line of colours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lrptool.errors import ConfigError, did_you_mean

COLORMAPS = MappingProxyType(
    {
        # signed, white or light grey at zero
        "seismic": "00004c,40:00f,80:fff,c0:f00,800000",
        "bwr": "00f,80:fff,f00",
        "coldnhot": "0ff,00f,80:000,f00,ff0,fff",
        "france": "0055a4,80:fff,ef4135",
        "coolio": "00d0d0,80:d0d0d0,d000d0",
        "coleus": "00d000,80:d0d0d0,d000d0",
        # signed, after the LRP Toolbox's maps of these names
        "black-firered": "0ff,60:00f,80:000,a0:f00,c0:ff0,fff",
        "black-green": "00f,80:000,0f0",
        "blue-black-yellow": "00f,80:000,ff0",
        "gray-red": "00f,80:ccc,f00",
        "gray-red2": "0ff,40:00f,80:ccc,c0:f00,ff0",
        # unsigned
        "gray": "+000,fff",
        "hot": "+000,f00,ff0,fff",
        "firered": "+000,40:f00,80:ff0,fff",
        "cold": "+000,00f,0ff",
        "wred": "+fff,f00",
        "wblue": "+fff,00f",
    }
)
"""The named maps, each as the line of colours it stands for.

A *signed* map has zero at entry 0x80, negative relevance below it and positive above it. An *unsigned* map (its line
begins with ``+``) has zero at entry 0 and shows positive relevance only: negative relevance looks like none. Take it
where there is no negative relevance (deep Taylor, α1β0), or where only what speaks for the class is of interest.
"""

_NODE = re.compile(r"(?:(?P<position>[0-9a-f]{2}):)?(?P<colour>[0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)
_ZERO = 0x80


@dataclass(frozen=True, eq=False)
class Colormap:
    """A palette and what it means.

    Parameters
    ----------
    name : str
        The name or line of colours it was asked for by.
    signed : bool
        Whether zero is at entry 128 (and −1 at 0); otherwise zero is at entry 0. +1 is at 255.
    palette : uint8 (256, 3)
        RGB; read-only.
    """

    name: str
    signed: bool
    palette: NDArray[np.uint8] = field(repr=False)

    def index(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return the palette entries of values in [−1, 1] as uint8 of the same shape; zero is exact."""
        # In place: fresh pages for every step would cost more than the steps.
        entries = np.clip(values, -1.0 if self.signed else 0.0, 1.0)
        if self.signed:
            # The smaller one is that of the value's sign, because there is one more entry below zero than above.
            above = entries * (255 - _ZERO)
            entries *= _ZERO
            np.minimum(entries, above, out=entries)
            entries += _ZERO
        else:
            entries *= 255
        nearest: NDArray[np.uint8] = np.rint(entries, out=entries).astype(np.uint8)
        return nearest


@cache
def colormap(name: str) -> Colormap:
    """Return a colour map by name, or by a line of colours such as ``00f,80:fff,f00``.

    A line is two or more colours ``[position:]rgb`` or ``[position:]rrggbb`` separated by commas, all in hexadecimal,
    blended linearly in between. Positions run from ``00`` to ``ff`` in ascending order, with ``80`` for zero. Colours
    without a position are spread evenly between their neighbours; beyond the first and last position the colour stays.
    A line that begins with ``+`` is an unsigned map: ``00`` is zero.

    Parameters
    ----------
    name : str
        A key of `COLORMAPS`, or a line of colours.

    Returns
    -------
    Colormap

    Raises
    ------
    ConfigError
        When there is no such map, or the line cannot be read.
    """
    line = COLORMAPS.get(name, name)
    signed = not line.startswith("+")
    parts = [part.strip().removeprefix("#") for part in line.removeprefix("+").split(",")]
    nodes = [_NODE.fullmatch(part) for part in parts]
    if len(parts) == 1:
        raise ConfigError(
            f"colour map '{name}': expected a name or two or more colours like 00f,80:fff,f00",
            hint=did_you_mean(name, COLORMAPS),
        )
    positions: list[float | None] = []
    colours: list[tuple[int, ...]] = []
    for number, (part, node) in enumerate(zip(parts, nodes, strict=True), start=1):
        if node is None:
            raise ConfigError(
                f"colour map '{name}': colour {number} should be [position:]rgb or [position:]rrggbb in hexadecimal, "
                f"found '{part}'",
                hint="for example 00f,80:fff,f00: blue, white at zero, red",
            )
        positions.append(None if node["position"] is None else _axis(int(node["position"], 16), signed=signed))
        digits = node["colour"] if len(node["colour"]) == 6 else "".join(2 * digit for digit in node["colour"])
        colours.append(tuple(bytes.fromhex(digits)))
    return Colormap(name, signed, _blend(name, _spread(positions, -1.0 if signed else 0.0), colours, signed=signed))


def _axis(entry: int, *, signed: bool) -> float:
    """The value in [−1, 1] or [0, 1] that a palette entry stands for."""
    if not signed:
        return entry / 255
    return (entry - _ZERO) / (_ZERO if entry < _ZERO else 255 - _ZERO)


def _spread(positions: list[float | None], low: float) -> list[float]:
    """Give every colour a position: the ends of the axis, and even steps in between."""
    filled = list(positions)
    filled[0] = low if filled[0] is None else filled[0]
    filled[-1] = 1.0 if filled[-1] is None else filled[-1]
    known = [index for index, position in enumerate(filled) if position is not None]
    return [float(v) for v in np.interp(range(len(filled)), known, [filled[index] or 0.0 for index in known])]


def _blend(name: str, positions: list[float], colours: list[tuple[int, ...]], *, signed: bool) -> NDArray[np.uint8]:
    """Interpolate the palette."""
    if any(right <= left for left, right in pairwise(positions)):
        raise ConfigError(
            f"colour map '{name}': positions must ascend from 00 to ff",
            hint="sort the colours by position, or leave positions out",
        )
    axis = [_axis(entry, signed=signed) for entry in range(256)]
    channels = [np.interp(axis, positions, [colour[c] for colour in colours]) for c in range(3)]
    palette = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    palette.flags.writeable = False
    return palette
