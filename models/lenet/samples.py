"""Draw the sample digits of the bundled LeNet: ten 28×28 pictures and one "photograph" of a handwritten digit.

Usage: ``python models/lenet/samples.py [--out FOLDER]``. Needs Pillow and numpy only; every pixel is made here,
nothing is taken from a data set. The same seed draws the same pictures.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SEED = 12
DIGIT_PIXELS = 20  # the ink box of an MNIST digit; its centre of mass sits in the middle of 28 pixels
CANVAS_PIXELS = 28
OVERSAMPLING = 16
PHOTO_SIZE = (640, 480)
PHOTO_DIGIT = 5

Stroke = list[tuple[float, float]]

# Points a pen passes through, x to the right and y downwards, both 0..1. One list per stroke.
STROKES: dict[int, list[Stroke]] = {
    0: [[(0.52, 0.02), (0.24, 0.16), (0.14, 0.52), (0.27, 0.88), (0.53, 0.97), (0.79, 0.80), (0.86, 0.45), (0.74, 0.12),
         (0.50, 0.02)]],
    1: [[(0.44, 0.10), (0.52, 0.03), (0.53, 0.30), (0.51, 0.65), (0.49, 0.98)]],
    2: [[(0.18, 0.22), (0.34, 0.05), (0.60, 0.03), (0.78, 0.20), (0.70, 0.44), (0.46, 0.70), (0.16, 0.95)],
        [(0.16, 0.95), (0.50, 0.94), (0.88, 0.95)]],
    3: [[(0.18, 0.12), (0.46, 0.02), (0.76, 0.14), (0.72, 0.36), (0.42, 0.48)],
        [(0.42, 0.48), (0.74, 0.56), (0.84, 0.76), (0.62, 0.95), (0.36, 0.97), (0.14, 0.86)]],
    4: [[(0.30, 0.04), (0.22, 0.30), (0.15, 0.56), (0.45, 0.60), (0.88, 0.55)],
        [(0.72, 0.04), (0.68, 0.50), (0.64, 0.98)]],
    5: [[(0.80, 0.04), (0.55, 0.04), (0.28, 0.07)], [(0.28, 0.07), (0.25, 0.24), (0.22, 0.44)],
        [(0.22, 0.44), (0.50, 0.37), (0.76, 0.52), (0.80, 0.74), (0.60, 0.94), (0.34, 0.97), (0.14, 0.86)]],
    6: [[(0.68, 0.02), (0.42, 0.20), (0.24, 0.52), (0.24, 0.82), (0.46, 0.97), (0.72, 0.88), (0.76, 0.66), (0.54, 0.54),
         (0.28, 0.68)]],
    7: [[(0.14, 0.09), (0.48, 0.07), (0.84, 0.06)], [(0.84, 0.06), (0.66, 0.38), (0.52, 0.68), (0.44, 0.98)]],
    8: [[(0.72, 0.14), (0.50, 0.02), (0.28, 0.16), (0.36, 0.38), (0.64, 0.58), (0.76, 0.80), (0.52, 0.97), (0.27, 0.82),
         (0.36, 0.60), (0.64, 0.38), (0.74, 0.18)]],
    9: [[(0.74, 0.22), (0.52, 0.03), (0.28, 0.18), (0.30, 0.42), (0.54, 0.48), (0.74, 0.22)],
        [(0.74, 0.22), (0.72, 0.56), (0.62, 0.98)]],
}  # fmt: skip


def smooth(points: np.ndarray, steps: int = 24) -> np.ndarray:
    """Pass a Catmull-Rom curve through ``points``, float64 (P, 2); returns float64 (Q, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        slope_in, slope_out = (end - before) / 2, (after - start) / 2
        change = end - start
        pieces.append(
            start
            + slope_in * t
            + (3 * change - 2 * slope_in - slope_out) * t**2
            + (slope_in + slope_out - 2 * change) * t**3
        )
    return np.concatenate([*pieces, points[-1:]])


def pen_paths(digit: int, rng: np.random.Generator, jitter: float = 0.012, slant: float = 0.1) -> list[np.ndarray]:
    """Return the strokes of ``digit`` as a hand would vary them, in units of the ink box."""
    lean = rng.uniform(-0.2, 1) * slant
    paths = []
    for stroke in STROKES[digit]:
        points = np.array(stroke)
        # The ends of a stroke stay, or strokes that should meet would come apart.
        points[1:-1] += rng.normal(0, jitter, points[1:-1].shape)
        points[:, 0] += lean * (0.5 - points[:, 1])
        paths.append(smooth(points))
    return paths


def draw(paths: list[np.ndarray], size: int, width: float) -> Image.Image:
    """Draw paths given in pixels with a round pen, white on black, on ``size`` × ``size`` pixels."""
    picture = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(picture)
    radius = width / 2
    for path in paths:
        for (x0, y0), (x1, y1) in pairwise(path):
            pen.line((x0, y0, x1, y1), fill=255, width=round(width))
        for x, y in path:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return picture


def small_digit(digit: int, rng: np.random.Generator) -> Image.Image:
    """Draw one digit as a 28×28 grey picture, white on black, placed as in MNIST."""
    size = CANVAS_PIXELS * OVERSAMPLING
    width = rng.uniform(1.9, 2.6) * OVERSAMPLING
    box = DIGIT_PIXELS * OVERSAMPLING - width
    paths = [path * box for path in pen_paths(digit, rng)]
    ink = np.asarray(draw([path + (size - box) / 2 for path in paths], size, width), dtype=np.float64)
    y, x = (np.average(np.arange(size), weights=ink.sum(axis)) for axis in (1, 0))
    centred = draw([path + (size - box) / 2 + (size / 2 - x, size / 2 - y) for path in paths], size, width)
    blurred = centred.filter(ImageFilter.GaussianBlur(0.45 * OVERSAMPLING))
    return blurred.resize((CANVAS_PIXELS, CANVAS_PIXELS), Image.Resampling.BOX)


def projective(corners: list[tuple[float, float]], size: tuple[int, int]) -> list[float]:
    """Return Pillow's eight coefficients that show the quadrilateral ``corners`` as a picture of ``size``."""
    width, height = size
    rows, values = [], []
    for (u, v), (x, y) in zip(corners, [(0, 0), (width, 0), (width, height), (0, height)], strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, dtype=np.float64), np.array(values)).tolist()


def photograph(digit: int, rng: np.random.Generator) -> Image.Image:
    """Make a picture like a photograph of ``digit`` written with a dark pen on paper: uint8 RGB 640×480."""
    width, height = PHOTO_SIZE
    paths = [path * (190, 270) + (235, 95) for path in pen_paths(digit, rng)]
    ink = draw(paths, width, 22).crop((0, 0, width, height))
    view = projective([(-26, 14), (width + 8, -20), (width - 22, height + 24), (34, height - 12)], PHOTO_SIZE)
    ink = ink.transform(PHOTO_SIZE, Image.Transform.PERSPECTIVE, view, Image.Resampling.BICUBIC)
    ink = ink.filter(ImageFilter.GaussianBlur(1.6))
    amount = np.asarray(ink, dtype=np.float64)[..., None] / 255

    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    # A lamp above on the left, a darker corner below on the right.
    light = 1.0 - 0.16 * x - 0.10 * y - 0.10 * ((x - 0.35) ** 2 + (y - 0.35) ** 2)
    fine = rng.normal(0, 1, (height, width))
    fibres = np.asarray(
        Image.fromarray(rng.normal(0, 1, (height // 4, width // 4)).astype(np.float32)).resize(PHOTO_SIZE)
    )
    grain = 1 + 0.012 * fine + 0.012 * fibres
    paper, pen = np.array([226.0, 221.0, 208.0]), np.array([38.0, 42.0, 74.0])
    # A pen does not cover evenly: the ink lets a little of the grain through.
    cover = amount * (0.93 + 0.04 * fibres[..., None])
    shade = (light * grain)[..., None]
    picture = (paper * (1 - cover) + pen * cover) * shade
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def main() -> None:
    """Write the eleven samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "samples", help="folder to write to")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    for digit in STROKES:
        small_digit(digit, rng).save(folder / f"digit_{digit}.png", optimize=True)
    photograph(PHOTO_DIGIT, rng).save(folder / "photo_of_a_digit.jpg", quality=85, optimize=True)
    print(f"wrote {len(STROKES) + 1} pictures to {folder}")


if __name__ == "__main__":
    main()
