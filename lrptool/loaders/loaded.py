"""What a loader hands over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lrptool.graph import Graph


@dataclass(frozen=True, slots=True)
class LoadedNet:
    """A network read from files.

    Parameters
    ----------
    graph : Graph
        The network.
    notes : tuple of str
        What a user should know of the reading: what was assumed, ignored or left out; one line each.
    sha256 : str or None
        Hex digest of the file that holds the weights; None where there is no such file.
    channels : {"BGR", "RGB"}
        The order of the colours that networks of this kind are trained with, where nobody says.
    raw_scale : float
        What white is for them, before a mean is subtracted.
    """

    graph: Graph
    notes: tuple[str, ...] = ()
    sha256: str | None = None
    channels: Literal["BGR", "RGB"] = "BGR"
    raw_scale: float = 255.0
