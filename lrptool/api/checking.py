"""Whether a model is read and explained as it should be: scores, rules, conservation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrptool.api.model import Model
from lrptool.engine import Balance, allowed, balance, canonise, difference, rewritten, run_outside, without_biases
from lrptool.errors import ModelError
from lrptool.graph import Array, Graph
from lrptool.rules import Composite

CHECKED = ("epsilon-plus", "epsilon-alpha2-beta1")
"""Composites that are tried where none is named."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Scores compared with those of the same network in another form.

    Parameters
    ----------
    against : str
    difference : float or None
        The largest one, relative to the largest score; None where there is nothing to compare with.
    allowed : float
        How large it may be.
    note : str
        Why there is nothing.
    """

    against: str
    difference: float | None
    allowed: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return self.difference is None or self.difference <= self.allowed


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Parameters
    ----------
    model : str
    nodes : int
        Of the network; each has a rule in every composite.
    parities : tuple of Parity
    balances : tuple of (str, Balance)
        By composite.
    """

    model: str
    nodes: int
    parities: tuple[Parity, ...]
    balances: tuple[tuple[str, Balance], ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one line each; none where all is well."""
        found = [
            f"scores differ from those of {parity.against} by {parity.difference:.1e} of the largest"
            for parity in self.parities
            if not parity.ok
        ]
        return (*found, *(f"{name}: {_problem(made)}" for name, made in self.balances if not made.ok))

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.problems

    def record(self) -> dict[str, Any]:
        """Return the report in plain values."""
        return {
            "model": self.model,
            "ok": self.ok,
            "nodes": self.nodes,
            "problems": list(self.problems),
            "forward": [
                {"against": parity.against, "difference": _plain(parity.difference), "allowed": parity.allowed}
                | ({"note": parity.note} if parity.note else {})
                for parity in self.parities
            ],
            "composites": [{"composite": name, "ok": made.ok} | _facts(made) for name, made in self.balances],
        }


def _plain(value: float | None) -> float | None:
    """A number that JSON has; none for what is not finite."""
    return value if value is not None and np.isfinite(value) else None


def _facts(made: Balance) -> dict[str, Any]:
    """A balance in plain values."""
    return {
        "start": _plain(made.start),
        "arrived": _plain(made.arrived),
        "taken": {cause: _plain(amount) for cause, amount in sorted(made.taken.items())},
        "error": _plain(made.error),
        "worst_node": made.worst,
        "worst_error": _plain(made.worst_error),
        "finite": made.finite,
        "conserving": made.conserving,
    }


def _problem(made: Balance) -> str:
    """What is wrong with a balance."""
    if not made.finite:
        return "not all values are finite"
    if made.negative:
        return f"tensor '{made.negative}' counts as never negative and is"
    whole = f"{made.error:.1e} of the relevance is unaccounted for"
    return f"{whole}; node '{made.worst}' loses or makes {made.worst_error:.1e} of what it gets"


def check(model: Model, composites: Sequence[str | Composite] = CHECKED, *, seed: int = 0) -> Report:
    """Check a model with a random image.

    The scores of the network as the engine works on it are compared with those of the network as it was read, and with
    onnxruntime's for the file itself where it is an ONNX file. With every composite the best class is explained in a
    copy of the network whose biases are zero; what starts at its score has to arrive at the pixels, but for what rules
    keep by their own formulas, which is computed by the way forward, node by node.

    Parameters
    ----------
    model : Model
    composites : sequence of str or Composite
    seed : int
        Of the image.

    Returns
    -------
    Report

    Raises
    ------
    ConfigError, UnsupportedError
        A composite that does not exist or has no rule for a node.
    NumericError
        Relevance that is not finite.
    """
    x = random_image(model, seed)
    source = model.source
    graph = canonise(without_biases(source))
    bounds = _bounds(model)
    made = tuple(
        (str(chosen), balance(graph, chosen, x, bounds=bounds, threads=model.threads))
        for chosen in map(model.composite, composites)
    )
    return Report(model.name, len(model.graph.nodes), tuple(_parities(model, source, x)), made)


def _bounds(model: Model) -> tuple[Array, Array]:
    """Values of black and white pixels; the same for all channels where these are not the channels of pictures."""
    low, high = model.preprocessing.bounds()
    if len(low) not in (1, model.graph.input.item_shape[0]):
        return low.min(keepdims=True), high.max(keepdims=True)
    return low, high


def random_image(model: Model, seed: int = 0) -> Array:
    """Return a random input between the values of black and white pixels, float32 (1, C, H, W)."""
    low, high = _bounds(model)
    x = np.random.default_rng(seed).uniform(low, high, (1, *model.graph.input.item_shape)).astype(np.float32)
    return np.rint(x) if model.original is not None and model.original.integer else x


def _parities(model: Model, source: Graph, x: Array) -> list[Parity]:
    """Compare scores with the network as it was read, and with the file where another runtime reads it."""
    found = [_parity("the network as read", model, x, rewritten(source, model.graph, x, model.threads))]
    if model.original is not None:
        name = "onnxruntime on the file"
        try:
            expected = run_outside(model.original.model(), model.original.feeds(x), model.threads)
        except ModelError as error:
            return [*found, Parity(name, None, 0, error.message)]
        found.append(_parity(name, model, x, difference(model.output(x), expected)))
    return found


def _parity(against: str, model: Model, x: Array, found: float) -> Parity:
    """Return a difference with how large it may be."""
    return Parity(against, found, allowed(model.output, x, found, f"model '{model.name}'"))
