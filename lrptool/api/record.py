"""One explanation in plain values, as ``--json`` prints it and ``--save json`` keeps it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrptool.api.explanation import Explanation
from lrptool.api.model import Model
from lrptool.engine import Entry
from lrptool.graph import Array


def record_of(model: Model, explanation: Explanation, k: int = 0) -> dict[str, Any]:
    """Return the facts of picture `k` of an explanation.

    Returns
    -------
    dict
        ``model, sha256, composite, start, target, label, synset, score, probability`` and ``sums``: relevance at the
        ``start``, at the ``input``, and the latter's ``positive`` and ``negative`` parts. With an audit, ``audit``: one
        dict per node. ``weights`` where they were drawn at random, ``against`` where there is such a class.
    """
    target = int(explanation.target[k])
    relevance = explanation.relevance[k]
    part = np.maximum(relevance, 0)
    positive = part.sum(dtype=np.float64)
    negative = np.minimum(relevance, 0, out=part).sum(dtype=np.float64)
    record: dict[str, Any] = {
        "model": model.name,
        "sha256": model.sha256,
        "composite": explanation.composite,
        "start": explanation.started_as,
        "target": target,
        "label": model.labels.name(target),
        "synset": model.labels.synset(target),
        "score": _rounded(explanation.score[k]),
        "probability": None if explanation.probability is None else _rounded(explanation.probability[k]),
        "sums": {
            "start": _rounded(explanation.start[k]),
            "input": _rounded(positive + negative),
            "positive": _rounded(positive),
            "negative": _rounded(negative),
        },
    }
    if explanation.against is not None:
        record["against"] = int(explanation.against[k])
    if model.random_weights:
        record["weights"] = model.random_weights
    if explanation.audit:
        record["audit"] = [_audit_row(entry, k) for entry in explanation.audit]
    return record


def ranked(model: Model, scores: Array, probabilities: Array | None, count: int) -> list[dict[str, Any]]:
    """Return the best classes of one picture: ``target, label, score`` and, where there are some, the others.

    Parameters
    ----------
    model : Model
    scores : float32 (classes,)
    probabilities : float32 (classes,) or None
    count : int

    Returns
    -------
    list of dict
        By falling score; ``probability`` and ``synset`` where there is one.
    """
    classes = []
    for index in map(int, np.argsort(-scores, kind="stable")[:count]):
        entry: dict[str, Any] = {
            "target": index,
            "label": model.labels.name(index),
            "score": round(float(scores[index]), 6),
        }
        if probabilities is not None:
            entry["probability"] = round(float(probabilities[index]), 6)
        if synset := model.labels.synset(index):
            entry["synset"] = synset
        classes.append(entry)
    return classes


def _rounded(value: Any) -> float:
    """A float with the digits float32 has."""
    return float(f"{float(value):.7g}")


def _audit_row(entry: Entry, k: int) -> dict[str, Any]:
    """One node's line of the ledger for picture `k`."""
    amounts = ("arrived", "passed_on", "bias", "stabiliser", "other")
    facts = {"node": entry.node, "op": entry.op, "rule": entry.rule}
    return facts | {name: _rounded(getattr(entry, name)[k]) for name in amounts}
