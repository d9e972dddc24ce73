"""What an operator keeps back of the relevance that arrives, found by the way forward: for checks, not for the walk.

A share of relevance r over contributions c_i hands on Σ c_i · r / stabilise(z). The sum of what arrives at all inputs
therefore follows from z = Σ c_i alone, which is computed forward, while the walk computes it backward.
"""

from __future__ import annotations

import numpy as np

from lrptool.ops.axes import stabilise
from lrptool.ops.base import Kept, Values

EMPTY = "empty side"
"""Nothing contributes, so nobody can get the relevance."""


def total(values: Values) -> Values:
    """Sum per item, float64 (N,)."""
    summed: Values = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    return summed


def by_quotient(r: Values, z: Values, stable: Values) -> Kept:
    """Return what is lost where r is divided by `stable` instead of z: to the stabiliser, or where z is nothing."""
    r, z, stable = np.broadcast_arrays(r, z, stable)
    rest = r.astype(np.float64) * (stable - z.astype(np.float64)) / np.where(stable == 0, 1, stable)
    nothing = z == 0
    return {"stabiliser": total(np.where(nothing, 0, rest)), EMPTY: total(np.where(nothing, r, 0))}


def by_proportion(r: Values, z: Values, epsilon: float) -> Kept:
    """Return what is lost where r is shared in proportion to contributions that sum to z."""
    return by_quotient(r, z, stabilise(z, epsilon))
