"""The audit: what came in at every node, what went on, and what took the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrptool.engine.compiling import Step
from lrptool.engine.shares import Taken
from lrptool.ops import Values


@dataclass(frozen=True, slots=True)
class Entry:
    """One node's line in the ledger; every amount is float64 (N,), one per item of the batch.

    Parameters
    ----------
    node, op, rule : str
    arrived, passed_on : array
        Relevance at the node's outputs and at its inputs.
    bias, stabiliser : array
        What these kept back.
    other : array
        The rest of the difference: normalisation layers, rules that do not conserve, rounding.
    """

    node: str
    op: str
    rule: str
    arrived: Values
    passed_on: Values
    bias: Values
    stabiliser: Values
    other: Values


def _total(arrays: Sequence[Values], batch: int) -> Values:
    """Sum per item in float64."""
    return sum((array.reshape(batch, -1).sum(axis=1, dtype=np.float64) for array in arrays), np.zeros(batch))


def ledger_entry(
    step: Step, arrived: Sequence[Values], passed_on: Sequence[Values], activations: Mapping[str, Values]
) -> Entry:
    """Return a node's line, given what arrived at its outputs and what it handed to its inputs."""
    batch = len(arrived[0])
    came, went = _total(arrived, batch), _total(passed_on, batch)
    taken = Taken(np.zeros(batch), np.zeros(batch))
    if step.layer is not None:
        taken = step.layer.step.taken(*step.layer.operands(activations), arrived[0])
    other = came - went - taken.bias - taken.stabiliser
    return Entry(step.node.name, step.node.op, str(step.rule), came, went, taken.bias, taken.stabiliser, other)
