"""Where relevance is in proportion to activations, so that fractions R / z are gradients, more or less.

Minimal filtering makes an error at every input in proportion to the largest fraction whose kernel covers it, whatever
the weight there. That does no harm as long as the input's own relevance x_i Σ_j w_ij R_j / z_j is as large, and it is
unless w_ij is next to nothing.

Parts of the weights are nothing at half of the inputs. Where a share divides by no less than the pre-activation, bright
inputs without a part in it are outweighed by others that have one. Where it divides by less, as β R_j / N_j does, a
fraction is huge where nothing but dim inputs have a part in it, and its error reaches the bright ones beside them.

Single weights next to nothing are made up for by other channels' at the same place, if their fractions are of like
size. Relevance starts as scores; as long as layers divide by no less than the pre-activation and multiply by their
inputs, fractions are gradients. Taps that have hardly any weight in all channels are nothing that fractions could make
up for: `lrptool.kernels.winograd` looks for them.
"""

from __future__ import annotations

from lrptool.graph import Graph, Node
from lrptool.ops import Treatment, operator
from lrptool.rules import IMAGE_FREE, Share, Term

_Pair = set[tuple[str, str]]
_RAISING: tuple[_Pair, ...] = ({("pos", "pos"), ("neg", "neg")}, {("pos", "gamma-pos"), ("neg", "gamma-neg")})
"""Parts of input and weights that together are no less than a positive pre-activation."""
_LOWERING: tuple[_Pair, ...] = ({("pos", "gamma-neg"), ("neg", "gamma-pos")},)
"""Likewise of a negative one."""


def is_steady(share: Share, *, nonnegative: bool, rectified: bool, biased: bool) -> bool:
    """Return whether a share divides by no less than the pre-activation, or by what no picture changes.

    Parameters
    ----------
    share : Share
        Without what is known to be nothing.
    nonnegative : bool
        No input is negative.
    rectified : bool
        Relevance arrives only where the pre-activation is positive.
    biased : bool
        The layer has a bias.

    Returns
    -------
    bool
        Whether R / denominator is no larger than R / pre-activation, or than R: in proportion to what R is in
        proportion to. False also where that is not known.
    """
    if not share.normalised or {term.x for term in share.terms} <= IMAGE_FREE:
        return True
    if [(term.x, term.w.kind, term.sign) for term in share.terms] == [("all", "all", 1)]:
        return not biased or (share.bias is not None and share.bias.kind == "all")
    positive = rectified or share.where == "positive"
    if positive and _are(share.terms, _RAISING, nonnegative=nonnegative):
        return not biased or (share.bias is not None and share.bias.kind in ("all", "pos", "gamma-pos"))
    if share.where == "negative" and _are(share.terms, _LOWERING, nonnegative=nonnegative):
        return not biased or (share.bias is not None and share.bias.kind in ("all", "gamma-neg"))
    return False


def _are(terms: tuple[Term, ...], pairs: tuple[_Pair, ...], *, nonnegative: bool) -> bool:
    """Whether contributions are one of these pairs, added up.

    Of inputs none of which is negative, all are the positive part, and the other half of a pair is nothing.
    """
    found = {("pos" if nonnegative and term.x == "all" else term.x, term.w.kind) for term in terms}
    if nonnegative:
        found = {part for part in found if part[0] != "neg"}
        pairs = tuple({part for part in pair if part[0] != "neg"} for pair in pairs)
    return found in pairs and all(term.sign > 0 for term in terms)


def vanishes_in_proportion(node: Node, graph: Graph, treatment: Treatment) -> bool:
    """Whether relevance in proportion to a node's outputs becomes relevance in proportion to its inputs."""
    return treatment.at_zero != "anything" and not operator(node.op, node.name).steep(node, graph)
