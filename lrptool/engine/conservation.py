"""Whether relevance is conserved: what starts at the scores arrives at the pixels, but for what rules say they keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrptool.engine.audit import Entry
from lrptool.engine.compiling import Bounds
from lrptool.engine.forward import Forward
from lrptool.engine.program import Program
from lrptool.engine.start import initial_relevance, scores_of
from lrptool.engine.takings import takings
from lrptool.engine.unread import reads_all
from lrptool.graph import Graph
from lrptool.graph.passes import prune
from lrptool.ops import Values
from lrptool.rules import Composite

TOLERANCE = 1e-3
"""Of the start, in all; of the relevance that a node gets, without regard to sign, at every node."""

_BIASES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), (2,)),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "LayerNormalization"), (2,)),
    "BatchNormalization": (2, 3),
    "Sum": tuple(range(64)),
}
"""By operator: the inputs that are added, where they are constants. Means are taken off, too."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the relevance of one picture.

    Parameters
    ----------
    start, arrived : float
        At the scores, and at the pixels.
    taken : dict of str to float
        What nodes keep back by their rules, by cause.
    worst : str
        The node whose books differ most.
    worst_error : float
        By how much, relative to the relevance it got, without regard to sign.
    finite : bool
        Whether all activations and relevance are.
    conserving : bool
        Whether the rules mean to conserve; derivatives do not.
    negative : str
        A tensor with values below zero that counts as never negative; empty where there is none.
    """

    start: float
    arrived: float
    taken: dict[str, float]
    worst: str
    worst_error: float
    finite: bool
    conserving: bool
    negative: str = ""

    @property
    def error(self) -> float:
        """What nobody accounts for, relative to the start."""
        missing = abs(self.start - self.arrived - sum(self.taken.values()))
        return missing / abs(self.start) if self.start else float(missing > 0)

    @property
    def ok(self) -> bool:
        """Whether every value is finite and, where rules mean to conserve, the books balance."""
        balanced = self.error <= TOLERANCE and self.worst_error <= TOLERANCE
        return self.finite and not self.negative and (balanced or not self.conserving)


def without_biases(graph: Graph) -> Graph:
    """Return the graph with zeros in place of everything that layers and sums add; nothing else changes."""
    nodes, zeros = [], {}
    for node in graph.nodes:
        inputs = list(node.inputs)
        for k in _BIASES.get(node.op, ()):
            if k < len(inputs) and inputs[k] in graph.constants:
                name = f"{node.name}/no bias {k}"
                zeros[name] = np.zeros_like(graph.constants[inputs[k]])
                inputs[k] = name
        nodes.append(replace(node, inputs=tuple(inputs)))
    return prune(replace(graph, nodes=tuple(nodes), constants={**graph.constants, **zeros}))


def balance(
    graph: Graph, composite: Composite, x: Values, *, bounds: Bounds | None = None, threads: int = 0
) -> Balance:
    """Explain the best class of one picture and account for its relevance.

    Parameters
    ----------
    graph : Graph
        As `canonise` returns it.
    composite : Composite
    x : float32 (1, C, H, W)
    bounds : (array, array), optional
    threads : int

    Raises
    ------
    ConfigError, UnsupportedError
        The composite does not fit the network.
    """
    # The walk as explanations take it, and once more step by step: the first says what arrives, the second where.
    arrived = None
    if not reads_all(graph, composite.assign(graph)):
        arrived = _explained(Program(graph, composite, bounds=bounds, threads=threads, whole=False), x)
    program = Program(graph, composite, bounds=bounds, threads=threads)
    if arrived is None:
        arrived = _explained(program, x)
    activations = program.forward(x)
    output = activations[graph.output]
    relevance = initial_relevance(output, scores_of(output).argmax(1), "score")
    everything = Forward(graph, list(graph.tensors), threads)(x)
    finite = all(np.isfinite(values).all() for values in everything.values())
    ledger: list[Entry] = []
    kept = program.backward(activations, relevance, keep=list(graph.tensors), ledger=ledger)
    kept[graph.output] = relevance
    taken: Counter[str] = Counter()
    worst, worst_error = "", 0.0
    for step, entry in zip(program.steps, ledger, strict=True):
        at_outputs = [kept.get(name, np.zeros_like(everything[name])) for name in step.node.outputs]
        found = {cause: float(amount.sum()) for cause, amount in takings(step, graph, at_outputs, everything).items()}
        taken.update(found)
        difference = abs(float((entry.arrived - entry.passed_on).sum()) - sum(found.values()))
        error = difference / _size(at_outputs) if difference else 0.0
        if error > worst_error:
            worst, worst_error = step.node.name, error
    return Balance(
        start=float(relevance.sum(dtype=np.float64)),
        arrived=float(arrived.sum(dtype=np.float64)),
        taken={cause: amount for cause, amount in taken.items() if amount},
        worst=worst,
        worst_error=worst_error,
        finite=finite and all(np.isfinite(values).all() for values in kept.values()),
        conserving=all(step.rule.conserves for step in program.steps),
        negative=next(
            (name for name, spec in graph.tensors.items() if spec.nonnegative and everything[name].min() < 0), ""
        ),
    )


def _explained(program: Program, x: Values) -> Values:
    """Return the relevance of the pixels for the best class's score."""
    activations = program.forward(x)
    output = activations[program.graph.output]
    return program.backward(activations, initial_relevance(output, scores_of(output).argmax(1)))[
        program.graph.input.name
    ]


def _size(arrays: Sequence[Values]) -> float:
    """The sum of absolute values; never zero."""
    return float(sum(np.abs(array).sum(dtype=np.float64) for array in arrays)) or np.finfo(np.float64).tiny
