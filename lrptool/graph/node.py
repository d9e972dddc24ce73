"""One operator of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]
"""A value an operator's attribute can take; lists are tuples."""


@dataclass(frozen=True, slots=True)
class Node:
    """An application of an operator.

    Parameters
    ----------
    name : str
        The name the model's author gave (a Caffe layer name, an ONNX node name); unique within the graph.
    op : str
        An ONNX operator, or one of the few operators ONNX has no word for (see `lrptool.ops`).
    inputs, outputs : tuple of str
        Names of tensors; an input may also be a constant of the graph (a weight).
    attributes : mapping of str to Attribute
        With ONNX's names and meaning, complete: defaults are written out by whoever makes the node.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    def __hash__(self) -> int:
        return hash((self.name, self.op, self.inputs, self.outputs))

    def ints(self, key: str) -> tuple[int, ...]:
        """Return a tuple-of-int attribute."""
        value = self.attributes[key]
        if not isinstance(value, tuple):
            raise TypeError(f"node {self.name!r}: {key} is not a list")
        return tuple(int(v) for v in value)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an int attribute."""
        value = self.attributes[key] if default is None else self.attributes.get(key, default)
        if isinstance(value, (tuple, str)):
            raise TypeError(f"node {self.name!r}: {key} is not a number")
        return int(value)

    def number(self, key: str) -> float:
        """Return a float attribute."""
        value = self.attributes[key]
        if isinstance(value, (tuple, str)):
            raise TypeError(f"node {self.name!r}: {key} is not a number")
        return float(value)
