"""Denominators that the forward session computes along with the network: onnxruntime runs near the machine's peak.

A share's denominator Σ sign · Ŵ x̂ + b̂ is the layer once more with other weights, so it is spelled in ONNX beside the
layer itself. What does not depend on the picture is computed once and added as a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.engine.shares import ShareStep
from lrptool.graph import Graph, Node
from lrptool.ops import OnnxNode, WeightPart
from lrptool.rules import IMAGE_FREE, Share, Term

_ALL = WeightPart("all")
_ITSELF = Term("all", _ALL)


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


def in_session(node: Node, share: Share) -> bool:
    """Whether a share's denominator is left to the session."""
    return node.op == "Conv" and depends_on_picture(share)


def denominator_name(node: Node, number: int) -> str:
    """Return what a share's denominator is called among the activations."""
    return f"{node.outputs[0]}/denominator{number}"


def spell_denominator(node: Node, number: int, step: ShareStep, graph: Graph, beside: Beside) -> str:
    """Add a share's denominator to what is computed beside the network; return its name."""
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
            (_part_of(node.inputs[0], term.x, beside), _weights_of(node, term.w, graph, beside)),
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


def _weights_of(node: Node, part: WeightPart, graph: Graph, beside: Beside) -> str:
    """Return the constant that holds a part of the weights."""
    if part == _ALL:
        return node.inputs[1]
    name = f"{node.inputs[1]}/{_word(part)}"
    return name if name in beside.constants else beside.constant(name, part.of(graph.constants[node.inputs[1]]))


def _part_of(x: str, part: str, beside: Beside) -> str:
    """Return the tensor that holds a part of the input."""
    if part == "all":
        return x
    if part == "pos":
        return beside.write("Relu", (x,), f"{x}/pos")
    return beside.write("Min", (x, beside.constant("/zero", np.zeros((), np.float32))), f"{x}/neg")
