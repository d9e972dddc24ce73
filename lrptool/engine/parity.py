"""Whether graphs that ought to be the same network give the same scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lrptool.engine.forward import Forward
from lrptool.errors import NumericError
from lrptool.graph import Graph
from lrptool.ops import Values

PARITY = 1e-4
"""Of the largest score."""
_NOISE, _MOST = 4.0, 1e-2
"""Differences allowed beyond it: so many times what the last digit of the input does to the scores, but no more."""


def difference(found: Values, expected: NDArray[np.floating]) -> float:
    """Return the largest difference of scores, relative to the largest expected one.

    Where the expected ones are laid out in another way, as a file may have them, both are sorted first; where there
    are several equal images, the first counts. Infinite where sizes or values do not allow a comparison.
    """
    ours, theirs = (np.asarray(values, np.float64).ravel() for values in (found, expected))
    long = [size for size in found.shape[1:] if size > 1]
    if not ours.size or theirs.size % ours.size or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    theirs = theirs[: ours.size]
    if len(long) > 1 and found.shape[1:] != expected.shape[1:]:
        ours, theirs = np.sort(ours), np.sort(theirs)
    scale = np.abs(theirs).max() or 1.0
    return float(np.abs(ours - theirs).max() / scale)


def rewritten(source: Graph, graph: Graph, x: Values, threads: int = 0) -> float:
    """Return how far the scores of the graph that the engine works on are from those of the graph as it was read."""
    found, expected = (Forward(net, [net.output], threads)(x)[net.output] for net in (graph, source))
    return difference(np.array(found), np.array(expected))


def allowed(scores: Callable[[Values], Values], x: Values, found: float, where: str) -> float:
    """Return how far scores may be apart.

    A network may amplify rounding (through the exponential of a gate, say) until no two orders of summation agree: then
    as far as some times what a change of the input's last digit does to the scores.

    Raises
    ------
    NumericError
        Scores that are not finite.
    """
    if found <= PARITY:
        return PARITY
    expected = np.array(scores(x))
    if not np.isfinite(expected).all():
        raise NumericError(f"{where}: its scores are not finite", hint="are these the right weights?")
    toward = x + np.random.default_rng(0).choice((-1.0, 1.0), x.shape).astype(np.float32)
    noise = difference(np.array(scores(np.nextafter(x, toward))), expected)
    return min(max(PARITY, _NOISE * noise), _MOST)
