"""From what a user calls a class to its index."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lrptool.errors import InputError
from lrptool.graph import Array
from lrptool.zoo import Labels

One = int | str
Target = One | Sequence[One] | NDArray[np.int64]


def one_per_picture(target: Target, count: int) -> list[One]:
    """Return a target for each of `count` pictures; InputError where a list is of another length."""
    if isinstance(target, (str, int, np.integer)) or not isinstance(target, Iterable):
        return [target] * count
    targets = list(target)
    if len(targets) != count:
        raise InputError(f"expected one target per picture ({count}), found {len(targets)}")
    return targets


def resolve(targets: Sequence[One], scores: Array, labels: Labels) -> NDArray[np.int64]:
    """Return class indices int64 (N,).

    Parameters
    ----------
    targets : sequence of "top", "top:K", int or str, one per picture
        The best class, the K-th best, an index, a label or the beginning of one, a synset id.
    scores : float32 (N, classes)
    labels : Labels

    Raises
    ------
    InputError
        No such class, or an ambiguous name.
    """
    return np.array([_resolve_one(one, row, labels) for one, row in zip(targets, scores, strict=True)], np.int64)


def _resolve_one(target: One, scores: Array, labels: Labels) -> int:
    """Return one picture's class."""
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        if not 0 <= target < labels.count:
            raise InputError(f"target {target}: expected a class from 0 to {labels.count - 1}")
        return int(target)
    if not isinstance(target, str):
        raise InputError(f"target: expected an index or a name, found {target!r}")
    ranked = re.fullmatch(r"top(?::(\d+))?", target.strip().lower())
    if not ranked:
        return labels.find(target)
    rank = int(ranked[1] or 1)
    if not 1 <= rank <= labels.count:
        raise InputError(f"target {target}: expected a rank from 1 to {labels.count}")
    return int(np.argsort(-scores, kind="stable")[rank - 1])
