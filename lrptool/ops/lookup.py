"""Rows of a table, looked up by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrptool.graph import Graph, Node, Shape
from lrptool.ops.base import Operator, Passage, Spelling, Treatment, Values, misfit
from lrptool.ops.registry import register
from lrptool.ops.spelling import Words

_INT64 = 7
"""ONNX's number of the type."""


def _to_the_number(passage: Passage) -> tuple[Values, ...]:
    """All relevance of a row to the number it was looked up by: what is customary for embedded words."""
    return (np.ascontiguousarray(passage.relevances[0].sum(-1)),)


def _nothing(passage: Passage) -> tuple[Values, ...]:
    """The derivative: a row does not change with the number, but for jumps."""
    r = passage.relevances[0]
    return (np.zeros(r.shape[:-1], r.dtype),)


@register
class Lookup(Operator):
    """For every value, taken as a whole number, that row of a table (rows, columns); the first and last beyond it.

    Relevance of a row belongs to the number as a whole, as for embedded words: Arras, Horn, Montavon, Müller, Samek.
    "What is relevant in a text document?" PLOS ONE 12(8), 2017. doi:10.1371/journal.pone.0181142, eq. 7.
    """

    name = "Lookup"
    default = "route"
    treatments = {"route": Treatment(_to_the_number), "gradient": Treatment(_nothing, at_zero="nothing")}

    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """(N, …) → (N, …, columns)."""
        if len(shapes[1]) != 2:
            raise misfit(node, f"expected a table (rows, columns), found {shapes[1]}")
        return ((*shapes[0], shapes[1][1]),)

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Gather wants whole numbers inside the table."""
        numbers, table = node.inputs
        words = Words(node.outputs[0])
        inside = words.add("Clip", numbers, words.number(0.0), words.number(len(graph.constants[table]) - 1.0))
        words.add("Gather", table, words.add("Cast", inside, to=_INT64), axis=0)
        return words.finish()
