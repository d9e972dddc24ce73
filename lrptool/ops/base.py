"""What every operator states about itself: shape, sign, ONNX spelling, and how relevance passes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Attribute, Graph, Node, Shape
from lrptool.kernels import Gather, Place, Schedule

Values = NDArray[np.floating[Any]]
"""Activations or relevance, float32 in production and float64 in the tests, batch first."""


Kept = Mapping[str, Values]
"""Relevance per item, float64 (N,), by what kept it back: ``bias``, ``stabiliser`` and the like."""

WeightKind = Literal["all", "pos", "neg", "squared", "one", "gamma-pos", "gamma-neg"]


@dataclass(frozen=True, slots=True)
class WeightPart:
    """A part Ŵ of the weights.

    Parameters
    ----------
    kind : str
        ``all`` W; ``pos`` max(W, 0); ``neg`` min(W, 0); ``squared`` W²; ``one`` 1 wherever W has an entry;
        ``gamma-pos`` W + γ max(W, 0); ``gamma-neg`` W + γ min(W, 0).
    gamma : float
        γ of the last two.
    """

    kind: WeightKind
    gamma: float = 0.0

    def of(self, weight: Values) -> Values:
        """Return this part of an array of weights, same shape and dtype."""
        if self.kind == "all":
            return weight
        if self.kind == "squared":
            return weight * weight
        if self.kind == "one":
            return np.ones_like(weight)
        if self.kind in ("pos", "neg"):
            return np.maximum(weight, 0) if self.kind == "pos" else np.minimum(weight, 0)
        signed = np.maximum(weight, 0) if self.kind == "gamma-pos" else np.minimum(weight, 0)
        return weight + weight.dtype.type(self.gamma) * signed


class LinearMap(Protocol):
    """z = Σₖ Wₖ xₖ + b over one or several inputs: all a share rule needs to know of a layer."""

    def gather(self, k: int, parts: tuple[WeightPart, ...], dtype: DTypeLike) -> Gather | None:
        """Return the kernel that collects input k's relevance; None where `transpose` will do."""

    def forward(self, xs: Sequence[Values], part: WeightPart) -> Values:
        """Return Σₖ Ŵₖ xₖ, without bias, in the shape of the layer's output."""

    def transpose(self, s: Values, part: WeightPart) -> tuple[Values, ...]:
        """Return Ŵₖᵀ s for every input k, in the shapes of the inputs."""

    def bias(self, part: WeightPart, like: Values) -> Values | None:
        """Return the part of the bias in `like`'s dtype, broadcastable to it; None where the layer has none."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Everything a treatment may look at while it passes relevance through one node.

    ``xs`` and ``ys`` (activations in and out) are filled only where the treatment says that it reads them.
    """

    node: Node
    graph: Graph
    xs: tuple[Values, ...]
    ys: tuple[Values, ...]
    relevances: tuple[Values, ...]
    epsilon: float

    def input_shape(self, index: int, batch: int) -> tuple[int, ...]:
        """Shape of a batch at input `index`."""
        return self.graph.tensors[self.node.inputs[index]].array_shape(batch)

    @property
    def tensor_inputs(self) -> list[int]:
        """Positions of the inputs that are not constants: each of them gets relevance."""
        return [k for k, tensor in enumerate(self.node.inputs) if tensor in self.graph.tensors]


class Placing(Protocol):
    """Where a schedule's way back through a network has its activations and relevance."""

    schedule: Schedule

    def activation(self, name: str) -> Place:
        """Return where an activation, or a result computed beside the network, lies."""

    def into(self, name: str) -> tuple[Place, bool]:
        """Return where a tensor's relevance is to be written, and whether to add to what is there."""

    def alias(self, name: str, place: Place) -> None:
        """Let a tensor's relevance be what lies in a place."""

    def values(self, name: str) -> int:
        """Values of a tensor per item."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """A way for relevance to pass an operator that is not a sum of shares.

    Parameters
    ----------
    redistribute : callable
        Passage → one array per tensor input, in the shapes of the inputs; no argument is written to.
    reads : set of {"inputs", "outputs"}
        The activations it looks at; the forward pass hands out no others.
    at_zero : {"nothing", "as behind", "anything"}
        Relevance handed to an input of zero: always nothing; nothing where outputs of zero get nothing, because zero
        stays zero; or anything.
    add_to : callable or None
        Adds the same as tasks of a schedule.
    keeps : callable or None
        Passage with all activations → what it does not hand on, by cause, found without asking `redistribute`: by the
        operator's own way forward. None: it hands on everything.
    """

    redistribute: Callable[[Passage], tuple[Values, ...]]
    reads: frozenset[str] = frozenset()
    at_zero: Literal["nothing", "as behind", "anything"] = "anything"
    add_to: Callable[[Placing, Node, Graph, Sequence[Place]], None] | None = None
    keeps: Callable[[Passage], Kept] | None = None


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node of the emitted ONNX model, in plain values."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spelling:
    """A node as ONNX operators, with the constants they need beyond the graph's own."""

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def misfit(node: Node, message: str) -> ModelError:
    """Return the error that says what is wrong with a node, to be raised."""
    return ModelError(f"node {node.name!r} ({node.op}): {message}")


class Operator(ABC):
    """One operator. Instances hold no state; everything is read from the node and its graph."""

    name: ClassVar[str]
    """The word used in `Node.op`."""
    default: ClassVar[str | None]
    """Rule or treatment a node gets where no composite row matches; None: a composite has to say."""
    weighted: ClassVar[bool] = False
    """Whether it is a layer with trained weights: what "first" and "last" count in a composite."""
    packed: ClassVar[tuple[int, ...]] = ()
    """Inputs whose values nobody looks at once they are packed: weights that a linear map copies, and the session."""
    treatments: ClassVar[Mapping[str, Treatment]] = {}

    @abstractmethod
    def infer(self, node: Node, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of every output; raise ModelError where the inputs do not fit."""

    def spell(self, node: Node, graph: Graph) -> Spelling:
        """Return the node in ONNX operators; as it stands unless overridden."""
        return Spelling((OnnxNode(node.op, node.inputs, node.outputs, node.attributes),))

    def nonnegative(self, node: Node, inputs: Sequence[bool]) -> bool:
        """Whether all outputs are known to be ≥ 0, given which inputs are."""
        return False

    def macs(self, node: Node, graph: Graph) -> int:
        """Multiply-accumulates of one item's forward pass; 0 for what is not a product."""
        return 0

    def steep(self, node: Node, graph: Graph) -> bool:
        """Whether outputs may be larger than inputs by any factor, or by one that has no bound from place to place.

        Where zero does not stay zero, `Treatment.at_zero` says so already; kinks, bends and constant factors are not
        meant: relevance in proportion to what comes out is then in proportion to what goes in, within their size.
        """
        return False

    def linear_map(self, node: Node, graph: Graph) -> LinearMap | None:
        """Return the layer as a linear map, or None where share rules do not apply."""
        return None

    def treatment(self, node: Node, name: str) -> Treatment:
        """Return a treatment by name; UnsupportedError where the operator has none of that name."""
        try:
            return self.treatments[name]
        except KeyError:
            known = ", ".join(sorted(self.treatments)) or "share rules only"
            raise UnsupportedError(
                f"node {node.name!r} ({node.op}): rule '{name}' does not apply to this operator",
                hint=f"it takes: {known}",
            ) from None
