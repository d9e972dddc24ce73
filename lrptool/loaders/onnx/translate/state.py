"""A graph in the making: what the translations of all operators share."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from lrptool.loaders.onnx.layout import Known, Mode, Sizes, Tensor, Unit
from lrptool.ops import GraphBuilder

Value = Known | Tensor


@dataclass(slots=True)
class Translation:
    """A graph in the making.

    Parameters
    ----------
    builder : GraphBuilder
    mode : Mode
    where : str
        The file, for messages.
    taken : set of str
        Every name of a tensor, so that helpers do not take one.
    values : dict of str to Value or Unit
        What is known of the file's tensors so far.
    notes : list of str
    sources : dict of str to (str, str, tuple of int)
        Tensors that only move numbers: the operator, what it reads, and its attribute, so that several become one.
    constants : dict of str to str
        The stored tensors that are in the graph, and their names there.
    nodes : set of str
        Names of nodes in use.
    """

    builder: GraphBuilder
    mode: Mode
    where: str
    taken: set[str]
    values: dict[str, Value | Unit] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sources: dict[str, tuple[str, str, Sizes]] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)

    def fresh(self, wanted: str) -> str:
        """Return a name for a helper's node and tensor."""
        name = _free(wanted, self.taken, self.nodes)
        self.taken.add(name)
        self.nodes.add(name)
        return name

    def tensor(self, wanted: str) -> str:
        """Return a name for a tensor."""
        name = _free(wanted, self.taken)
        self.taken.add(name)
        return name

    def own(self, wanted: str) -> str:
        """Return a name for an operator's own node."""
        name = _free(wanted, self.nodes)
        self.nodes.add(name)
        return name

    def note(self, text: str) -> None:
        """Keep a remark for the user, once."""
        if text not in self.notes:
            self.notes.append(text)


def _free(wanted: str, *taken: Container[str]) -> str:
    """Return `wanted`, or `wanted` with the first free number behind it."""
    name, count = wanted, 1
    while any(name in names for names in taken):
        count += 1
        name = f"{wanted}#{count}"
    return name
