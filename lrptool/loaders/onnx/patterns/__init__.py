"""Rewrites Graph → Graph that put together again what exporters take apart. None changes a score."""

from __future__ import annotations

from lrptool.graph import Graph
from lrptool.loaders.onnx.patterns.affine import absorb_constants, absorb_padding
from lrptool.loaders.onnx.patterns.functions import recognise_functions
from lrptool.loaders.onnx.patterns.norms import recognise_groups, recognise_norms

__all__ = ["PATTERNS", "recognise"]

PATTERNS = (recognise_functions, recognise_norms, recognise_groups, absorb_constants, absorb_padding)
"""In the order they are applied."""


def recognise(graph: Graph) -> Graph:
    """Return the graph with activation functions, normalisations and affine layers in one piece each."""
    for pattern in PATTERNS:
        graph = pattern(graph)
    return graph
