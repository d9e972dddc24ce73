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


_RANK = re.compile(r"top(?::(\d+))?", re.IGNORECASE)


def meant(target: One, labels: Labels) -> One:
    """Return the index of a class that is named or numbered; what speaks of ranks (``top``, ``top:3``) as it stands.

    Raises
    ------
    InputError
        No such class or rank, or an ambiguous name.
    """
    if not isinstance(target, str) or _RANK.fullmatch(target.strip()) is None:
        return _resolve_one(target, np.zeros(0, np.float32), labels)
    _rank(target, labels)
    return target.strip().lower()


def wanted(targets: Iterable[str], top: int | None, labels: Labels) -> tuple[One, ...]:
    """Return the targets to explain: no more of the best than there are classes, no named class twice."""
    if top is not None:
        return tuple(f"top:{rank}" for rank in range(1, min(top, labels.count) + 1))
    return tuple(dict.fromkeys(meant(text, labels) for text in targets)) or ("top",)


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
    if _RANK.fullmatch(target.strip()) is None:
        return labels.find(target)
    return int(np.argsort(-scores, kind="stable")[_rank(target, labels) - 1])


def _rank(target: str, labels: Labels) -> int:
    """Return the rank a target speaks of."""
    found = _RANK.fullmatch(target.strip())
    rank = int((found and found[1]) or 1)
    if not 1 <= rank <= labels.count:
        raise InputError(f"target {target}: expected a rank from 1 to {labels.count}")
    return rank
