"""Explaining with zennit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonAlpha2Beta1, EpsilonGammaBox, EpsilonPlus, LayerMapComposite, layer_map_base
from zennit.core import Composite
from zennit.layer import Sum
from zennit.rules import Epsilon
from zennit.types import Linear

from lrptool import Model
from tests.bench.torch_net import Constants, NotPossible, Tensor, TorchNet


class Addition(nn.Module):
    """The sum of two tensors as zennit knows it: along a new axis."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = Sum()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.sum(torch.stack([a, b], -1))


def _composite(name: str, model: Model) -> Composite:
    """Return zennit's composite of that name."""
    canonizers = [SequentialMergeBatchNorm()]
    if name == "epsilon":
        return LayerMapComposite([*layer_map_base(), (Linear, Epsilon())], canonizers=canonizers)
    if name == "epsilon-plus":
        return EpsilonPlus(canonizers=canonizers)
    if name == "epsilon-alpha2-beta1":
        return EpsilonAlpha2Beta1(canonizers=canonizers)
    if name == "epsilon-gamma-box":
        shape = model.graph.input.item_shape
        bounds = [np.broadcast_to(bound, shape)[None].astype(np.float32) for bound in model.preprocessing.bounds()]
        low, high = (torch.from_numpy(bound) for bound in bounds)
        return EpsilonGammaBox(low=low, high=high, canonizers=canonizers)
    raise NotPossible(f"no rules for {name}")


def explainer(model: Model, constants: Constants, composite: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function that explains one class per picture. Hooks are registered once, as for many pictures."""
    net = TorchNet(model.graph, constants, Addition)
    attributor = Gradient(net, _composite(composite, model))
    attributor.__enter__()

    def explain(x: Tensor, targets: Tensor) -> Tensor:
        def start(scores: Tensor) -> Tensor:
            return scores.detach() * nn.functional.one_hot(targets, scores.shape[1])

        return attributor(x, start)[1]

    return explain
