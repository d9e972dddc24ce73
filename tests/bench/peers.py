"""Other libraries on the same network in torch. Run as a partner; needs the ``bench`` extra.

torch is imported before lrptool, as by any of its users.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn

from lrptool import Model, load
from tests.bench.partner import serve
from tests.bench.rows import pictures
from tests.bench.torch_net import Constants, NotPossible, Tensor, TorchNet, constants_of

SAME = 1e-3
"""Largest difference of scores, as a share of the largest score, between torch and onnxruntime."""

Explain = Callable[[Tensor, Tensor], Tensor]


class Sum(nn.Module):
    """Plain addition."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


def check_scores(model: Model, constants: Constants) -> None:
    """Refuse to compare the speed of networks that compute different things."""
    x = pictures(model, 1)
    with torch.no_grad():
        theirs = TorchNet(model.graph, constants, Sum)(torch.from_numpy(x)).numpy()
    ours = model.predict(x).scores
    difference = float(np.abs(theirs - ours).max() / np.abs(ours).max())
    if not difference < SAME:
        raise NotPossible(f"other scores: they differ by {difference:.1e} of the largest")


def explainer(library: str, model: Model, constants: Constants, composite: str) -> Explain:
    """Return a library's way to explain one class per picture; NotPossible where it has none."""
    explain: Explain = import_module(f"tests.bench.with_{library}").explainer(model, constants, composite)
    return explain


class Peers:
    """The answers: one network at a time, and every way to explain it that was asked for."""

    def __init__(self) -> None:
        self._explain: dict[tuple[str, str], Explain] = {}
        self._targets: dict[int, Tensor] = {}

    def load(self, model: str, weights: str | None, threads: int) -> dict[str, Any]:
        """Load a network, and say why where torch cannot have it."""
        torch.set_num_threads(threads)
        self._explain.clear()
        self._targets.clear()
        self._model = load(model, weights=weights, threads=threads)
        self._constants = constants_of(self._model.graph)
        return _tried(lambda: check_scores(self._model, self._constants))

    def prepare(self, library: str, composite: str, batch: int) -> dict[str, Any]:
        """Explain once, and say why where that cannot be done."""

        def attempt() -> None:
            key = library, composite
            if key not in self._explain:
                self._explain[key] = explainer(library, self._model, self._constants, composite)
            self.explain(library, composite, batch)

        return _tried(attempt)

    def explain(self, library: str, composite: str, batch: int) -> dict[str, Any]:
        """Seconds of one explanation."""
        x, targets = self._data(batch)
        began = time.perf_counter()
        self._explain[library, composite](x, targets)
        return {"seconds": time.perf_counter() - began}

    def _data(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return a fresh batch, and the classes to explain as if they were known."""
        x = pictures(self._model, batch)
        if batch not in self._targets:
            self._targets[batch] = torch.from_numpy(self._model.predict(x).scores.argmax(axis=1))
        return torch.from_numpy(x), self._targets[batch]


def _tried(attempt: Callable[[], None]) -> dict[str, Any]:
    """Return why something failed: what a foreign library raises is a result here."""
    try:
        attempt()
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return {"reason": lines[0]}
    return {"reason": None}


def main() -> None:
    peers = Peers()
    serve({"load": peers.load, "prepare": peers.prepare, "explain": peers.explain})


if __name__ == "__main__":
    main()
