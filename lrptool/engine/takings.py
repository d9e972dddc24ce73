"""What each node keeps back by its rule, found without the walk: from the way forward, with maps made afresh.

A share hands on Σ_i x̂_i (Ŵᵀ s)_i, which equals Σ_j s_j (Ŵ x̂)_j. The walk computes the left side, from denominators of
the forward session and with shares that were simplified; here the right side is computed, from the rule as written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lrptool.engine.compiling import Step
from lrptool.engine.shares import stabilise
from lrptool.graph import Graph
from lrptool.ops import Kept, LinearMap, Passage, Values, operator
from lrptool.ops.kept import by_quotient, total
from lrptool.rules import InputPart, Share

Activations = Mapping[str, Values]


def takings(step: Step, graph: Graph, arrived: Sequence[Values], activations: Activations) -> Kept:
    """Return what a node keeps back of what arrived at its outputs.

    Parameters
    ----------
    step : Step
    graph : Graph
    arrived : sequence of array
        Relevance of every output.
    activations : mapping of str to array
        Of all tensors.

    Returns
    -------
    mapping of str to float64 (N,)
        By cause: ``bias``, ``stabiliser``, ``empty side`` (an output to which nothing contributes on that side),
        ``zero output`` (a rule says nothing of outputs that are zero), ``padding``, ``constants``, ``softmax``,
        ``linearisation``.
    """
    if step.layer is not None:
        return _of_layer(step, graph, arrived[0], activations)
    node = step.node
    treatment = operator(node.op, node.name).treatment(node, step.rule.name)
    if treatment.keeps is None:
        return {}
    xs = tuple(activations[name] if name in activations else graph.constants[name] for name in node.inputs)
    ys = tuple(activations[name] for name in node.outputs)
    epsilon = step.rule.number("epsilon") if step.rule.takes("epsilon") else 0.0
    return treatment.keeps(Passage(node, graph, xs, ys, tuple(arrived), epsilon))


def _of_layer(step: Step, graph: Graph, r: Values, activations: Activations) -> Kept:
    """Add up what the shares of a layer's rule keep back."""
    linear = operator(step.node.op, step.node.name).linear_map(step.node, graph)
    if linear is None or step.layer is None:
        raise TypeError(f"node {step.node.name!r} is no linear map")
    xs = [activations[name] for name in step.inputs]
    constants = [step.layer.step.constants(k, xs[k].dtype) for k in range(len(xs))]
    z = activations[step.node.outputs[0]]
    kept: dict[str, Values] = {}
    for share in step.rule.shares:
        part = {"everywhere": r, "positive": np.where(z > 0, r, 0), "negative": np.where(z < 0, r, 0)}[share.where]
        found = _of_share(share, linear, xs, constants, share.coefficient * part.astype(np.float64), step)
        for cause, amount in found.items():
            kept[cause] = kept.get(cause, 0) + amount
    if any(share.where != "everywhere" for share in step.rule.shares):
        kept["zero output"] = total(np.where(z == 0, r, 0))
    return kept


def _of_share(
    share: Share,
    linear: LinearMap,
    xs: Sequence[Values],
    constants: Sequence[Mapping[InputPart, Values]],
    r: Values,
    step: Step,
) -> Kept:
    """Return what one share keeps back of its part of the relevance."""
    contributed: Values = np.zeros((), np.float32)
    for term in share.terms:
        parts = [_part(x, term.x, fixed) for x, fixed in zip(xs, constants, strict=True)]
        contributed = contributed + term.sign * linear.forward(parts, term.w)
    like = np.broadcast_to(contributed, r.shape)
    bias = None if share.bias is None else linear.bias(share.bias, like)
    if not share.normalised:
        return {"derivative": total(r) - total(r * contributed)}
    denominator = like if bias is None else like + bias
    stable = stabilise(denominator, step.rule.stabiliser)
    if bias is None:
        return by_quotient(r, denominator, stable)
    return {**by_quotient(r, denominator, stable), "bias": total(r * bias / stable)}


def _part(x: Values, part: InputPart, constants: Mapping[InputPart, Values]) -> Values:
    """Return a part of an input, in its own shape."""
    if part in constants:
        return np.broadcast_to(constants[part], x.shape)
    if part == "one":
        return np.ones_like(x)
    return {"all": x, "pos": np.maximum(x, 0), "neg": np.minimum(x, 0)}[part]
