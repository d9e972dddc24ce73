"""Spellings in several nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.ops.base import OnnxNode, Spelling


class Words:
    """A spelling in several nodes: collects them and the numbers they need.

    Parameters
    ----------
    output : str
        The tensor the last node writes; names of the others begin with it.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._nodes: list[OnnxNode] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def number(self, value: float) -> str:
        """Return the name of a constant of no axes."""
        return self.array(f"number{value!r}", np.array(value, np.float32))

    def array(self, word: str, value: NDArray[Any]) -> str:
        """Return the name of a constant."""
        name = f"{self._output}/{word}"
        self._constants[name] = value
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name = f"{self._output}/step{len(self._nodes)}"
        self._nodes.append(OnnxNode(op, inputs, (name,), attributes))
        return name

    def finish(self) -> Spelling:
        """Return the spelling; the last node writes the output."""
        last = self._nodes[-1]
        nodes = (*self._nodes[:-1], OnnxNode(last.op, last.inputs, (self._output,), last.attributes))
        return Spelling(nodes, self._constants)
