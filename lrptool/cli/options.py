"""Options that several commands share, bundled in decorators."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lrptool.cli.talk import talk_json

if TYPE_CHECKING:
    from lrptool.api import Model
    from lrptool.rules import Composite

# Named here because the colour maps' own module is heavy, and --help is not.
COLOUR_MAPS = (
    *("seismic", "bwr", "coldnhot", "france", "coolio", "coleus"),
    *("black-firered", "black-green", "blue-black-yellow", "gray-red", "gray-red2"),
    *("gray", "hot", "firered", "cold", "wred", "wblue"),
)

_F = TypeVar("_F", bound=Callable[..., Any])
_LARGEST = 3.4e38
"""Beyond this, float32 has only infinity."""
_RULE_NUMBERS = ("epsilon", "alpha", "beta", "gamma")


class Finite(click.FloatRange):
    """A number that float32 can hold; ``nan`` and ``inf`` are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not abs(number) <= _LARGEST:
            self.fail(f"expected a finite number, found {value!r}", param, ctx)
        return number


class Bytes(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
    """An amount of memory: a number, with K, M, G or T for powers of 1024."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        size = int(float(found[1]) * 1024 ** ("KMGT".find(found[2].upper()) + 1 if found[2] else 0)) if found else 0
        if size < 1:
            self.fail(f"expected a size such as 800M or 2G, found {value!r}", param, ctx)
        return size


class InputShape(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
    """The shape of the network's input: C,H,W or N,C,H,W."""

    name = "C,H,W"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the sizes."""
        words = str(value).replace("x", ",").replace("×", ",").split(",")
        if len(words) not in (3, 4) or not all(word.strip().isdecimal() and int(word) for word in words):
            self.fail(f"expected three or four sizes such as 3,224,224, found {value!r}", param, ctx)
        return tuple(map(int, words))


def _stack(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Return one decorator out of several, applied so that help lists them in this order."""

    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def model_options(function: _F) -> _F:
    """Add ``--model`` and what goes with it."""
    return _model_options(required=True)(function)


def model_options_optional(function: _F) -> _F:
    """Add the same for a command that can do without a model."""
    return _model_options(required=False)(function)


def _model_options(*, required: bool) -> Callable[[_F], _F]:
    """The options that name a model."""
    return _stack(
        click.option(
            "-m",
            "--model",
            required=required,
            metavar="NAME|FILE",
            help="A model's name (see lrptool models list), a folder with a card, a .prototxt, .caffemodel or .onnx.",
        ),
        network_options,
    )


def network_options(function: _F) -> _F:
    """Add what goes with a model, however it is named."""
    return _stack(
        click.option("-w", "--weights", metavar="FILE|random[:SEED]", help="The .caffemodel, or random weights."),
        click.option("--head", metavar="NAME", help="Layer or tensor with the scores, where a network has several."),
        click.option("--input-shape", type=InputShape(), help="Size of the input, where the file leaves it open."),
        click.option("--models-dir", metavar="DIR", help="Where to look for models first; see also LRPTOOL_MODELS."),
        click.option("--no-fetch", is_flag=True, help="Never fetch a model; LRPTOOL_OFFLINE=1 does the same."),
        click.option("--labels", metavar="FILE", help="Class names, one per line, instead of the card's."),
        click.option("--threads", type=click.IntRange(0), default=0, help="Threads to compute with; 0: all cores."),
    )(function)


def picture_options(function: _F) -> _F:
    """Add what can be said about preprocessing."""
    return _stack(
        click.option("--channels", type=click.Choice(["BGR", "RGB", "GRAY"]), help="The network's channel order."),
        click.option("--mean", metavar="LIST|FILE", help="Mean per channel (104,117,123), a .binaryproto or a .npy."),
        click.option("--raw-scale", type=Finite(), help="What white is before the mean is subtracted: 255 or 1."),
        click.option("--input-scale", type=Finite(), help="Factor after the mean."),
        click.option("--resize", type=click.IntRange(1, 16_384), metavar="SIDE", help="Side before the centre crop."),
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


def target_options(function: _F) -> _F:
    """Add what to explain of an input."""
    return _stack(
        click.option(
            "-t",
            "--target",
            "targets",
            multiple=True,
            metavar="CLASS",
            help="top, an index, a label or its beginning, a synset id; repeatable.  [default: top]",
        ),
        click.option("-k", "--top", type=click.IntRange(1), help="Explain each of the K best classes."),
        click.option("--against", metavar="CLASS", help="Explain why the target rather than this class."),
        click.option("--start", type=click.Choice(["score", "one", "contrast"]), help="What relevance starts as."),
    )(function)


def look_options(function: _F) -> _F:
    """Add what pictures show."""
    return _stack(
        click.option(
            "--cmap",
            default="seismic",
            show_default=True,
            metavar="NAME|COLOURS",
            help=f"Colour map ({', '.join(COLOUR_MAPS)}), or colours such as 00f,80:fff,f00.",
        ),
        click.option("--overlay", is_flag=True, help="Lay the heatmap over the photo."),
        click.option("--panel", is_flag=True, help="Photo, heatmap and overlay side by side, with labels."),
        click.option(
            "--percentile",
            type=Finite(50, 100),
            default=99.5,
            show_default=True,
            help="Percentile of |relevance| where colours saturate; 100: its largest value.",
        ),
    )(function)


def pace_options(batch_size: str) -> Callable[[_F], _F]:
    """Return what adds how much is computed at a time; the default is given in words."""
    together = f"Pictures computed together.  [default: {batch_size}]"
    return _stack(
        click.option("--batch-size", type=click.IntRange(1), help=together),
        click.option("--memory", type=Bytes(), help="Choose the batch size so that so much memory is enough, e.g. 2G."),
    )


def check_pace(given: Mapping[str, Any]) -> None:
    """Raise a usage error where the options of `pace_options` contradict each other."""
    if given["memory"] and given["batch_size"]:
        raise click.UsageError("--memory chooses the batch size: --batch-size is not needed")


def quiet_options(function: _F) -> _F:
    """Add how much is said on stderr, and how."""
    return _stack(
        click.option("-q", "--quiet", is_flag=True, help="No remarks on stderr."),
        click.option(
            "--log-json",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda _ctx, _param, value: talk_json(value),
            help="Write remarks and errors as JSON lines.",
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
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return text
    if not all(abs(number) <= _LARGEST for number in numbers):
        raise click.BadParameter(f"expected finite numbers, found {text!r}", param_hint="--mean")
    return numbers


def model_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that name a model, by the names `lrptool.load` has for them."""
    for option in ("model", "weights", "labels", "head"):
        if given[option] == "":
            raise click.BadParameter("expected a name or a file, found nothing", param_hint=f"--{option}")
    named = {key: given[key] for key in ("model", "weights", "models_dir", "labels", "threads")}
    named |= {"allow_fetch": not given["no_fetch"], "input_shape": given["input_shape"], "output": given["head"]}
    return named | preprocess_of(given)


def open_model(given: Mapping[str, Any], *, quiet: bool) -> Model:
    """Load the model that the options name; it is fetched where it is not here."""
    named = model_of(given)
    from lrptool.api import load
    from lrptool.cli.memory import return_large_blocks
    from lrptool.cli.progress import Progress

    return_large_blocks()
    return load(**named, watch=Progress(quiet=quiet))


def chosen_composite(given: Mapping[str, Any]) -> Composite | None:
    """Return the composite that the options describe; None where they say nothing."""
    from lrptool.rules import Composite, Rule

    parameters = {name: given[name] for name in _RULE_NUMBERS if given[name] is not None}
    parameters |= dict(_setting(text) for text in given["settings"])
    if given["composite"] and given["rule"]:
        raise click.UsageError("--composite and --rule exclude each other")
    if given["rule"]:
        # Whatever --set names goes to the rule alone; `uniform` has a parameter of its own, called `rule`.
        Rule.of(given["rule"], **parameters)
        return Composite.uniform(given["rule"], **parameters)
    if given["composite"]:
        return Composite.load(given["composite"], **parameters)
    if parameters:
        raise click.UsageError(f"--{next(iter(parameters))} goes with --rule or --composite")
    return None


def _setting(text: str) -> tuple[str, Any]:
    """Return key and value of KEY=VALUE; the value as YAML reads it."""
    from lrptool.reading import read_yaml_text

    key, sign, value = text.partition("=")
    if not sign or not key:
        raise click.BadParameter(f"expected KEY=VALUE, found {text!r}", param_hint="--set")
    return key, read_yaml_text(value, f"--set {key}")
