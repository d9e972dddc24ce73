"""Denominators that the forward session computes along with the network: onnxruntime runs near the machine's peak.

A share's denominator Σ sign · Ŵ x̂ + b̂ is the layer once more with other weights, so it is spelled in ONNX beside the
layer itself. What does not depend on the picture is computed once and added as a constant.

Positive and negative contributions add up to the pre-activation z. Where relevance arrives only at z > 0, two products
need not be computed: P = z − N, a sum of what is not negative, and, of inputs of either sign,
2 P = z + Σ |w| |x| + |b|, likewise. Neither loses digits; N as z − P would. The walk divides twice the relevance by
2 P: onnxruntime adds z to the product in one go, and halving would be a pass over large maps.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.engine.shares import ShareStep
from lrptool.graph import Node
from lrptool.ops import OnnxNode, WeightPart
from lrptool.rules import IMAGE_FREE, Share, Term

_ALL, _POS, _NEG = WeightPart("all"), WeightPart("pos"), WeightPart("neg")
_ITSELF = Term("all", _ALL)
_RAISING, _LOWERING = {("pos", _POS), ("neg", _NEG)}, {("pos", _NEG), ("neg", _POS)}
"""Contributions that raise an output, and those that lower it."""


@dataclass(slots=True)
class Denominators:
    """What is known of the denominators of a layer that depend on the picture.

    Parameters
    ----------
    names : dict of int to str
        What they are called among the activations, by number of share.
    rests : dict of int to int
        Shares whose denominator is what that of another share leaves of the pre-activation.
    doubled : set of int
        Shares of whose denominators the activations have twice as much.
    """

    names: dict[int, str] = field(default_factory=dict)
    rests: dict[int, int] = field(default_factory=dict)
    doubled: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Beside:
    """What is computed beside the network: nodes by what they write, constants, and the shape of each result.

    Parameters
    ----------
    nodes : dict of str to OnnxNode
    constants : dict of str to array
    like : dict of str to str
        Result → tensor of the graph whose shape it has.
    """

    nodes: dict[str, OnnxNode] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    like: dict[str, str] = field(default_factory=dict)

    def write(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node unless it is there."""
        self.nodes.setdefault(output, OnnxNode(op, tuple(inputs), (output,), attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a float32 constant unless it is there."""
        if name not in self.constants:
            self.constants[name] = np.ascontiguousarray(value, np.float32)
        return name


def depends_on_picture(share: Share) -> bool:
    """Whether a share has a denominator of its own per picture: neither the pre-activation itself nor a constant."""
    itself = share.terms == (_ITSELF,) and share.bias == _ALL
    return share.normalised and not itself and any(term.x not in IMAGE_FREE for term in share.terms)


def denominator_name(node: Node, number: int) -> str:
    """Return what a share's denominator is called among the activations."""
    return f"{node.outputs[0]}/denominator{number}"


def spell_denominators(node: Node, step: ShareStep, beside: Beside | None, rectified: str | None) -> Denominators:
    """Add denominators that depend on the picture to what is computed beside the network; return what they are.

    The walk itself forms those that another share's leaves of the pre-activation, and all of other layers than
    convolutions.

    Parameters
    ----------
    beside : Beside or None
        None where the walk is to form all of them.
    rectified : str or None
        The ReLU's output that serves as pre-activation: no relevance arrives where it is zero.
    """
    names = {k: denominator_name(node, k) for k, share in enumerate(step.shares) if depends_on_picture(share)}
    if node.op != "Conv" or beside is None:
        return Denominators(names)
    rests = {
        number: other
        for number, other in itertools.permutations(names, 2)
        if rectified and _complete(step.shares[number], step.shares[other], step)
    }
    doubled = {number for number in names if rectified and _raises(step.shares[number], step)}
    for number in names.keys() - rests.keys():
        if rectified and number in doubled:
            _spell_twice(node, names[number], beside, rectified)
        else:
            names[number] = _spell(node, number, step, beside)
    return Denominators(names, rests, doubled - rests.keys())


def _parts(share: Share) -> set[tuple[str, WeightPart]]:
    """Parts of input and weights whose products are added up; nothing where one is subtracted."""
    return {(term.x, term.w) for term in share.terms} if all(term.sign > 0 for term in share.terms) else set()


def _raises(share: Share, step: ShareStep) -> bool:
    """Whether a share's denominator is all that raised an output, of inputs of either sign."""
    return _parts(share) == _RAISING and _has_bias(share, _POS, step)


def _has_bias(share: Share, part: WeightPart, step: ShareStep) -> bool:
    """Whether a part of the bias joins a share's denominator, or there is none."""
    return share.bias == part or not step.biased


def _complete(share: Share, other: Share, step: ShareStep) -> bool:
    """Whether what raised an output is in one share, and all that lowered it in the other."""
    both = (_parts(share), _parts(other))
    signed = both == (_RAISING, _LOWERING)
    plain = step.nonnegative and both == ({("all", _POS)}, {("all", _NEG)})
    return (signed or plain) and _has_bias(share, _POS, step) and _has_bias(other, _NEG, step)


def _spell_twice(node: Node, name: str, beside: Beside, rectified: str) -> None:
    """Add twice what raised the output, of inputs of either sign, as the sum of the pre-activation and all sizes."""
    x, w = node.inputs[0], node.inputs[1]
    sizes = beside.write("Abs", (x,), f"{x}/abs")
    constants = [beside.write("Abs", (constant,), f"{constant}/abs") for constant in node.inputs[1:]]
    product = beside.write("Conv", (sizes, *constants), f"{node.outputs[0]}/abs·{w}", **node.attributes)
    beside.like[beside.write("Add", (product, rectified), name)] = node.outputs[0]


def _spell(node: Node, number: int, step: ShareStep, beside: Beside) -> str:
    """Add a share's denominator as it stands; return its name."""
    share = step.shares[number]
    y = node.outputs[0]
    name = denominator_name(node, number)
    constant = step.image_free_denominator(share)
    uses_itself = _ITSELF in share.terms
    summands = [(y, 1)] if uses_itself else []
    for term in share.terms:
        if term.x in IMAGE_FREE or term == _ITSELF:
            continue
        product = beside.write(
            "Conv",
            (_part_of(node.inputs[0], term.x, beside), _weights_of(node, term.w, beside)),
            f"{y}/{term.x}·{_word(term.w)}",
            **node.attributes,
        )
        summands.append((product, term.sign))
    if np.any(constant):
        summands.append((beside.constant(f"{name}/constant", constant), 1))
    total = summands[0][0]
    for k, (summand, sign) in enumerate(summands[1:], 1):
        last = k == len(summands) - 1
        total = beside.write("Add" if sign > 0 else "Sub", (total, summand), name if last else f"{name}/{k}")
    beside.like[total] = y
    return total


def _word(part: WeightPart) -> str:
    """A part's name within tensor names."""
    return part.kind if not part.gamma else f"{part.kind}{part.gamma!r}"


def _weights_of(node: Node, part: WeightPart, beside: Beside) -> str:
    """Return the tensor that holds a part of the weights.

    It is spelled as operators on the weights: onnxruntime carries those out once, while the session is made, and nobody
    else has to hold the part.
    """
    w = node.inputs[1]
    if part == _ALL:
        return w
    name = f"{w}/{_word(part)}"
    if part in (_POS, _NEG):
        return _clipped(w, part.kind, name, beside)
    kind = part.kind.removeprefix("gamma-")
    gamma = beside.constant(f"/gamma{part.gamma!r}", np.array(part.gamma))
    more = beside.write("Mul", (_clipped(w, kind, f"{w}/{kind}", beside), gamma), f"{name}/more")
    return beside.write("Add", (w, more), name)


def _clipped(tensor: str, kind: str, name: str, beside: Beside) -> str:
    """Add the positive or the negative part of a tensor."""
    if kind == "pos":
        return beside.write("Relu", (tensor,), name)
    return beside.write("Min", (tensor, beside.constant("/zero", np.zeros((), np.float32))), name)


def _part_of(x: str, part: str, beside: Beside) -> str:
    """Return the tensor that holds a part of the input."""
    if part == "all":
        return x
    return _clipped(x, part, f"{x}/{part}", beside)
