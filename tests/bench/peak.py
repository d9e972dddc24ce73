"""How fast numpy's sgemm multiplies square matrices: what the machine can do. Run as a partner."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tests.bench.partner import serve

SIZE, REPEATS = 2048, 2
OPERATIONS = 2 * SIZE**3
REST = 0.03
"""Seconds in which the threads of the product fall asleep."""


def measure(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Seconds of the best of some products."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    time.sleep(REST)
    return {"seconds": best}


def main() -> None:
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
    serve({"measure": lambda: measure(a, b)})


if __name__ == "__main__":
    main()
