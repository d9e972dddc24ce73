"""Every rule, side by side: what it does, its formula, its parameters, where it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lrptool.errors import ConfigError
from lrptool.ops import WeightPart
from lrptool.rules.rule import Rule, Share, Term, Value

ALL, POS, NEG = WeightPart("all"), WeightPart("pos"), WeightPart("neg")
SQUARED, ONE = WeightPart("squared"), WeightPart("one")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number, switch or list a rule takes.

    Parameters
    ----------
    default : value
    help : str
    minimum : float
        Smallest number allowed.
    """

    default: Value
    help: str
    minimum: float = -math.inf

    def check(self, where: str, value: Any) -> Value:
        """Return the value in its proper type; ConfigError where it cannot be one."""
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ConfigError(f"{where}: expected true or false, found {value!r}")
            return value
        if self.default is None and isinstance(value, (list, tuple)):
            return tuple(_number(where, v, self.minimum) for v in value)
        return None if self.default is None and value is None else _number(where, value, self.minimum)


_LARGEST = 3e38
"""Beyond this, float32 has only infinity."""


def _number(where: str, value: Any, minimum: float) -> float:
    """Return a finite float ≥ minimum; YAML reads ``1e-6`` as text, so text of a number is one."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST or number < minimum:
        least = f" of at least {minimum:g}" if minimum > -math.inf else ""
        raise ConfigError(f"{where}: expected a number{least}, found {value!r}")
    return number


def _no_shares(_: Rule) -> tuple[Share, ...]:
    """Treatments have none."""
    return ()


def _as_given(given: dict[str, Value]) -> dict[str, Value]:
    """Nothing follows from what was given."""
    return given


def _anything(_: Rule) -> None:
    """No condition ties the parameters together."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule's page.

    Parameters
    ----------
    does, use_for, formula, source : str
    parameters : mapping of str to Parameter
    shares : callable
        Rule → its rows; none for a treatment.
    validate : callable
        Raises ConfigError where parameters contradict each other.
    complete : callable
        Adds the parameters that follow from those given.
    conserves : bool
        Whether it means to hand on what it gets.
    """

    does: str
    use_for: str
    formula: str
    source: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    shares: Callable[[Rule], tuple[Share, ...]] = _no_shares
    validate: Callable[[Rule], None] = _anything
    complete: Callable[[dict[str, Value]], dict[str, Value]] = _as_given
    conserves: bool = True


_EPSILON = Parameter(1e-6, "stabiliser ε added to the denominator, by its sign", 0)
_STABILISER = {
    "epsilon": _EPSILON,
    "clip": Parameter(default=False, help="raise |z| to at least ε instead of adding ε"),
    "relative": Parameter(default=False, help="count ε in units of the root mean square of z over one item"),
}
_SHARE = _STABILISER | {"bias": Parameter(default=True, help="whether the bias takes its share of the relevance")}
_BOUNDS = {
    "low": Parameter(None, "smallest input value, one number or one per channel; from the preprocessing unless given"),
    "high": Parameter(None, "largest input value, likewise"),
}


def _bias(rule: Rule, part: WeightPart) -> WeightPart | None:
    """The bias' part, or none where the rule leaves the bias out."""
    return part if rule["bias"] else None


def _epsilon(rule: Rule) -> tuple[Share, ...]:
    return (Share((Term("all", ALL),), _bias(rule, ALL)),)


def _zplus(rule: Rule) -> tuple[Share, ...]:
    return (Share((Term("pos", POS), Term("neg", NEG)), _bias(rule, POS)),)


def _alpha_beta(rule: Rule) -> tuple[Share, ...]:
    alpha, beta = rule.number("alpha"), rule.number("beta")
    positive = Share((Term("pos", POS), Term("neg", NEG)), _bias(rule, POS), alpha)
    negative = Share((Term("pos", NEG), Term("neg", POS)), _bias(rule, NEG), -beta)
    return tuple(share for share in (positive, negative) if share.coefficient != 0)


def _gamma(rule: Rule) -> tuple[Share, ...]:
    up, down = WeightPart("gamma-pos", rule.number("gamma")), WeightPart("gamma-neg", rule.number("gamma"))
    return (
        Share((Term("pos", up), Term("neg", down)), _bias(rule, up), where="positive"),
        Share((Term("pos", down), Term("neg", up)), _bias(rule, down), where="negative"),
    )


def _gamma_literal(rule: Rule) -> tuple[Share, ...]:
    up = WeightPart("gamma-pos", rule.number("gamma"))
    return (Share((Term("all", up),), _bias(rule, ALL)),)


def _zplus_literal(rule: Rule) -> tuple[Share, ...]:
    return (Share((Term("all", POS),), _bias(rule, ALL)),)


def _zbox(_: Rule) -> tuple[Share, ...]:
    # The expansion's root point meets the layer's zero: the bias cancels and has no share.
    return (Share((Term("all", ALL), Term("low", POS, -1), Term("high", NEG, -1))),)


def _wsquare(rule: Rule) -> tuple[Share, ...]:
    return (Share((Term("one", SQUARED),), _bias(rule, SQUARED)),)


def _flat(_: Rule) -> tuple[Share, ...]:
    return (Share((Term("one", ONE),)),)


def _gradient(_: Rule) -> tuple[Share, ...]:
    return (Share((Term("one", ALL),), normalised=False),)


def _partner(given: dict[str, Value]) -> dict[str, Value]:
    """α and β are one apart: either one says the other."""
    alpha, beta = given.get("alpha"), given.get("beta")
    if isinstance(alpha, float) and beta is None:
        return {**given, "beta": alpha - 1}
    if isinstance(beta, float) and alpha is None:
        return {**given, "alpha": beta + 1}
    return given


def _alpha_minus_beta(rule: Rule) -> None:
    """α − β = 1: anything else creates or destroys relevance in every layer."""
    alpha, beta = rule.number("alpha"), rule.number("beta")
    if not math.isclose(alpha - beta, 1, abs_tol=1e-9):
        raise ConfigError(
            f"rule 'alpha-beta': expected alpha − beta = 1, found {alpha:g} − {beta:g}",
            hint=f"for alpha {alpha:g} take beta {alpha - 1:g}",
        )


def _low_below_high(rule: Rule) -> None:
    """Both bounds or none, each low at most its high."""
    low, high = (value if isinstance(value, tuple) else (value,) for value in (rule["low"], rule["high"]))
    if (low == (None,)) != (high == (None,)):
        raise ConfigError("rule 'zbox': expected both low and high or neither", hint="give the other bound, too")
    if len({len(low), len(high), 1} - {1}) > 1 or not low or not high:
        raise ConfigError(f"rule 'zbox': expected one bound or one per channel, found {len(low)} low, {len(high)} high")
    pairs = zip(low * len(high) if len(low) == 1 else low, high * len(low) if len(high) == 1 else high, strict=True)
    if any(a is not None and b is not None and a > b for a, b in pairs):
        raise ConfigError("rule 'zbox': expected low ≤ high")


CATALOGUE: dict[str, Entry] = {
    "epsilon": Entry(
        "Shares relevance in proportion to each input's contribution x·w to the pre-activation; ε and the bias "
        "take theirs.",
        "dense layers near the output; a whole network when fine, signed detail matters more than a calm picture",
        "R_i = x_i Σ_j w_ij R_j / (z_j + ε sign z_j)",
        "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 58",
        _SHARE,
        _epsilon,
    ),
    "zplus": Entry(
        "Shares relevance among the contributions that raised the output; those that lowered it get nothing.",
        "convolutions in the middle of a network",
        "R_i = Σ_j (x_i w_ij)⁺ R_j / (Σ_i (x_i w_ij)⁺ + b_j⁺)",
        "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008; Bach et al. 2015 with α = 1, β = 0",
        _SHARE,
        _zplus,
    ),
    "zplus-literal": Entry(
        "The zplus rule as first written, for inputs ≥ 0: positive weights alone whatever the input's sign, bias "
        "unchanged.",
        "comparison with tools that use this form (captum); elsewhere take zplus",
        "R_i = x_i Σ_j w_ij⁺ R_j / (Σ_i x_i w_ij⁺ + b_j)",
        "Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10",
        _SHARE,
        _zplus_literal,
    ),
    "alpha-beta": Entry(
        "Treats raising and lowering contributions apart, weighted α and −β.",
        "convolutions, where evidence against the class should show: α = 2, β = 1",
        "R_i = Σ_j ( α (x_i w_ij)⁺ / P_j − β (x_i w_ij)⁻ / N_j ) R_j,  P_j = Σ_i (x_i w_ij)⁺ + b_j⁺,  N_j likewise",
        "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 60",
        {"alpha": Parameter(2.0, "weight α of what raised the output"), "beta": Parameter(1.0, "β = α − 1")} | _SHARE,
        _alpha_beta,
        _alpha_minus_beta,
        _partner,
    ),
    "gamma": Entry(
        "The epsilon rule with contributions that agree with the output's sign favoured by γ; for inputs of "
        "either sign.",
        "convolutions in the lower half of a network",
        "where z_j > 0: R_i = (x_i⁺ (w + γ w⁺) + x_i⁻ (w + γ w⁻)) R_j / (sum of the same over i + b_j + γ b_j⁺);"
        " mirrored where z_j < 0",
        "Andéol et al. 2021, arXiv:2106.04923; Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10",
        {"gamma": Parameter(0.25, "γ ≥ 0; 0 is the epsilon rule, large values approach zplus", 0)} | _SHARE,
        _gamma,
    ),
    "gamma-literal": Entry(
        "The gamma rule as first written, for inputs ≥ 0: positive weights favoured by γ whatever the input's sign.",
        "comparison with tools that use this form (captum); elsewhere take gamma",
        "R_i = x_i Σ_j (w + γ w⁺) R_j / (Σ_i x_i (w + γ w⁺) + b_j)",
        "Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10, section 10.2.3",
        {"gamma": Parameter(0.25, "γ ≥ 0", 0)} | _SHARE,
        _gamma_literal,
    ),
    "zbox": Entry(
        "For pixels between two bounds: contributions are measured from the bound that opposes each weight.",
        "the first layer, where inputs are pixels of either sign",
        "R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) R_j / Σ_i (the same)",
        "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, table 1",
        _BOUNDS | _STABILISER,
        _zbox,
        _low_below_high,
    ),
    "wsquare": Entry(
        "Shares relevance by the squared weights alone; the input's values play no part.",
        "the first layer, where inputs are unbounded",
        "R_i = Σ_j w_ij² R_j / Σ_i w_ij²",
        "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, table 1",
        _STABILISER | {"bias": Parameter(default=False, help="whether b² joins the denominator (as in zennit)")},
        _wsquare,
    ),
    "flat": Entry(
        "Shares relevance evenly over everything an output sees; padding gets nothing.",
        "the first layers, for a calm picture at the resolution of their receptive fields",
        "R_i = Σ_j R_j / (number of inputs of j)",
        "Lapuschkin et al. 2017, doi:10.1109/ICCVW.2017.191",
        _STABILISER,
        _flat,
    ),
    "gradient": Entry(
        "The derivative: nothing is normalised, nothing is conserved.",
        "comparison with gradients; start from `one` for the plain derivative of the score",
        "R_i = Σ_j w_ij R_j",
        "Simonyan et al. 2014, arXiv:1312.6034",
        {},
        _gradient,
        conserves=False,
    ),
    "proportion": Entry(
        "Shares relevance in proportion to the inputs' values; the epsilon rule of a layer whose weights are all "
        "alike.",
        "average pooling and sums (the default there)",
        "R_i = Σ_j x_i R_j / Σ_i x_i",
        "Bach et al. 2015, doi:10.1371/journal.pone.0130140",
        _SHARE,
        _epsilon,
    ),
    "pass": Entry(
        "Hands relevance on unchanged.",
        "activations, dropout and local response normalisation (the default there)",
        "R_i = R_j",
        "Bach et al. 2015, doi:10.1371/journal.pone.0130140",
    ),
    "route": Entry(
        "Hands relevance to where the value came from: the first maximum in scan order, the slice, the position.",
        "max pooling, concatenation, splits and reshapes (the default there)",
        "R_i = Σ_j R_j over the outputs that are copies of input i",
        "Bach et al. 2015, doi:10.1371/journal.pone.0130140",
    ),
    "signal-takes-all": Entry(
        "In a product, all relevance goes to the signal and none to the gate that scales it.",
        "squeeze-and-excitation and other gates (the default for products)",
        "R_signal = R_j, R_gate = 0",
        "Arras et al. 2017, doi:10.18653/v1/W17-5221",
    ),
    "taylor": Entry(
        "Local response normalisation by a first-order Taylor expansion: neighbours that suppress a value get a share.",
        "local response normalisation with strong suppression, instead of pass",
        "R_i = Σ_k ζ_ik R_k / Σ_i ζ_ik,  ζ_kk = x_k (k + (α/n) x_k²)^−β,  ζ_ik = −2 (α/n) β x_k x_i² scale_k^(−β−1)",
        "Binder et al. 2016, doi:10.1007/978-3-319-44781-0_8",
        {"epsilon": _EPSILON},
    ),
    "linearised": Entry(
        "Local response normalisation by input times gradient of its own linearisation.",
        "comparison with tools that put the epsilon rule on this layer (captum)",
        "R_i = x_i Σ_k ∂y_k/∂x_i R_k / (y_k + ε sign y_k)",
        "Bach et al. 2015, doi:10.1371/journal.pone.0130140, on the local linearisation",
        {"epsilon": _EPSILON},
    ),
    "attnlrp": Entry(
        "In attention: a softmax by its first-order expansion; a product of two tensors by the epsilon rule, half of "
        "the relevance to each.",
        "transformers (the default for inner softmaxes and products of two tensors)",
        "softmax: R_i = x_i (R_i − s_i Σ_j R_j); O = A B: R_A = A (R / 2(O + ε)) Bᵀ, R_B = B Aᵀ (R / 2(O + ε))",
        "Achtibat et al. 2024, arXiv:2402.05602",
        {"epsilon": _EPSILON},
    ),
    "cp-lrp": Entry(
        "In attention, takes the weights as constants: all relevance goes to the values, none through the softmax.",
        "transformers, on softmaxes and on products of two tensors, when calm pictures matter more than the share of "
        "queries and keys",
        "O = A V, A from a softmax: R_V = V Aᵀ (R / (O + ε)), R_A = 0",
        "Ali et al. 2022, arXiv:2202.07304",
        {"epsilon": _EPSILON},
    ),
    "detached": Entry(
        "A normalisation by an item's own mean and spread, the spread held constant: the epsilon rule on the linear "
        "map that is left.",
        "layer, group and instance normalisation (the default there)",
        "z = (x − mean x) w / σ + b, σ constant: R_i = x_i Σ_j ∂z_j/∂x_i R_j / (z_j + ε sign z_j)",
        "Achtibat et al. 2024, arXiv:2402.05602; Ali et al. 2022, arXiv:2202.07304",
        {"epsilon": _EPSILON},
    ),
    "deconvnet": Entry(
        "At a ReLU, hands on only what is positive.",
        "the deconvnet method, together with gradient on the layers",
        "R_i = max(R_j, 0)",
        "Zeiler and Fergus 2014, doi:10.1007/978-3-319-10590-1_53",
        conserves=False,
    ),
    "guided": Entry(
        "At a ReLU, hands on only what is positive where the unit was active.",
        "guided backpropagation, together with gradient on the layers",
        "R_i = max(R_j, 0) · [x_i > 0]",
        "Springenberg et al. 2015, arXiv:1412.6806",
        conserves=False,
    ),
}
"""Rule name → its page."""
