"""Which rule each node gets: ordered rows, the first that matches decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lrptool.errors import ConfigError, UnsupportedError, did_you_mean
from lrptool.graph import Graph
from lrptool.ops import known_operators, operator
from lrptool.reading import read_yaml
from lrptool.resources import bundled
from lrptool.rules.match import Match, Places
from lrptool.rules.rule import Rule

_KEYS = ("name", "title", "use_for", "source", "start", "parameters", "rows")
STARTS = ("score", "one", "contrast")
"""What relevance starts as; see `lrptool.engine.start`."""


@dataclass(frozen=True, slots=True)
class Row:
    """The nodes that match get this rule."""

    match: Match
    rule: Rule


@dataclass(frozen=True, slots=True)
class Composite:
    """Ordered rows; a node gets the rule of the first row that matches it, else its operator's default.

    Parameters
    ----------
    name : str
    rows : tuple of Row
    title, use_for, source : str
        What it is, what it is good for, where it comes from.
    start : {"score", "one", "contrast"}
        What relevance starts as unless the caller says otherwise.
    changed : tuple of (str, value)
        Parameters of the composite that differ from its file's defaults.
    template : str
        ``parameters`` and ``rows`` as its file has them, with the parameters' present values; JSON. Empty: the rows.
    """

    name: str
    rows: tuple[Row, ...]
    title: str = ""
    use_for: str = ""
    source: str = ""
    start: str = "score"
    changed: tuple[tuple[str, Any], ...] = ()
    template: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As ``name(key=value, …)`` with the parameters that were changed."""
        shown = ", ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in self.changed
        )
        return f"{self.name}({shown})" if shown else self.name

    @classmethod
    def uniform(cls, /, rule: str, **parameters: Any) -> Composite:
        """Return the composite that puts one rule on every trained layer.

        Raises
        ------
        ConfigError
            Unknown rule or parameter, or a rule that does not apply to trained layers.
        """
        made = Rule.of(rule, **parameters)
        if not made.shares:
            raise ConfigError(
                f"rule '{rule}' does not apply to layers with weights", hint="put it on single operators in a composite"
            )
        weighted = Match(op=tuple(op for op in known_operators() if operator(op).weighted))
        return cls(str(made), (Row(weighted, made),), title=f"{made} on every layer with weights")

    @classmethod
    def load(cls, name_or_path: str | Path, /, **parameters: Any) -> Composite:
        """Return a preset by name, or a composite from a YAML file.

        Parameters
        ----------
        name_or_path : str or Path
            A name of `lrptool composites`, or a path ending in ``.yaml`` or ``.yml``.
        **parameters
            Values for what the file declares under ``parameters``.

        Raises
        ------
        ConfigError
            No such preset or file, or everything that is wrong with it, all at once.
        """
        path = Path(str(name_or_path))
        if path.suffix not in (".yaml", ".yml"):
            if str(name_or_path) not in preset_names():
                raise ConfigError(
                    f"unknown composite '{name_or_path}'", hint=did_you_mean(str(name_or_path), preset_names())
                )
            path = bundled("configs") / f"{name_or_path}.yaml"
        data = read_yaml(path)
        return cls.from_data(data, path.name, **parameters)

    @classmethod
    def from_data(cls, data: Any, where: str = "composite", /, **parameters: Any) -> Composite:
        """Return the composite written as in YAML.

        Raises
        ------
        ConfigError
            Everything that is wrong with it, all at once.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("rows"), list) or not data["rows"]:
            raise ConfigError(f"{where}: expected a mapping with a list under 'rows'")
        problems = [f"unknown key '{key}' ({did_you_mean(str(key), _KEYS)})" for key in data if key not in _KEYS]
        values, wrong = _parameter_values(data.get("parameters") or {}, parameters)
        problems += wrong
        if data.get("start", "score") not in STARTS:
            problems.append(f"start: expected one of {', '.join(STARTS)}, found {data['start']!r}")
        rows: list[Row] = []
        for index, row in enumerate(data["rows"], 1):
            made, wrong = _row(row, f"row {index}", values)
            problems += wrong
            rows += [made] if made else []
        if problems:
            raise ConfigError(f"{where}: " + "; ".join(problems), hint="lrptool composites NAME shows a working one")
        texts = {key: " ".join(str(data.get(key, "")).split()) for key in ("title", "use_for", "source")}
        declared = data.get("parameters") or {}
        changed = {key: _plain(value) for key, value in values.items() if _plain(value) != _plain(declared[key])}
        return cls(
            str(data.get("name", where)),
            tuple(rows),
            start=data.get("start", "score"),
            changed=tuple(sorted(changed.items())),
            template=json.dumps({"parameters": values, "rows": data["rows"]}) if declared else "",
            **texts,
        )

    def to_data(self) -> dict[str, Any]:
        """Return the composite as YAML writes it; `from_data` reads it back."""
        texts = {key: getattr(self, key) for key in ("title", "use_for", "source") if getattr(self, key)}
        rows = [{"match": row.match.to_data(), "rule": row.rule.to_data()} for row in self.rows]
        body = json.loads(self.template) if self.template else {"rows": rows}
        return {"name": self.name, **texts, "start": self.start, **body}

    def prepend(self, rows: Sequence[Row]) -> Composite:
        """Return the composite with rows of the user's before its own."""
        return replace(self, rows=(*rows, *self.rows), template="")

    def assign(self, graph: Graph) -> dict[str, Rule]:
        """Return the rule of every node, by node name.

        Raises
        ------
        ConfigError
            A row names a layer that the network does not have.
        UnsupportedError
            A layer with weights that no row matches.
        """
        places = Places(graph)
        self._check_names(places)
        return {node.name: self._rule_for(node.name, graph, places) for node in graph.nodes}

    def _check_names(self, places: Places) -> None:
        """Globs that match nothing are mistakes."""
        for row in self.rows:
            for glob in row.match.name:
                if not any(Match(name=(glob,)).name_matches(name) for name in places.order):
                    raise ConfigError(
                        f"composite '{self.name}': 'name: {glob}' matches no node",
                        hint=did_you_mean(glob, places.order),
                    )

    def _rule_for(self, name: str, graph: Graph, places: Places) -> Rule:
        """Return one node's rule."""
        node = graph.nodes[places.order[name]]
        for row in self.rows:
            if row.match.matches(node, places):
                return row.rule
        default = operator(node.op, node.name).default
        if default is None:
            raise UnsupportedError(
                f"composite '{self.name}' has no rule for node '{node.name}' ({node.op})",
                hint=f"add a row: {{match: {{op: {node.op}}}, rule: epsilon}}",
            )
        return Rule.of(default)


def _plain(value: Any) -> Any:
    """A parameter's value to compare by: text of a number is one."""
    try:
        return float(value) if not isinstance(value, (bool, type(None))) else value
    except (TypeError, ValueError, OverflowError):
        return str(value)


def _parameter_values(declared: Any, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of a composite's own parameters, and what is wrong with them."""
    if not isinstance(declared, Mapping):
        return {}, [f"parameters: expected a mapping of names to values, found {declared!r}"]
    problems = [
        f"it has no parameter '{key}' ({did_you_mean(key, declared) if declared else 'it takes none'})"
        for key in given
        if key not in declared
    ]
    return {str(key): value for key, value in {**declared, **given}.items()}, problems


def _row(data: Any, where: str, values: Mapping[str, Any]) -> tuple[Row | None, list[str]]:
    """Return one row, and what is wrong with it; a row whose conditions name an unset parameter is left out."""
    if not isinstance(data, Mapping) or set(data) != {"match", "rule"}:
        return None, [f"{where}: expected 'match' and 'rule', found {data!r}"]
    problems: list[str] = []
    match_data = _filled(data["match"], values, where, problems)
    rule_data = _filled(data["rule"], values, where, problems)
    match, wrong = Match.from_data(match_data, f"{where}.match")
    problems += wrong
    rule = None
    try:
        rule = Rule.from_data(rule_data)
    except ConfigError as error:
        problems.append(f"{where}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    unset = isinstance(data["match"], Mapping) and any(
        isinstance(value, str) and value.startswith("$") and values.get(value[1:]) is None
        for value in data["match"].values()
    )
    return (None if problems or unset or rule is None else Row(match, rule)), problems


def _filled(data: Any, values: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    """Replace ``$parameter`` by its value."""
    if not isinstance(data, Mapping):
        return data
    filled = {}
    for key, value in data.items():
        if isinstance(value, str) and value.startswith("$"):
            if value[1:] not in values:
                problems.append(f"{where}: '{value}' is not declared under 'parameters'")
            filled[key] = values.get(value[1:])
        else:
            filled[key] = value
    return filled


def preset_names() -> tuple[str, ...]:
    """Return the names of the composites that come with lrptool, sorted."""
    return tuple(sorted(path.stem for path in bundled("configs").glob("*.yaml")))
