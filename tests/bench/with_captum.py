"""Explaining with captum."""

from __future__ import annotations

from collections.abc import Callable

from captum.attr import LRP
from captum.attr._utils.custom_modules import Addition_Module

from lrptool import Model
from tests.bench.torch_net import Constants, NotPossible, Tensor, TorchNet


def explainer(model: Model, constants: Constants, composite: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function that explains one class per picture by the epsilon rule on every layer, captum's default."""
    if composite != "epsilon":
        raise NotPossible(f"no rules for {composite}")
    attribution = LRP(TorchNet(model.graph, constants, Addition_Module))
    return lambda x, targets: attribution.attribute(x, target=targets)
