"""A rule as data: shares, and the numbers that go into them.

    R_i = Σ_shares coefficient · Σ_terms sign · x̂_i · Ŵᵀ[ R / stabilise( Σ_terms sign · Ŵ x̂ + b̂ ) ]_i

where x̂ is a part of the input and Ŵ a part of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lrptool.errors import ConfigError, did_you_mean
from lrptool.ops import WeightPart

InputPart = Literal["all", "pos", "neg", "one", "low", "high"]
IMAGE_FREE: frozenset[InputPart] = frozenset({"one", "low", "high"})
"""Parts that do not depend on the picture."""
Value = float | bool | tuple[float, ...] | None
"""A value a parameter of a rule can take."""


@dataclass(frozen=True, slots=True)
class Term:
    """sign · x̂ · Ŵ."""

    x: InputPart
    w: WeightPart
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """A fraction with the same terms above and below.

    Parameters
    ----------
    terms : tuple of Term
    bias : WeightPart or None
        The part of the bias that joins the denominator.
    coefficient : float
    where : {"everywhere", "positive", "negative"}
        Outputs it applies to, by the sign of their pre-activation.
    normalised : bool
        False: no denominator; R itself goes through Ŵᵀ.
    """

    terms: tuple[Term, ...]
    bias: WeightPart | None = None
    coefficient: float = 1.0
    where: Literal["everywhere", "positive", "negative"] = "everywhere"
    normalised: bool = True


@dataclass(frozen=True, slots=True)
class Stabiliser:
    """Keeps denominators away from zero, by the sign of z, with sign(0) = +1.

    Parameters
    ----------
    epsilon : float
        z + ε · sign(z).
    clip : bool
        Raise |z| to at least ε instead of adding ε.
    relative : bool
        ε counts in units of the root mean square of z over one item.
    """

    epsilon: float = 1e-6
    clip: bool = False
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and its parameters: a value that prints itself, compares equal and goes through YAML.

    Use `Rule.of` to make one; it checks names and values.

    Parameters
    ----------
    name : str
        A name of `lrptool rules`.
    parameters : tuple of (str, value)
        Those that differ from the defaults, sorted.
    """

    name: str
    parameters: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, name: str, /, **parameters: Any) -> Rule:
        """Return the rule of that name.

        Raises
        ------
        ConfigError
            Unknown rule or parameter ("did you mean"), or a value out of range.
        """
        from lrptool.rules.catalogue import CATALOGUE  # noqa: PLC0415  (the catalogue's entries are made of rules)

        if name not in CATALOGUE:
            raise ConfigError(f"unknown rule '{name}'", hint=did_you_mean(name, CATALOGUE))
        known = CATALOGUE[name].parameters
        given: dict[str, Value] = {}
        for key, value in parameters.items():
            if key not in known:
                raise ConfigError(f"rule '{name}' has no parameter '{key}'", hint=did_you_mean(key, known))
            given[key] = known[key].check(f"rule '{name}', {key}", value)
        given = CATALOGUE[name].complete(given)
        changed = {key: value for key, value in given.items() if value != known[key].default}
        rule = cls(name, tuple(sorted(changed.items())))
        CATALOGUE[name].validate(rule)
        return rule

    @classmethod
    def from_data(cls, data: str | Mapping[str, Any]) -> Rule:
        """Return the rule written as in YAML: a name, or a mapping with ``name`` and parameters."""
        if isinstance(data, str):
            return cls.of(data)
        if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
            raise ConfigError(f"expected a rule's name or a mapping with 'name', found {data!r}")
        return cls.of(data["name"], **{str(key): value for key, value in data.items() if key != "name"})

    def to_data(self) -> str | dict[str, Any]:
        """Return the rule as YAML writes it; `from_data` reads it back."""
        if not self.parameters:
            return self.name
        return {"name": self.name} | {k: list(v) if isinstance(v, tuple) else v for k, v in self.parameters}

    def __getitem__(self, key: str) -> Value:
        """Return a parameter, the default where it was not given."""
        from lrptool.rules.catalogue import CATALOGUE  # noqa: PLC0415

        given = dict(self.parameters)
        return given[key] if key in given else CATALOGUE[self.name].parameters[key].default

    def takes(self, key: str) -> bool:
        """Whether the rule has a parameter of that name."""
        from lrptool.rules.catalogue import CATALOGUE  # noqa: PLC0415

        return key in CATALOGUE[self.name].parameters

    def number(self, key: str) -> float:
        """Return a numeric parameter."""
        value = self[key]
        if isinstance(value, (tuple, type(None))):
            raise TypeError(f"{key} of rule {self.name!r} is not a number")
        return float(value)

    @property
    def shares(self) -> tuple[Share, ...]:
        """The rows of the rule; none where it is a treatment of operators that are not layers."""
        from lrptool.rules.catalogue import CATALOGUE  # noqa: PLC0415

        return CATALOGUE[self.name].shares(self)

    @property
    def conserves(self) -> bool:
        """Whether it means to hand on what it gets; derivatives do not."""
        from lrptool.rules.catalogue import CATALOGUE  # noqa: PLC0415

        return CATALOGUE[self.name].conserves

    @property
    def stabiliser(self) -> Stabiliser:
        """What keeps its denominators away from zero."""
        return Stabiliser(self.number("epsilon"), bool(self["clip"]), bool(self["relative"]))

    def __str__(self) -> str:
        """As ``name(key=value, …)``."""
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{key}={_short(value)}' for key, value in self.parameters)})"


def _short(value: Value) -> str:
    """A parameter's value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{v:g}" for v in value) + "]"
    return "none" if value is None else f"{value:g}"
