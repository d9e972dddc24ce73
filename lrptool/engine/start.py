"""What relevance starts as at the scores, and how scores are read off the output tensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrptool.errors import ConfigError, InputError, did_you_mean
from lrptool.graph import Array, Head
from lrptool.rules import STARTS

Targets = NDArray[np.int64]


def scores_of(output: Array) -> Array:
    """Return scores (N, classes) of an output tensor (N, classes, …); the mean where it has a map per class."""
    scores: Array = output.reshape(*output.shape[:2], -1).mean(axis=2)
    return scores


def probabilities_of(scores: Array, head: Head) -> Array | None:
    """Return softmax probabilities (N, classes), or None where the network ends in plain scores."""
    if head != "softmax":
        return None
    shifted = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    probabilities: Array = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def initial_relevance(output: Array, targets: Targets, start: str = "score", against: Targets | None = None) -> Array:
    """Return the relevance of the output tensor, zero but for the classes in question.

    Parameters
    ----------
    output : float32 (N, classes, …)
    targets : int64 (N,)
    start : {"score", "one", "contrast"}
        ``score``: the target's own score. ``one``: 1. ``contrast``: the derivative of the target's probability,
        p_t (1 − p_t) at the target and −p_t p_c at every other class (Iwana et al. 2019,
        doi:10.1109/ICCVW.2019.00513).
    against : int64 (N,), optional
        A class whose score counts negatively: the result explains why the target rather than this one.

    Returns
    -------
    float32, the shape of `output`

    Raises
    ------
    ConfigError
        An unknown start, or ``contrast`` with a class against.
    InputError
        A class against itself.
    """
    if start not in STARTS:
        raise ConfigError(f"unknown start '{start}'", hint=did_you_mean(start, STARTS))
    if against is not None:
        if start == "contrast":
            raise ConfigError("start 'contrast' sets the target against every class: it takes no single rival")
        if np.any(against == targets):
            raise InputError(f"class {int(targets[against == targets][0])} cannot be explained against itself")
    items = np.arange(len(targets))
    positions = int(np.prod(output.shape[2:], dtype=np.int64))
    relevance = np.zeros_like(output)
    if start == "contrast":
        probabilities = probabilities_of(scores_of(output), "softmax")
        if probabilities is None:
            raise AssertionError("a softmax always has probabilities")
        p = probabilities[items, targets][:, None]
        values = -p * probabilities
        values[items, targets] += p[:, 0]
        relevance += (values / positions).reshape(*values.shape, *(1,) * (output.ndim - 2))
        return relevance
    relevance[items, targets] = (output[items, targets] if start == "score" else 1) / positions
    if against is not None:
        relevance[items, against] -= (output[items, against] if start == "score" else 1) / positions
    return relevance
