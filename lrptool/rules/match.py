"""Which nodes a row of a composite speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from lrptool.errors import ConfigError, did_you_mean
from lrptool.graph import Graph, Node
from lrptool.ops import known_operators, operator

Position = Literal["first", "last"]


class Places:
    """Where each node of a graph stands: its order, its depth, whether a trained layer comes before or after it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.order = {node.name: index for index, node in enumerate(graph.nodes)}

    @cached_property
    def weighted(self) -> tuple[Node, ...]:
        """The layers with trained weights, in order."""
        return tuple(node for node in self._graph.nodes if operator(node.op, node.name).weighted)

    @cached_property
    def first(self) -> frozenset[str]:
        """Trained layers that see the input through no other trained layer."""
        behind: set[str] = set()
        found = set()
        for node in self._graph.nodes:
            weighted = operator(node.op, node.name).weighted
            if weighted and not behind & set(node.inputs):
                found.add(node.name)
            if weighted or behind & set(node.inputs):
                behind.update(node.outputs)
        return frozenset(found)

    @cached_property
    def last(self) -> frozenset[str]:
        """Trained layers whose output reaches the scores through no other trained layer."""
        before: set[str] = set()
        found = set()
        for node in reversed(self._graph.nodes):
            weighted = operator(node.op, node.name).weighted
            if weighted and not before & set(node.outputs):
                found.add(node.name)
            if weighted or before & set(node.outputs):
                before.update(node.inputs)
        return frozenset(found)

    @cached_property
    def depth(self) -> Mapping[str, float]:
        """0 at the first trained layer, 1 at the last; other nodes stand where the trained layer before them does."""
        steps = max(1, len(self.weighted) - 1)
        seen = 0
        depths = {}
        for node in self._graph.nodes:
            seen += operator(node.op, node.name).weighted
            depths[node.name] = max(0, seen - 1) / steps
        return depths

    def index(self, name: str, key: str) -> int:
        """Return the order of the node called `name`; ConfigError where there is none."""
        if name not in self.order:
            raise ConfigError(
                f"composite: '{key}: {name}' names no node of '{self._graph.name}'", hint=did_you_mean(name, self.order)
            )
        return self.order[name]


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions a node has to meet, all of them; none given: every node matches.

    Parameters
    ----------
    op : tuple of str
        Operators, any of them.
    name : tuple of str
        Globs over node names, any of them.
    position : {"first", "last"}, optional
        Trained layers with no other trained layer before, or behind, them.
    before, after : str, optional
        A node's name: only what comes before it, or after it, in the network's order.
    until, since : str, optional
        The same, that node included.
    depth : (float, float), optional
        Fractions of the trained layers: 0 is the first, 1 the last; both ends included.
    """

    op: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    position: Position | None = None
    before: str | None = None
    after: str | None = None
    until: str | None = None
    since: str | None = None
    depth: tuple[float, float] | None = None

    @classmethod
    def from_data(cls, data: Any, where: str) -> tuple[Match, list[str]]:
        """Return the match written as in YAML, and everything that is wrong with it."""
        if not isinstance(data, Mapping):
            return cls(), [f"{where}: expected a mapping of conditions, found {data!r}"]
        known = [field.name for field in fields(cls)]
        problems = [
            f"{where}: unknown key '{key}' ({did_you_mean(str(key), known)})" for key in data if key not in known
        ]
        values: dict[str, Any] = {}
        for key in known:
            if key in data and data[key] is not None:
                value, problem = _CHECKS[key](data[key])
                problems += [f"{where}.{key}: {problem}"] if problem else []
                values[key] = value
        return (cls() if problems else cls(**values)), problems

    def to_data(self) -> dict[str, Any]:
        """Return the match as YAML writes it."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in given.items() if v not in (None, ())}

    def name_matches(self, name: str) -> bool:
        """Whether a node's name meets the globs."""
        return not self.name or any(fnmatchcase(name, glob) for glob in self.name)

    def matches(self, node: Node, places: Places) -> bool:
        """Whether a node meets every condition."""
        here = places.order[node.name]
        low, high = self.depth or (-1.0, 2.0)
        return (
            (not self.op or node.op in self.op)
            and self.name_matches(node.name)
            and (self.position is None or node.name in getattr(places, self.position))
            and (self.before is None or here < places.index(self.before, "before"))
            and (self.after is None or here > places.index(self.after, "after"))
            and (self.until is None or here <= places.index(self.until, "until"))
            and (self.since is None or here >= places.index(self.since, "since"))
            and low <= places.depth[node.name] <= high
        )


def _words(value: Any) -> tuple[tuple[str, ...], str]:
    """Accept one word or a list of words."""
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        return (), f"expected a name or a list of names, found {value!r}"
    return tuple(words), ""


def _operators(value: Any) -> tuple[tuple[str, ...], str]:
    """Accept known operators."""
    words, problem = _words(value)
    unknown = [word for word in words if word not in known_operators()]
    if unknown:
        problem = f"unknown operator '{unknown[0]}' ({did_you_mean(unknown[0], known_operators())})"
    return words, problem


def _position(value: Any) -> tuple[Any, str]:
    """Accept first or last."""
    return value, "" if value in ("first", "last") else f"expected 'first' or 'last', found {value!r}"


def _layer(value: Any) -> tuple[Any, str]:
    """Accept a node's name; whether it exists shows when the composite meets a network."""
    return value, "" if isinstance(value, str) else f"expected a layer's name, found {value!r}"


def _depth(value: Any) -> tuple[Any, str]:
    """Accept two fractions in order."""
    numbers = isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
    if not numbers or not 0 <= value[0] <= value[1] <= 1:
        return None, f"expected two fractions from 0 to 1 in order, found {value!r}"
    return (float(value[0]), float(value[1])), ""


_CHECKS = {
    "op": _operators,
    "name": _words,
    "position": _position,
    "before": _layer,
    "after": _layer,
    "until": _layer,
    "since": _layer,
    "depth": _depth,
}
