"""What a network says of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrptool.graph import Array


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Scores of a batch.

    Parameters
    ----------
    scores : float32 (N, classes)
    probabilities : float32 (N, classes) or None
    """

    scores: Array
    probabilities: Array | None

    def top(self, count: int) -> NDArray[np.int64]:
        """Classes by falling score, int64 (N, count)."""
        return np.argsort(-self.scores, axis=1, kind="stable")[:, :count]
