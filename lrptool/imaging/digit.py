"""Find one handwritten digit in a photo or scan and frame it the way the MNIST digits are framed."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in a picture's own pixels; right and bottom are exclusive."""

Invert = bool | Literal["auto"]

_DIGIT_SHARE = 20 / 28  # MNIST: the digit's longer side is 20 of 28 pixels
_MASS = 14.5 / 28  # MNIST: the centre of mass is in the middle of pixel 14, counted from 0
_WORK_SIDE = 512  # a digit is found as well in a small copy, and faster
_PAPER_SIDE = 64
_PAPER_GRAIN = 8.0  # grey values by which paper may be darker than its smooth surface
_PAPER_ROUNDS = 10
_FAINTEST_INK = 0.12  # darker than the paper around it by this share; noise and grain stay below
_INK_SHARE = 0.4  # of the darkest ink: where a stroke begins
_STRAY = 0.005  # share of the ink at either end that may be a speck


def luminance(image: Image.Image) -> NDArray[np.uint8]:
    """Return ITU-R 601 luminance as uint8 (H, W)."""
    return np.asarray(image.convert("L"))


def border(grey: NDArray[np.uint8]) -> int:
    """Return the median of a picture's outermost rows and columns: its background."""
    frame = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return int(np.median(frame))


def is_dark_on_light(grey: NDArray[np.uint8]) -> bool:
    """Whether the border is nearer to the lightest than to the darkest value: dark strokes on a light ground."""
    # A threshold like Otsu's would not do: where there is little ink on shaded paper it splits the paper.
    return 2 * border(grey) > int(grey.min()) + int(grey.max())


def frame_digit(image: Image.Image, invert: Invert, size: tuple[int, int]) -> tuple[Box, NDArray[np.float32]]:
    """Return where the digit is and how MNIST would show it.

    The paper's shading is divided out, ink is what is then darker than 0.4 of the darkest, its bounding box is scaled
    to 20/28 of the network's input, its centre of mass is put where MNIST has it (half a pixel right of and below the
    middle) or as near to that as the whole digit can be seen, and the darkest ink becomes 255 on 0. A picture that has
    the network's size already is taken as it is, apart from the inversion. Without any ink the whole picture is taken.

    Parameters
    ----------
    image : PIL.Image.Image
        A photo or scan of one digit; nothing else darker than the paper may be in it.
    invert : bool or "auto"
        Whether the ink is darker than the paper.
    size : (int, int)
        (H, W) of the network's input.

    Returns
    -------
    box : (int, int, int, int)
        The square (for a square input) in the picture's own pixels that became the input; it may reach beyond the
        picture, where paper is assumed.
    values : float32 (H, W)
        0 (paper) to 255 (ink).

    Source: LeCun, Bottou, Bengio & Haffner 1998, DOI 10.1109/5.726791, section III-A (the framing); the half pixel is
    the mean over the 60 000 training images.
    """
    if image.size == size[::-1]:
        grey = luminance(image)
        dark = is_dark_on_light(grey) if invert == "auto" else invert
        return (0, 0, *image.size), (255 - grey if dark else grey).astype(np.float32)
    zoom = max(1.0, max(image.size) / _WORK_SIDE)
    work = image.convert("L").resize((max(1, round(image.width / zoom)), max(1, round(image.height / zoom))))
    if min(work.size) > _PAPER_SIDE:
        work = work.filter(ImageFilter.MedianFilter(3))  # the grain of the paper and of the sensor
    dark = is_dark_on_light(np.asarray(work)) if invert == "auto" else invert
    ink = _ink(work if dark else work.point([255 - v for v in range(256)]))
    box = _window(ink, zoom, size, image.size)
    return box, _resample(ink, box, zoom, size)


def _ink(grey: Image.Image) -> NDArray[np.float32]:
    """How much darker than the paper around it each pixel is, 0 to 1, and 0 where that is grain."""
    ground = np.maximum(_paper(grey), 1)
    ink = np.clip(1 - np.asarray(grey, dtype=np.float32) / ground, 0, 1)
    threshold = max(_FAINTEST_INK, _INK_SHARE * float(ink.max()))
    # Half the threshold keeps the soft edges of strokes and drops the grain.
    soft = np.where(ink > threshold / 2, ink, 0).astype(np.float32)
    return soft if (ink > threshold).any() else np.zeros_like(soft)


def _paper(grey: Image.Image) -> NDArray[np.float32]:
    """What the paper would look like without the ink: a smooth surface through what is not darker than it."""
    shrink = max(1.0, max(grey.size) / _PAPER_SIDE)
    small = grey.resize((max(1, round(grey.width / shrink)), max(1, round(grey.height / shrink))))
    values = np.asarray(small, dtype=np.float64).ravel()
    terms = _surface_terms(small.width, small.height)
    paper = np.ones(values.shape, dtype=bool)
    surface = values
    for _ in range(_PAPER_ROUNDS):
        surface = terms @ np.linalg.lstsq(terms[paper], values[paper], rcond=None)[0]
        paper = values >= surface - _PAPER_GRAIN
    sheet = Image.fromarray(surface.reshape(small.height, small.width).astype(np.float32))
    return np.asarray(sheet.resize(grey.size, Image.Resampling.BILINEAR))


def _surface_terms(width: int, height: int) -> NDArray[np.float64]:
    """The monomials xⁱ yʲ up to degree 3 at every pixel, float64 (height × width, 10)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([(x**i * y**j).ravel() for i in range(4) for j in range(4 - i)], axis=1)


def _window(ink: NDArray[np.float32], zoom: float, size: tuple[int, int], photo: tuple[int, int]) -> Box:
    """The region of the photo that MNIST would show."""
    if not ink.any():
        return (0, 0, *photo)
    top, bottom = _extent(ink.sum(axis=1))
    left, right = _extent(ink.sum(axis=0))
    digit = ink[top:bottom, left:right]
    total = float(digit.sum())
    middle_y = top + float(digit.sum(axis=1) @ (np.arange(bottom - top) + 0.5)) / total
    middle_x = left + float(digit.sum(axis=0) @ (np.arange(right - left) + 0.5)) / total
    height, width = size
    scale = zoom * max((bottom - top) / height, (right - left) / width) / _DIGIT_SHARE
    box_w, box_h = max(1, round(width * scale)), max(1, round(height * scale))
    # A top-heavy digit is not pushed out at the bottom: cut off, a 7 is another digit.
    x = np.clip(middle_x * zoom - box_w * _MASS, right * zoom - box_w, left * zoom)
    y = np.clip(middle_y * zoom - box_h * _MASS, bottom * zoom - box_h, top * zoom)
    x, y = round(float(x)), round(float(y))
    return (x, y, x + box_w, y + box_h)


def _extent(profile: NDArray[np.float32]) -> tuple[int, int]:
    """First and one past the last place of a row or column profile, without stray specks."""
    share = np.cumsum(profile, dtype=np.float64) / profile.sum(dtype=np.float64)
    return int(np.argmax(share > _STRAY)), int(np.argmax(share >= 1 - _STRAY)) + 1


def _resample(ink: NDArray[np.float32], box: Box, zoom: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """Cut the window out of the ink, with blank paper beyond the edges, and scale it to the network's input."""
    left, top, right, bottom = (side / zoom for side in box)
    pad = int(np.ceil(max(0.0, -left, -top, right - ink.shape[1], bottom - ink.shape[0]))) + 1
    padded = Image.fromarray(np.pad(ink, pad))
    window = (left + pad, top + pad, right + pad, bottom + pad)
    values = np.array(padded.resize(size[::-1], Image.Resampling.BILINEAR, box=window), dtype=np.float32)
    peak = float(values.max())
    return np.minimum(values * np.float32(255 / peak), np.float32(255)) if peak > 0 else values
