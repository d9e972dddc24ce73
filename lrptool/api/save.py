"""Explanations as pictures and files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrptool.api.explanation import Explanation
from lrptool.api.model import Model
from lrptool.files import replacing
from lrptool.graph import Array
from lrptool.imaging import (
    colormap,
    coloured,
    colourise,
    encode_png,
    normalise,
    overlay,
    panel,
    resize_heatmap,
)
from lrptool.version import VERSION

DEFAULT_COLOURS = "seismic"
DEFAULT_PERCENTILE = 99.5
"""A few pixels hold most of an epsilon map's largest values: without this the rest of it could not be seen."""
SMALLEST_SIDE = 224
"""Pictures of fewer pixels (a digit of 28 × 28, say) are enlarged by a whole factor until they have about this many."""
LARGEST_SIDE = 2048
"""No picture is enlarged beyond this: a strip of 2 × 3000 pixels stays one."""


@dataclass(frozen=True, slots=True)
class Style:
    """How relevance becomes colours.

    Parameters
    ----------
    cmap : str
        A map's name, or colours such as ``00f,80:fff,f00``.
    percentile : float
        Colours saturate at this percentile of |relevance|; 100: at its largest value.

    Raises
    ------
    ConfigError
        No such map.
    """

    cmap: str = DEFAULT_COLOURS
    percentile: float = DEFAULT_PERCENTILE

    def __post_init__(self) -> None:
        colormap(self.cmap)


@dataclass(frozen=True, slots=True)
class Caption:
    """What a panel says of a result: the class, its score before the softmax and its probability, and by what."""

    label: str
    score: float
    probability: float | None
    composite: str
    model: str


def picture(
    model: Model, explanation: Explanation, k: int, photo: Image.Image | None, view: str, style: Style
) -> Image.Image:
    """Return one explanation as a picture.

    Parameters
    ----------
    model : Model
    explanation : Explanation
    k : int
        Which of its pictures.
    photo : PIL picture or None
        The photo explained, RGB; None where the input was an array.
    view : {"heatmap", "overlay", "panel"}
    style : Style

    Returns
    -------
    PIL picture, RGB, of a heatmap with a palette
        The part of the photo that the network saw, at the photo's own resolution.
    """
    crop = model.preprocessing.crop(photo) if photo is not None else blank(explanation.relevance.shape)
    caption = Caption(
        label=model.labels.name(int(explanation.target[k])),
        score=float(explanation.score[k]),
        probability=None if explanation.probability is None else float(explanation.probability[k]),
        composite=explanation.composite,
        model=model.name if not model.random_weights else f"{model.name} (random weights)",
    )
    # Not explanation.heatmap[k], which would sum up all of its pictures.
    return drawn(explanation.relevance[k].sum(axis=0), crop, view, style, caption)


def drawn(heatmap: Array, crop: Image.Image, view: str, style: Style, caption: Caption) -> Image.Image:
    """Return relevance as a picture.

    Parameters
    ----------
    heatmap : float32 (H, W)
        Relevance, summed over channels.
    crop : PIL picture, RGB
        The part of the photo that the network saw.
    view : {"heatmap", "overlay", "panel"}
    style : Style
    caption : Caption
        What a panel says.

    Returns
    -------
    PIL picture, RGB, of a heatmap with a palette
    """
    relevance = normalise(heatmap, percentile=style.percentile)
    factor = max(1, min(round(SMALLEST_SIDE / min(crop.size)), LARGEST_SIDE // max(crop.size)))
    if factor > 1:
        crop = crop.resize((crop.width * factor, crop.height * factor), Image.Resampling.NEAREST)
    enlarged = resize_heatmap(relevance, crop.size)
    if view == "heatmap":
        return coloured(enlarged, style.cmap)
    laid_over = overlay(crop, enlarged, style.cmap)
    if view == "overlay":
        return laid_over
    return panel(crop, colourise(enlarged, style.cmap), laid_over, cmap=style.cmap, **asdict(caption))


def blank(shape: tuple[int, ...]) -> Image.Image:
    """Return a grey picture in place of a photo that was not given, for relevance (N, C, H, W)."""
    return Image.new("RGB", (shape[3], shape[2]), (128, 128, 128))


def encode(
    model: Model,
    explanation: Explanation,
    k: int,
    photo: Image.Image | None,
    form: str,
    view: str,
    style: Style,
    record: Mapping[str, Any],
) -> bytes:
    """Return one explanation as the bytes of a file.

    Parameters
    ----------
    form : {"png", "npy", "npz", "json"}
        ``npy``: relevance float32 (C, H, W) at the network's input, in its channel order. ``npz``: ``relevance``,
        ``scores``, ``probabilities``, ``target`` and ``record`` (the JSON text). ``json``: `record`.
    view : {"heatmap", "overlay", "panel"}
        What a png shows.
    record : mapping
        What `record_of` returned, with anything the caller adds.
    """
    if form == "png":
        return encode_png(picture(model, explanation, k, photo, view, style), metadata(record))
    text = json.dumps(record, ensure_ascii=False)
    if form == "json":
        return (text + "\n").encode()
    stream = io.BytesIO()
    if form == "npy":
        np.save(stream, explanation.relevance[k])
    else:
        arrays: Any = _arrays(explanation, k)
        np.savez(stream, **arrays, record=np.array(text))
    return stream.getvalue()


def _arrays(explanation: Explanation, k: int) -> dict[str, Array | np.int64]:
    """The arrays of an npz file."""
    arrays: dict[str, Any] = {"relevance": explanation.relevance[k], "scores": explanation.scores[k]}
    if explanation.probabilities is not None:
        arrays["probabilities"] = explanation.probabilities[k]
    return arrays | {"target": explanation.target[k]}


def metadata(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what a PNG says of itself."""
    keys = ("model", "sha256", "weights", "composite", "start", "target", "label", "against", "score")
    said = {f"lrptool:{key}": str(record[key]) for key in keys if record.get(key) is not None}
    return {"Software": f"lrptool {VERSION}"} | said


def write(path: Path, contents: bytes, *, force: bool, workshop: Path | None = None) -> None:
    """Write a file whole or not at all, see `lrptool.files.replacing`; OutputError where that cannot be."""
    with replacing(path, force=force, workshop=workshop) as stream:
        stream.write(contents)
