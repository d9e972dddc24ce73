"""What a loader hands over."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    graph: Graph
    notes: tuple[str, ...] = ()
    sha256: str | None = None
