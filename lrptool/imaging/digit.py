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
_WORK_SIDE = 512  # a digit is found as well in a small copy, and faster
_PAPER_SIDE = 64
_PAPER_FILTER = 21  # of 64 pixels: wider than any pen stroke, narrower than a shadow
_FAINTEST_INK = 0.12  # darker than the paper around it by this share; noise and grain stay below
_STRAY = 0.005  # share of the ink at either end that may be a speck


def luminance(image: Image.Image) -> NDArray[np.uint8]:
    """Return ITU-R 601 luminance as uint8 (H, W)."""
    return np.asarray(image.convert("L"))


def otsu(grey: NDArray[np.uint8]) -> int:
    """Return the threshold that best splits values into dark (≤) and light (>); the value itself of a flat picture.

    Source: Otsu 1979, DOI 10.1109/TSMC.1979.4310076, eq. 18 (between-class variance).
    """
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    if np.count_nonzero(counts) == 1:
        return int(grey.flat[0])
    share = np.cumsum(counts) / counts.sum()
    mean = np.cumsum(counts * np.arange(256)) / counts.sum()
    spread = share * (1 - share)
    split = np.where(spread > 0, (mean[-1] * share - mean) ** 2 / np.where(spread > 0, spread, 1), 0)
    return int(split.argmax())


def border(grey: NDArray[np.uint8]) -> int:
    """Return the median of a picture's outermost rows and columns: its background."""
    frame = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return int(np.median(frame))


def is_dark_on_light(grey: NDArray[np.uint8]) -> bool:
    """Whether the border is nearer to the lightest than to the darkest value: dark strokes on a light ground."""
    # Not Otsu's threshold: where there is little ink on shaded paper it splits the paper.
    return 2 * border(grey) > int(grey.min()) + int(grey.max())


def frame_digit(image: Image.Image, invert: Invert, size: tuple[int, int]) -> tuple[Box, NDArray[np.float32]]:
    """Return where the digit is and how MNIST would show it.

    The paper's shading is divided out, the ink is separated by Otsu's threshold, its bounding box is scaled to 20/28 of
    the network's input and its centre of mass put in the middle, and the darkest ink becomes 255 on 0. A picture that
    has the network's size already is taken as it is, apart from the inversion. Without any ink the whole picture is
    taken.

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

    Source: LeCun, Bottou, Bengio & Haffner 1998, DOI 10.1109/5.726791, section III-A (the framing).
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
    shrink = max(1.0, max(grey.size) / _PAPER_SIDE)
    small = grey.resize((max(1, round(grey.width / shrink)), max(1, round(grey.height / shrink))))
    paper = small.filter(ImageFilter.MaxFilter(_PAPER_FILTER)).filter(ImageFilter.GaussianBlur(_PAPER_FILTER / 4))
    ground = np.asarray(paper.resize(grey.size), dtype=np.float32)
    ink = np.clip(1 - np.asarray(grey, dtype=np.float32) / np.maximum(ground, 1), 0, 1)
    threshold = max(_FAINTEST_INK, otsu(np.rint(ink * 255).astype(np.uint8)) / 255)
    # Half the threshold keeps the soft edges of strokes and drops the grain.
    soft = np.where(ink > threshold / 2, ink, 0).astype(np.float32)
    return soft if (ink > threshold).any() else np.zeros_like(soft)


def _window(ink: NDArray[np.float32], zoom: float, size: tuple[int, int], photo: tuple[int, int]) -> Box:
    """The region of the photo whose middle is the digit's centre of mass."""
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
    x, y = round(middle_x * zoom - box_w / 2), round(middle_y * zoom - box_h / 2)
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
    return values * np.float32(255 / peak) if peak > 0 else values
