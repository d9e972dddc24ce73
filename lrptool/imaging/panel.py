"""The panel: photo, heatmap and overlay side by side, with what they show written on it."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lrptool.imaging.colormap import colormap
from lrptool.imaging.render import Pixels, colourise

_TILE = 320
"""Height the three pictures are brought to, unless they are small and near it already."""
_NEAR = (200, 360)
_WIDEST = 480
_NARROWEST = 224
"""Room for a caption and the bar of colours, also under a slim picture."""
_MARGIN = 20
_HEAD = 90
_FOOT = 58
_GROUND = (250, 250, 249)
_INK = (28, 28, 30)
_SOFT = (112, 112, 118)
_LINE = (218, 218, 222)
_BAR = (160, 10)
_SPELLED = str.maketrans({"ß": "ss", "−": "-", "–": "-", "‘": "'", "’": "'", "“": '"', "”": '"'})
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _font(size: int) -> Font:
    """Pillow's own typeface: no font needs to be on the machine."""
    return ImageFont.load_default(size=size)


def _printable(text: str) -> str:
    """One line in the characters of Pillow's typeface: accents dropped, what it does not know as a question mark."""
    base = unicodedata.normalize("NFKD", " ".join(text.translate(_SPELLED).split()))
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in base if not unicodedata.combining(c))


def _fitted(text: str, font: Font, width: float) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    # By halving: measuring every shorter text takes a minute for 10 000 characters.
    kept = bisect_right(range(len(text)), width, key=lambda length: font.getlength(text[:length] + "…"))
    return text[: max(0, kept - 1)].rstrip() + "…"


def _tiles(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """The pictures at one common size."""
    width, height = pictures[0].size
    if _NEAR[0] <= height <= _NEAR[1] and width <= _WIDEST:
        return list(pictures)  # pixels as they are: enlarged digits and 32 × 32 pictures stay crisp
    scale = min(_TILE / height, _WIDEST / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return [picture.resize(size, method) for picture in pictures]


def _legend(cmap: str) -> Image.Image:
    """A bar of the map's colours, from its smallest to its largest value."""
    low = -1.0 if colormap(cmap).signed else 0.0
    ramp = np.linspace(low, 1, _BAR[0], dtype=np.float32)
    return Image.fromarray(colourise(np.tile(ramp, (_BAR[1], 1)), cmap))


def panel(
    photo: Image.Image,
    heat: Pixels,
    laid_over: Image.Image,
    *,
    label: str,
    score: float,
    probability: float | None,
    composite: str,
    model: str,
    cmap: str,
) -> Image.Image:
    """Compose the panel.

    Parameters
    ----------
    photo, laid_over : PIL picture, RGB
    heat : uint8 (H, W, 3)
        All three of one size.
    label : str
        Name of the class explained; cut with an ellipsis where it is too long.
    score : float
        Before the softmax.
    probability : float or None
        None where the network does not end in a softmax.
    composite, model : str
        Names.
    cmap : str
        The map's name or line of colours, for the bar.

    Returns
    -------
    PIL picture, RGB

    Raises
    ------
    ConfigError
        When there is no such map, or the line cannot be read.
    """
    tiles = _tiles([photo, Image.fromarray(heat), laid_over])
    width, height = tiles[0].size
    cell = max(width, _NARROWEST)
    sheet = Image.new("RGB", (3 * cell + 4 * _MARGIN, _HEAD + height + _FOOT), _GROUND)
    draw = ImageDraw.Draw(sheet)
    facts = f"score {score:.4g}" if probability is None else f"{probability:.1%}  ·  score {score:.4g}"
    _draw_head(
        draw, sheet.width - 2 * _MARGIN, _printable(label), facts, f"{_printable(model)}  ·  {_printable(composite)}"
    )
    small = _font(13)
    for k, (tile, caption) in enumerate(zip(tiles, ("input", "relevance", "overlay"), strict=True)):
        left = _MARGIN + k * (cell + _MARGIN)
        sheet.paste(tile, (left, _HEAD))
        draw.rectangle((left - 1, _HEAD - 1, left + width, _HEAD + height), outline=_LINE)
        draw.text((left, _HEAD + height + 22), caption, _SOFT, small, anchor="ls")
    _draw_legend(sheet, draw, (2 * _MARGIN + 2 * cell, _HEAD + height + 12), cmap, small)
    return sheet


def _draw_head(draw: ImageDraw.ImageDraw, room: float, label: str, facts: str, origin: str) -> None:
    """Draw the two lines above the pictures within `room` pixels: what was found, and by what."""
    title, text, small = _font(26), _font(15), _font(13)
    shown = _fitted(label, title, room - text.getlength(facts) - 24)
    draw.text((_MARGIN, 46), shown, _INK, title, anchor="ls")
    draw.text((_MARGIN + title.getlength(shown) + 14, 46), facts, _SOFT, text, anchor="ls")
    draw.text((_MARGIN, 71), _fitted(origin, small, room), _SOFT, small, anchor="ls")


def _draw_legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], cmap: str, font: Font) -> None:
    """Draw the bar of colours with its ends and its zero, flush right at `corner`, under the heatmap."""
    left, top = corner[0] - _BAR[0], corner[1]
    sheet.paste(_legend(cmap), (left, top))
    draw.rectangle((left - 1, top - 1, left + _BAR[0], top + _BAR[1]), outline=_LINE)
    signed = colormap(cmap).signed
    marks = [(0.0, "against"), (0.5, "0"), (1.0, "for")] if signed else [(0.0, "0"), (1.0, "for")]
    for place, word in marks:
        anchor = {0.0: "ls", 0.5: "ms", 1.0: "rs"}[place]
        draw.text((left + place * _BAR[0], top + _BAR[1] + 17), word, _SOFT, font, anchor=anchor)
