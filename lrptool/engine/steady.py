"""Where relevance is known to be in proportion to activations, at most by a factor that other layers have, too.

Relevance starts as scores. Where a layer divides it by its pre-activation, or by more, and multiplies what it hands
back by its inputs, R_i / x_i = Σ_j w_ij R_j / z_j is of the size of the R_j / z_j: a gradient, more or less. Then no
fraction stands out from its neighbours by orders of magnitude, and errors of the size of the largest among them do no
harm. A rule that divides by less loses this for all layers below: β R_j / N_j is huge where hardly anything lowered an
output. It reaches only inputs that are next to nothing; an error of its size would reach others.
"""

from __future__ import annotations

from lrptool.graph import Graph, Node
from lrptool.ops import Treatment, operator
from lrptool.rules import Share, Term

_RAISING = {("pos", "pos"), ("neg", "neg"), ("pos", "gamma-pos"), ("neg", "gamma-neg")}
_LOWERING = {("pos", "gamma-neg"), ("neg", "gamma-pos")}
_FIXED = {"one", "low", "high"}


def is_steady(share: Share, *, nonnegative: bool, rectified: bool, biased: bool) -> bool:
    """Whether a share divides by no less than the pre-activation, or by what no picture changes.

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
    """
    if not share.normalised or {term.x for term in share.terms} <= _FIXED:
        return True
    if [(term.x, term.w.kind, term.sign) for term in share.terms] == [("all", "all", 1)]:
        return not biased or (share.bias is not None and share.bias.kind == "all")
    positive = rectified or share.where == "positive"
    if positive and _among(share.terms, _RAISING, nonnegative=nonnegative):
        return not biased or (share.bias is not None and share.bias.kind in ("all", "pos", "gamma-pos"))
    if share.where == "negative" and _among(share.terms, _LOWERING, nonnegative=nonnegative):
        return not biased or (share.bias is not None and share.bias.kind in ("all", "gamma-neg"))
    return False


def _among(terms: tuple[Term, ...], wanted: set[tuple[str, str]], *, nonnegative: bool) -> bool:
    """Whether contributions are of these kinds; of inputs none of which is negative, all are the positive part."""
    parts = {("pos" if nonnegative and term.x == "all" else term.x, term.w.kind) for term in terms}
    return parts <= wanted and all(term.sign > 0 for term in terms)


def vanishes_in_proportion(node: Node, graph: Graph, treatment: Treatment) -> bool:
    """Whether relevance in proportion to a node's outputs becomes relevance in proportion to its inputs."""
    return treatment.at_zero != "anything" and not operator(node.op, node.name).steep(node, graph)
