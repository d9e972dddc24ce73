"""Options that several commands share, bundled in decorators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from lrptool.api import Model
    from lrptool.rules import Composite

_F = TypeVar("_F", bound=Callable[..., Any])
_RULE_NUMBERS = ("epsilon", "alpha", "beta", "gamma")


def _stack(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Return one decorator out of several, applied so that help lists them in this order."""

    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def model_options(function: _F) -> _F:
    """Add ``--model`` and what goes with it."""
    return _stack(
        click.option(
            "-m",
            "--model",
            required=True,
            metavar="NAME|FILE",
            help="A model's name, a folder with a card, a .prototxt or a .caffemodel.",
        ),
        click.option("-w", "--weights", metavar="FILE|random[:SEED]", help="The .caffemodel, or random weights."),
        click.option("--models-dir", metavar="DIR", help="Where to look for models first; see also LRPTOOL_MODELS."),
        click.option("--labels", metavar="FILE", help="Class names, one per line, instead of the card's."),
        click.option("--threads", type=click.IntRange(0), default=0, help="Threads to compute with; 0: all cores."),
    )(function)


def picture_options(function: _F) -> _F:
    """Add what can be said about preprocessing."""
    return _stack(
        click.option("--channels", type=click.Choice(["BGR", "RGB", "GRAY"]), help="The network's channel order."),
        click.option("--mean", metavar="LIST|FILE", help="Mean per channel (104,117,123), a .binaryproto or a .npy."),
        click.option("--raw-scale", type=float, help="What white is before the mean is subtracted: 255 or 1."),
        click.option("--input-scale", type=float, help="Factor after the mean."),
        click.option("--resize", type=click.IntRange(1), metavar="SIDE", help="Side before the centre crop."),
        click.option("--resize-mode", type=click.Choice(["squash", "shortest"]), help="What --resize means."),
        click.option("--invert", type=click.Choice(["yes", "no", "auto"]), help="Swap dark and light."),
    )(function)


def rule_options(function: _F) -> _F:
    """Add ``--composite``, ``--rule`` and their parameters."""
    return _stack(
        click.option("-c", "--composite", metavar="NAME|FILE", help="Preset or YAML file; see lrptool composites."),
        click.option("--rule", metavar="NAME", help="One rule on every layer with weights; see lrptool rules."),
        *(click.option(f"--{name}", type=float, help=f"The rule's or composite's {name}.") for name in _RULE_NUMBERS),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other parameter of rule or composite."
        ),
    )(function)


_PREPROCESS = {
    "channels": "channels",
    "raw_scale": "raw_scale",
    "input_scale": "scale",
    "resize": "resize",
    "resize_mode": "mode",
}


def preprocess_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preprocessing options that were given, by the names `lrptool.load` has for them."""
    chosen = {ours: given[key] for key, ours in _PREPROCESS.items() if given.get(key) is not None}
    if given.get("invert") is not None:
        chosen["invert"] = {"yes": True, "no": False, "auto": "auto"}[given["invert"]]
    if given.get("mean") is not None:
        chosen["mean"] = _mean(given["mean"])
    return chosen


def _mean(text: str) -> Any:
    """Return a list of numbers, or the file name it is."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return text


def open_model(given: Mapping[str, Any]) -> Model:
    """Load the model that the options name."""
    from lrptool.api import load  # noqa: PLC0415

    return load(
        given["model"],
        given["weights"],
        models_dir=given["models_dir"],
        labels=given["labels"],
        threads=given["threads"],
        **preprocess_of(given),
    )


def chosen_composite(given: Mapping[str, Any]) -> Composite | None:
    """Return the composite that the options describe; None where they say nothing."""
    from lrptool.rules import Composite  # noqa: PLC0415

    parameters = {name: given[name] for name in _RULE_NUMBERS if given[name] is not None}
    parameters |= dict(_setting(text) for text in given["settings"])
    if given["composite"] and given["rule"]:
        raise click.UsageError("--composite and --rule exclude each other")
    if given["rule"]:
        return Composite.uniform(given["rule"], **_with_partner(given["rule"], parameters))
    if given["composite"]:
        return Composite.load(given["composite"], **parameters)
    if parameters:
        raise click.UsageError(f"--{next(iter(parameters))} goes with --rule or --composite")
    return None


def _with_partner(rule: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Add the β that belongs to a lone α, or the other way round: α − β = 1."""
    if rule == "alpha-beta" and ("alpha" in parameters) != ("beta" in parameters):
        if "alpha" in parameters:
            return {**parameters, "beta": parameters["alpha"] - 1}
        return {**parameters, "alpha": parameters["beta"] + 1}
    return parameters


def _setting(text: str) -> tuple[str, Any]:
    """Return key and value of KEY=VALUE; the value as YAML reads it."""
    import yaml  # noqa: PLC0415

    key, sign, value = text.partition("=")
    if not sign or not key:
        raise click.BadParameter(f"expected KEY=VALUE, found {text!r}", param_hint="--set")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        return key, value
