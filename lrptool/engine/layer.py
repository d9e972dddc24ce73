"""A layer with a share rule in its network: what it reads, by name, and how it hands relevance back."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrptool.engine.denominators import Denominators
from lrptool.engine.fused import FusedStep, Operands
from lrptool.engine.shares import ShareStep
from lrptool.kernels import MEMORY, Place
from lrptool.ops import Placing, Values

Activations = Mapping[str, Values]


@dataclass(frozen=True, slots=True)
class Layer:
    """A share rule at work on one node.

    Parameters
    ----------
    step : ShareStep
    inputs : tuple of str
        Where relevance goes.
    output : str
    output_shape : tuple of int
        Of an item.
    reads_input : bool
        Whether its inputs are looked at.
    preactivation : str or None
        The tensor that serves as pre-activation, where that is looked at.
    denominators : Denominators
        Those that depend on the picture. Other shares divide by the pre-activation itself or by what no picture
        changes.
    rectified : str or None
        The ReLU's output that serves as pre-activation there.
    few : bool
        Whether only channels that relevance starts at get any: no others are asked for their denominators.
    """

    step: ShareStep
    inputs: tuple[str, ...]
    output: str
    output_shape: tuple[int, ...]
    reads_input: bool
    preactivation: str | None
    denominators: Denominators
    rectified: str | None
    few: bool = False

    def redistribute(self, relevances: Sequence[Values], activations: Activations) -> tuple[Values, ...]:
        """Return the relevance of every input, given that of the output."""
        names = self.denominators.names
        given = {number: activations[name] for number, name in names.items() if name in activations}
        given |= {number: 0.5 * given[number] for number in self.denominators.doubled & given.keys()}
        xs, z = self.operands(activations)
        return self.step(xs, z, relevances[0], given)

    def operands(self, activations: Activations) -> tuple[list[Values], Values | None]:
        """Return inputs (none where they are not looked at) and pre-activation."""
        xs = [activations[name] for name in self.inputs] if self.reads_input else []
        return xs, activations[self.preactivation] if self.preactivation else None

    def asks(self, computed: Container[str]) -> bool:
        """Whether anything is `missing`, given what has been computed."""
        if self.step.relative and any(share.normalised for share in self.step.shares):
            return True
        names, rests = self.denominators.names, self.denominators.rests
        return any(name not in computed for number, name in names.items() if number not in rests)

    def missing(self, activations: Activations, dtype: DTypeLike, channels: NDArray[np.int64]) -> dict[str, Values]:
        """Return what the forward session has not computed: denominators, and ε where it is relative to them.

        `channels` are those of the network's output that have relevance.
        """
        found: dict[str, Values] = {}
        for number, share in enumerate(self.step.shares):
            name = self.denominators.names.get(number)
            if number in self.denominators.rests:
                continue
            computed = name is None or name in activations
            if computed and not (self.step.relative and share.normalised):
                continue
            xs, z = self.operands(activations)
            denominator = (
                activations[name]
                if name is not None and computed
                else self._of_few(number, xs, z, dtype, channels)
                if self.few and not self.step.relative
                else self.step.denominator(number, xs, z, self._like(dtype))
            )
            if name is not None and not computed:
                found[name] = 2 * denominator if number in self.denominators.doubled else denominator
            if self.step.relative and share.normalised:
                found[self._epsilon(number)] = self.step.epsilons(denominator, len(xs[0]) if xs else len(denominator))
        return found

    def _of_few(
        self, number: int, xs: Sequence[Values], z: Values | None, dtype: DTypeLike, channels: NDArray[np.int64]
    ) -> Values:
        """Return denominators of some channels, and ones for those that get no relevance."""
        like = self._like(dtype)
        part = None if z is None else z[:, channels]
        found = self.step.narrowed(channels).denominator(number, xs, part, like[:, channels])
        denominator = MEMORY.take((len(found), *self.output_shape), np.dtype(dtype))
        denominator.fill(1)
        denominator[:, channels] = found
        return denominator

    def add_to(self, fused: FusedStep, placing: Placing, arriving: Sequence[Place]) -> None:
        """Add the tasks that do the same as `redistribute`."""
        r, z = arriving[0], self.rectified or self.preactivation
        numbers = range(len(self.step.shares))
        rests = self.denominators.rests
        operands = Operands(
            r=r,
            z=placing.activation(z) if z else r,
            denominators=[self._denominator(rests.get(number, number), placing, r) for number in numbers],
            rests=rests.keys(),
            epsilons=[self._epsilon_place(number, placing) for number in numbers],
            doubled=self.denominators.doubled,
        )
        for k, name in enumerate(self.inputs):
            out, accumulate = placing.into(name)
            x = placing.activation(name) if self.reads_input else None
            constants = self.step.constants(k, placing.schedule.dtype)
            fused.add_to(placing.schedule, k, operands, x, constants, out, accumulate=accumulate)

    def _epsilon(self, number: int) -> str:
        """The name of a relative ε among the activations."""
        return f"{self.output}/epsilon{number}"

    def _epsilon_place(self, number: int, placing: Placing) -> Place:
        """Where a share's ε lies."""
        if self.step.relative:
            return placing.schedule.named(self._epsilon(number), 1)
        epsilon = self.step.epsilons(np.zeros((1, 1), placing.schedule.dtype), 1)
        return placing.schedule.hold(2 * epsilon if number in self.denominators.doubled else epsilon)

    def _denominator(self, number: int, placing: Placing, r: Place) -> Place:
        """Where a share's denominator lies."""
        if not self.step.shares[number].normalised:
            return r
        if number in self.denominators.names:
            return placing.schedule.named(self.denominators.names[number], placing.values(self.output))
        if self.preactivation is not None and self.step.divides_by_preactivation(number):
            return placing.activation(self.preactivation)
        like = self._like(placing.schedule.dtype)
        return placing.schedule.hold(self.step.denominator(number, (), None, like))

    def _like(self, dtype: DTypeLike) -> Values:
        """An item of the output, for its shape and dtype; takes up no memory."""
        return np.broadcast_to(np.zeros((), dtype), (1, *self.output_shape))
