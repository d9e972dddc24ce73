"""What a loader hands over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from lrptool.graph import Array, Graph


class Original(Protocol):
    """A file that another runtime can run."""

    def model(self) -> bytes:
        """Return an ONNX model whose only output are the scores."""

    def feeds(self, x: Array) -> dict[str, NDArray[Any]]:
        """Return one image, float32 (1, C, H, W), as the model's input."""

    @property
    def integer(self) -> bool:
        """Whether its images are whole numbers."""


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
    probabilities : str or None
        What the file calls the probabilities made of the scores, where it makes any.
    original : Original or None
        The file for other runtimes, where it is one.
    metadata : mapping of str to str
        What the file says of itself, by key.
    """

    graph: Graph
    notes: tuple[str, ...] = ()
    sha256: str | None = None
    channels: Literal["BGR", "RGB"] = "BGR"
    raw_scale: float = 255.0
    probabilities: str | None = None
    original: Original | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
