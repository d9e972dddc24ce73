"""What an explanation holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.engine import Entry
from lrptool.graph import Array


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Relevance of every input value for one class per picture.

    Parameters
    ----------
    relevance : float32 (N, C, H, W)
        At the network's input, in the network's channel order.
    scores : float32 (N, classes)
        Before the softmax.
    probabilities : float32 (N, classes) or None
        None where the network does not end in a softmax.
    target : int64 (N,)
        The class explained.
    start : float64 (N,)
        Relevance that started at the scores; conservation compares with this.
    started_as : str
        ``score``, ``one`` or ``contrast``.
    against : int64 (N,) or None
        The class whose score counted negatively.
    model, composite : str
        Names.
    audit : tuple of Entry
        One entry per node, from the scores down, where an audit was asked for.
    tensors : dict of str to float32 array
        Relevance of further tensors that were asked for.
    """

    relevance: Array
    scores: Array
    probabilities: Array | None
    target: NDArray[np.int64]
    start: NDArray[np.float64]
    started_as: str
    against: NDArray[np.int64] | None
    model: str
    composite: str
    audit: tuple[Entry, ...] = ()
    tensors: dict[str, Array] | None = None

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.relevance)

    @property
    def heatmap(self) -> Array:
        """Relevance summed over channels, float32 (N, H, W)."""
        total: Array = self.relevance.sum(axis=1)
        return total

    @property
    def score(self) -> Array:
        """Score of the class explained, float32 (N,)."""
        return self.scores[np.arange(len(self)), self.target]

    @property
    def probability(self) -> Array | None:
        """Probability of the class explained, float32 (N,)."""
        return None if self.probabilities is None else self.probabilities[np.arange(len(self)), self.target]


def joined(parts: Sequence[Explanation]) -> Explanation:
    """Put the runs of a batch together again."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def cat(key: str) -> Any:
        return np.concatenate([getattr(part, key) for part in parts])

    names = ("arrived", "passed_on", "bias", "stabiliser", "other")
    audit = tuple(
        Entry(e.node, e.op, e.rule, *(np.concatenate([getattr(p.audit[k], name) for p in parts]) for name in names))
        for k, e in enumerate(first.audit)
    )
    tensors = {name: np.concatenate([(part.tensors or {})[name] for part in parts]) for name in first.tensors or {}}
    return Explanation(
        relevance=cat("relevance"),
        scores=cat("scores"),
        probabilities=None if first.probabilities is None else cat("probabilities"),
        target=cat("target"),
        start=cat("start"),
        started_as=first.started_as,
        against=None if first.against is None else cat("against"),
        model=first.model,
        composite=first.composite,
        audit=audit,
        tensors=tensors,
    )
