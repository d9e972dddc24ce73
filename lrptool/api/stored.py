"""What an ONNX file says of its pictures and classes, where lrptool wrote it: written here, and read here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.api.model import Model
from lrptool.rules import preset_names
from lrptool.version import VERSION
from lrptool.zoo import Labels

_CHANNELS = 3
_PREPROCESS, _LABELS, _COMPOSITE = "lrptool.preprocess", "lrptool.labels", "lrptool.composite"


def _is_number(value: Any) -> bool:
    """Whether it is a number that float32 can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 3.4e38


def _is_side(value: Any) -> bool:
    """Whether it is a number of pixels."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 16_384


def _is_list(value: Any, of: Callable[[Any], bool]) -> bool:
    """Whether it is a list, not empty, of what `of` says."""
    return isinstance(value, list) and bool(value) and all(map(of, value))


_ACCEPTED: Mapping[str, Callable[[Any], bool]] = {
    "resize": lambda v: v is None or _is_side(v) or (_is_list(v, _is_side) and len(v) == 2),
    "mode": lambda v: v in ("squash", "shortest"),
    "channels": lambda v: v in ("BGR", "RGB", "GRAY"),
    "raw_scale": _is_number,
    "mean": lambda v: v is None or _is_list(v, _is_number),
    "scale": _is_number,
    "std": lambda v: v is None or _is_list(v, _is_number),
    "invert": lambda v: v in (True, False, "auto"),
    "fit": lambda v: v in (None, "mnist"),
}
"""What a file may say of its pictures, and whether it says that well; a file may come from anywhere."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file says.

    Parameters
    ----------
    preprocess : mapping
        Settings by the names that `lrptool.load` has for them; none where the file says nothing, or nothing sensible.
    labels : tuple of str or None
    composite : str or None
    """

    preprocess: Mapping[str, Any]
    labels: tuple[str, ...] | None
    composite: str | None


def describe(model: Model) -> dict[str, str]:
    """Return what a file is to say of a model, by key.

    A mean image is left out, see `unsaid`: it is larger than everything else together.
    """
    made = model.preprocessing
    mean = _mean(model)
    std = None if made.std is None else np.asarray(made.std, np.float64).ravel()
    settings = {
        "resize": list(made.resize) if isinstance(made.resize, tuple) else made.resize,
        "mode": made.mode,
        "channels": made.channels,
        "raw_scale": made.raw_scale,
        "mean": None if mean is None or mean.size > _CHANNELS else mean.tolist(),
        "scale": made.input_scale,
        "std": None if std is None else std.tolist(),
        "invert": made.invert,
        "fit": made.fit,
    }
    facts = {
        "lrptool.version": VERSION,
        "lrptool.source": model.name,
        "lrptool.sha256": model.sha256,
        "lrptool.weights": model.random_weights,
        _PREPROCESS: json.dumps(settings),
        _LABELS: json.dumps(_lines(model.labels), ensure_ascii=False) if model.labels.names else None,
        _COMPOSITE: model.default_composite,
    }
    return {key: value for key, value in facts.items() if value is not None}


def unsaid(model: Model) -> tuple[str, ...]:
    """Return what a file cannot say of a model, for people."""
    mean = _mean(model)
    if mean is None or mean.size <= _CHANNELS:
        return ()
    return ("the mean image does not go with the file: name it with --mean when pictures are explained",)


def _mean(model: Model) -> NDArray[np.float64] | None:
    """The mean, flat."""
    mean = model.preprocessing.mean
    return None if mean is None else np.asarray(mean, np.float64).ravel()


def _lines(labels: Labels) -> list[str]:
    """The class names as a file of labels has them, one per line."""
    if not labels.synsets:
        return list(labels.names)
    return [f"{synset} {names}" for synset, names in zip(labels.synsets, labels.names, strict=True)]


def stored_in(metadata: Mapping[str, str]) -> Stored:
    """Return what a file says of itself; what makes no sense is left out."""
    said = _json(metadata.get(_PREPROCESS))
    preprocess = said if isinstance(said, dict) else {}
    known = {key: value for key, value in preprocess.items() if key in _ACCEPTED and _ACCEPTED[key](value)}
    lines = _json(metadata.get(_LABELS))
    named = _is_list(lines, lambda line: isinstance(line, str))
    composite = metadata.get(_COMPOSITE)
    return Stored(
        {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()},
        tuple(lines) if named else None,
        composite if composite in preset_names() else None,
    )


def _json(text: str | None) -> Any:
    """Return what a text says in JSON; None where that is nothing."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
