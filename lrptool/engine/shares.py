"""Share rules on a linear map: what a rule's rows become for one layer, and the redistribution itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrptool.engine.fused import FusedStep, Operands, by_part
from lrptool.engine.steady import is_steady
from lrptool.errors import ConfigError
from lrptool.kernels import Place, Schedule
from lrptool.ops import ConvMap, LinearMap, Values, WeightPart
from lrptool.rules import IMAGE_FREE, InputPart, Rule, Share, Stabiliser, Term

_ALL = WeightPart("all")
_BOUNDS: tuple[InputPart, ...] = ("low", "high")


@dataclass(frozen=True, slots=True)
class Taken:
    """Relevance per item (N,) that did not reach the inputs of a node, by reason; float64."""

    bias: Values
    stabiliser: Values


def simplify(rule: Rule, *, nonnegative: bool, rectified: bool = False) -> tuple[Share, ...]:
    """Return the rule's shares without what is known to be nothing.

    Parameters
    ----------
    rule : Rule
    nonnegative : bool
        No input is negative: terms of its negative part go.
    rectified : bool
        Relevance arrives only where the pre-activation is positive: shares of negative ones go, and those of positive
        ones need not look.
    """
    shares = rule.shares
    if rectified:
        shares = tuple(replace(share, where="everywhere") for share in shares if share.where != "negative")
    if not nonnegative:
        return shares
    return tuple(
        replace(
            share,
            terms=tuple(replace(term, x="all") if term.x == "pos" else term for term in share.terms if term.x != "neg"),
        )
        for share in shares
    )


def reads_input(shares: Sequence[Share]) -> bool:
    """Whether the shares look at the layer's input."""
    return any(term.x not in IMAGE_FREE for share in shares for term in share.terms)


def _takes_preactivation(share: Share) -> bool:
    """Whether the denominator holds the all·all term: the layer's own pre-activation but for the bias."""
    return share.normalised and Term("all", _ALL) in share.terms


def reads_output(shares: Sequence[Share]) -> bool:
    """Whether the shares look at the layer's pre-activation."""
    return any(share.where != "everywhere" or _takes_preactivation(share) for share in shares)


def stabilise(z: Values, stabiliser: Stabiliser) -> Values:
    """Return z kept away from zero, same shape and dtype; sign(0) = +1."""
    epsilon: Values = np.asarray(stabiliser.epsilon, z.dtype)
    if stabiliser.relative:
        axes = tuple(range(1, z.ndim))
        epsilon = epsilon * np.sqrt(np.mean(z * z, axis=axes, keepdims=True))
    sign = np.where(z < 0, z.dtype.type(-1), z.dtype.type(1))
    if stabiliser.clip:
        return sign * np.maximum(np.abs(z), epsilon)
    return z + sign * epsilon


class ShareStep:
    """One layer with one share rule, ready to redistribute.

    Parameters
    ----------
    rule : Rule
    linear : LinearMap
    input_shapes : sequence of tuple of int
        Item shapes of the layer's inputs.
    nonnegative : bool
        Whether all inputs are known to be ≥ 0.
    bounds : (array, array), optional
        Smallest and largest value of the network's input, broadcastable to an item; for the zbox rule.
    rectified : bool
        Whether relevance arrives only where the pre-activation is positive.
    steady : bool
        Whether the relevance that arrives is in proportion to the pre-activation, see `lrptool.engine.steady`.
    sparse : bool
        Whether most of it is zero.

    Attributes
    ----------
    steady : bool
        Whether the relevance of the inputs is in proportion to them.
    nonnegative : bool
    biased : bool
        Whether the layer has a bias.
    """

    def __init__(
        self,
        rule: Rule,
        linear: LinearMap,
        input_shapes: Sequence[tuple[int, ...]],
        *,
        nonnegative: bool,
        bounds: tuple[Values, Values] | None = None,
        rectified: bool = False,
        steady: bool = False,
        sparse: bool = False,
    ) -> None:
        self.rule = rule
        self.shares = simplify(rule, nonnegative=nonnegative, rectified=rectified)
        self._linear = linear
        self._input_shapes = input_shapes
        self._stabiliser = rule.stabiliser if any(share.normalised for share in self.shares) else Stabiliser()
        parts = {term.x for share in self.shares for term in share.terms}
        self._bounds = _bounds_of(rule, bounds, input_shapes[0]) if {"low", "high"} & parts else None
        self._image_free: dict[tuple[Term, np.dtype[np.floating]], Values] = {}
        gathers = all(
            linear.gather(k, tuple(part for _, part, _ in sources), np.float32) is not None
            for sources in by_part(self.shares).values()
            for k in range(len(input_shapes))
        )
        self.nonnegative, self.biased = nonnegative, linear.bias(_ALL, np.zeros((1, 1), np.float32)) is not None
        fractions = steady and all(
            is_steady(share, nonnegative=nonnegative, rectified=rectified, biased=self.biased) for share in self.shares
        )
        self.steady = fractions and parts.isdisjoint(IMAGE_FREE)
        options = {"steady": fractions, "sparse": sparse}
        self.fused = FusedStep(self.shares, linear, self._stabiliser, **options) if gathers and self.shares else None

    def __call__(
        self, xs: Sequence[Values], z: Values | None, r: Values, denominators: Mapping[int, Values] | None = None
    ) -> tuple[Values, ...]:
        """Return the relevance of every input.

        Parameters
        ----------
        xs : sequence of array
            The layer's inputs; may be empty where `reads_input` is false.
        z : array or None
            The layer's pre-activation; None where `reads_output` is false.
        r : array
            Relevance of the layer's output, float32 or float64.
        denominators : mapping of int to array, optional
            Denominators that are there already, by number of share.
        """
        if self.fused is not None:
            return self._alone(self.fused, xs, z, np.ascontiguousarray(r), denominators or {})
        total: list[Values] | None = None
        for share in self.shares:
            s, _, _ = self._fractions(share, xs, z, r)
            for term in share.terms:
                parts = self._linear.transpose(s, term.w)
                factor = r.dtype.type(term.sign * share.coefficient)
                made = [self._weighed(term.x, k, xs, part, factor) for k, part in enumerate(parts)]
                total = made if total is None else [a + b for a, b in zip(total, made, strict=True)]
        if total is None:
            return tuple(np.zeros((r.shape[0], *shape), r.dtype) for shape in self._input_shapes)
        return tuple(total)

    def _alone(
        self,
        fused: FusedStep,
        xs: Sequence[Values],
        z: Values | None,
        r: Values,
        denominators: Mapping[int, Values],
    ) -> tuple[Values, ...]:
        """Carry out a schedule of this layer alone."""
        schedule = Schedule(len(r), r.dtype)

        def held(values: Values) -> Place:
            values = np.ascontiguousarray(values, schedule.dtype)
            return schedule.hold(values, values[0].size if len(values) == len(r) else 0)

        wanted = [
            denominators[k] if k in denominators else self.denominator(k, xs, z, r) if share.normalised else r
            for k, share in enumerate(self.shares)
        ]
        operands = Operands(
            r=held(r),
            z=held(r if z is None else z),
            denominators=[held(values) for values in wanted],
            epsilons=[held(self.epsilons(values, len(r))) for values in wanted],
        )
        results = tuple(np.empty((len(r), *shape), r.dtype) for shape in self._input_shapes)
        for k, result in enumerate(results):
            x = held(xs[k]) if xs else None
            fused.add_to(schedule, k, operands, x, self.constants(k, r.dtype), held(result), accumulate=False)
        schedule.run()
        return results

    def taken(self, xs: Sequence[Values], z: Values | None, r: Values) -> Taken:
        """Return what bias and stabiliser keep back; what the inputs get plus this is the relevance that came in."""
        axes = tuple(range(1, r.ndim))
        bias = stabiliser = np.zeros(r.shape[0])
        for share in self.shares:
            if not share.normalised:
                continue
            s, denominator, stable = self._fractions(share, xs, z, r)
            s = share.coefficient * s.astype(np.float64)
            stabiliser = stabiliser + np.sum((stable.astype(np.float64) - denominator) * s, axis=axes)
            part = None if share.bias is None else self._linear.bias(share.bias, r)
            if part is not None:
                bias = bias + np.sum(part * s, axis=axes)
        return Taken(bias, stabiliser)

    def _fractions(
        self, share: Share, xs: Sequence[Values], z: Values | None, r: Values
    ) -> tuple[Values, Values, Values]:
        """Return R / stabilised denominator, the denominator and the stabilised denominator."""
        if not share.normalised:
            return r, r, r
        denominator = self._sum(share, xs, z, r)
        stable = stabilise(denominator, self._stabiliser)
        if share.where != "everywhere" and z is not None:
            r = np.where(z > 0 if share.where == "positive" else z < 0, r, r.dtype.type(0))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return r / stable, denominator, stable

    def denominator(self, number: int, xs: Sequence[Values], z: Values | None, like: Values) -> Values:
        """Return a share's denominator, not stabilised: like's shape and dtype, or one item of it for all."""
        return self._sum(self.shares[number], xs, z, like)

    def narrowed(self, channels: NDArray[np.int64]) -> ShareStep:
        """Return the step of some channels of a convolution's output, to ask for their denominators."""
        if not isinstance(self._linear, ConvMap):
            raise TypeError("the layer is no convolution")
        step = copy(self)
        step._linear, step._image_free = self._linear.narrowed(channels), {}
        return step

    def epsilons(self, denominator: Values, batch: int) -> Values:
        """Return ε per item (N,); in units of the root mean square of the denominator where it is relative."""
        epsilon = np.full(batch, self._stabiliser.epsilon, denominator.dtype)
        if self.relative:
            squares = np.mean(denominator.astype(np.float64) ** 2, axis=tuple(range(1, denominator.ndim)))
            epsilon *= np.sqrt(squares).astype(denominator.dtype)
        return epsilon

    def divides_by_preactivation(self, number: int) -> bool:
        """Whether a share's denominator is the layer's own pre-activation."""
        share = self.shares[number]
        return share.terms == (Term("all", _ALL),) and share.bias == _ALL

    @property
    def relative(self) -> bool:
        """Whether ε depends on the denominators."""
        return self._stabiliser.relative

    @property
    def stays_finite(self) -> bool:
        """Whether nothing is divided by zero, whatever an output is where no relevance arrives."""
        return bool(np.float32(self._stabiliser.epsilon) > 0) and not self._stabiliser.relative

    @property
    def packs(self) -> bool:
        """Whether relevance is packed before it is handed back: the layer is a convolution in two dimensions."""
        return self.fused is not None and self.fused.packs

    def _sum(self, share: Share, xs: Sequence[Values], z: Values | None, r: Values) -> Values:
        """Σ sign · Ŵ x̂ + b̂, from the pre-activation where that holds part of it."""
        total: Values = np.zeros((), r.dtype)
        terms, bias = share.terms, share.bias
        if z is not None and _takes_preactivation(share):
            terms = tuple(term for term in terms if term != Term("all", _ALL))
            inside = None if bias == _ALL else self._linear.bias(_ALL, r)
            total = z if inside is None else z - inside
            bias = None if bias == _ALL else bias
        for term in terms:
            product = self._product(term, xs, r)
            total = total + product if term.sign > 0 else total - product
        part = None if bias is None else self._linear.bias(bias, r)
        total = total if part is None else total + part
        items = len(total) if total.ndim == r.ndim else 1
        return np.ascontiguousarray(np.broadcast_to(total, (items, *r.shape[1:])))

    def image_free_denominator(self, share: Share) -> Values:
        """Return what a denominator holds besides its products with the picture, float32, broadcastable to (1, …).

        Where the layer's own pre-activation is one of its terms, the bias in there is taken off again.
        """
        like: Values = np.zeros((1, 1), np.float32)
        total: Values = np.zeros((), np.float32)
        for term in share.terms:
            if term.x in IMAGE_FREE:
                product = self._product(term, (), like)
                total = total + product if term.sign > 0 else total - product
        own = self._linear.bias(_ALL, like) if Term("all", _ALL) in share.terms else None
        part = None if share.bias is None else self._linear.bias(share.bias, like)
        total = total if own is None else total - own
        return total if part is None else total + part

    def _product(self, term: Term, xs: Sequence[Values], r: Values) -> Values:
        """Ŵ x̂; computed once, for one item, where the picture plays no part."""
        if term.x not in IMAGE_FREE:
            return self._linear.forward([_part(x, term.x) for x in xs], term.w)
        key = (term, r.dtype)
        if key not in self._image_free:
            inputs = [self._constant(term.x, shape, r.dtype) for shape in self._input_shapes]
            self._image_free[key] = self._linear.forward(inputs, term.w)
        return self._image_free[key]

    def constants(self, k: int, dtype: DTypeLike) -> dict[InputPart, Values]:
        """Return the bounds as inputs (1, …), where a share is multiplied by them."""
        if self._bounds is None:
            return {}
        return {part: self._constant(part, self._input_shapes[k], dtype) for part in _BOUNDS}

    def _constant(self, part: InputPart, shape: tuple[int, ...], dtype: DTypeLike) -> Values:
        """Return a part that does not depend on the picture, (1, …)."""
        if part == "one" or self._bounds is None:
            return np.ones((1, *shape), dtype)
        bound = self._bounds[0] if part == "low" else self._bounds[1]
        return np.ascontiguousarray(np.broadcast_to(bound, (1, *shape)).astype(dtype))

    def _weighed(self, part: InputPart, k: int, xs: Sequence[Values], values: Values, factor: np.floating) -> Values:
        """factor · x̂ · values."""
        if part != "one":
            constant = part in IMAGE_FREE
            x = self._constant(part, self._input_shapes[k], values.dtype) if constant else _part(xs[k], part)
            values = x * values
        return values if factor == 1 else values * factor


def _part(x: Values, part: InputPart) -> Values:
    """Return a part of an input."""
    if part == "all":
        return x
    return np.maximum(x, 0) if part == "pos" else np.minimum(x, 0)


def _bounds_of(rule: Rule, bounds: tuple[Values, Values] | None, shape: Sequence[int]) -> tuple[Values, Values]:
    """Return the rule's own bounds, else those of the preprocessing, shaped to broadcast over an item."""
    own = [rule["low"], rule["high"]]
    if own[0] is not None:
        low, high = (np.asarray(value, np.float64) for value in own)
        for bound in (low, high):
            if bound.size not in (1, shape[0]):
                raise ConfigError(f"rule 'zbox': expected one bound or {shape[0]}, one per channel, found {bound.size}")
        channels = (-1, *(1,) * (len(shape) - 1))
        return low.reshape(channels), high.reshape(channels)
    if bounds is None:
        raise ConfigError(
            "rule 'zbox' needs the smallest and largest value of a pixel, and the model has no preprocessing",
            hint="give low and high: --set low=-123 --set high=150, or a card with 'preprocess'",
        )
    return bounds
