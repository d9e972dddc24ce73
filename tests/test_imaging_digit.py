"""Framing one digit of a photo as MNIST frames its digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from lrptool.imaging import Preprocessing

PREP = Preprocessing((28, 28), "GRAY", fit="mnist", invert="auto")


def drawn(width: int, height: int, corner: tuple[int, int], tall: int, *, dark: bool = True) -> Image.Image:
    """A 2 of `tall` pixels drawn with a pen, its box beginning at `corner`."""
    image = Image.new("L", (width, height), 235 if dark else 30)
    ink, pen = (45 if dark else 220), max(3, tall // 9)
    x, y = corner[0] + pen // 2, corner[1] + pen // 2
    wide, long = int(tall * 0.7) - pen, tall - pen
    line = [(x, y), (x + wide, y), (x, y + long), (x + wide, y + long)]
    ImageDraw.Draw(image).line(line, fill=ink, width=pen, joint="curve")
    return image.convert("RGB")


def shaded(image: Image.Image, seed: int = 0) -> Image.Image:
    """Half as much light at the right lower corner, and grain."""
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), dtype=np.float64)
    y, x = np.mgrid[: image.height, : image.width]
    light = 1 - 0.35 * x / image.width - 0.15 * y / image.height
    grain = np.random.default_rng(seed).normal(0, 4, pixels.shape)
    return Image.fromarray((pixels * light[..., None] + grain).clip(0, 255).astype(np.uint8))


def extent(values: np.ndarray) -> tuple[int, int]:
    """(height, width) of what is brighter than a third of the peak."""
    strong = values > values.max() / 3
    return int(strong.any(axis=1).sum()), int(strong.any(axis=0).sum())


@pytest.mark.parametrize("shade", [False, True])
@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize(
    ("size", "corner", "tall"),
    [
        ((640, 480), (400, 200), 150),
        ((90, 130), (30, 40), 60),
        ((1100, 700), (100, 80), 500),
        ((300, 300), (20, 15), 270),
    ],
)
def test_a_digit_anywhere_becomes_20_pixels_tall_and_centred(
    size: tuple[int, int], corner: tuple[int, int], tall: int, dark: bool, shade: bool
) -> None:
    image = drawn(*size, corner, tall, dark=dark)
    found = PREP.apply(shaded(image) if shade else image)
    assert found.shape == (1, 28, 28)
    assert found.min() == 0
    assert found.max() == pytest.approx(255, abs=1e-3)
    assert extent(found[0])[0] in (19, 20, 21)
    y, x = np.mgrid[:28, :28]
    mass = found[0] / found.sum()
    # MNIST's own digits: 14.00 ± 0.29 in both directions.
    assert abs(float((mass * y).sum()) - 14) < 0.3
    assert abs(float((mass * x).sum()) - 14) < 0.3
    left, top, right, bottom = PREP.crop_box(image)
    assert right - left == bottom - top == pytest.approx(tall * 28 / 20, rel=0.06)
    assert left < corner[0] < corner[0] + 0.7 * tall < right
    assert top < corner[1] < corner[1] + tall < bottom


def test_size_and_place_of_the_digit_do_not_matter() -> None:
    expected = PREP.apply(drawn(400, 400, (100, 100), 200))[0].ravel()
    for size, corner, tall in [
        ((640, 480), (400, 200), 150),
        ((500, 900), (10, 600), 260),
        ((1600, 1200), (80, 30), 1100),
    ]:
        found = PREP.apply(drawn(*size, corner, tall))[0].ravel()
        assert np.corrcoef(expected, found)[0, 1] > 0.97
        assert np.abs(expected - found).mean() < 10


@pytest.mark.parametrize("turn", [None, Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_180])
def test_a_digit_whose_mass_lies_to_one_side_is_not_cut_off(turn: Image.Transpose | None) -> None:
    image = Image.new("RGB", (640, 640), (235, 235, 235))
    pen = ImageDraw.Draw(image)
    pen.ellipse((260, 220, 340, 300), fill=(45, 45, 45))  # a 9 with its ring blotted out
    pen.line([(335, 260), (320, 420)], fill=(45, 45, 45), width=8)
    image = image if turn is None else image.transpose(turn)
    dark = np.asarray(image.convert("L")) < 100
    rows, cols = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    left, top, right, bottom = PREP.crop_box(image)
    # A few pixels of 200 at the end of a thin stroke count as strays.
    assert left <= cols[0] + 4
    assert top <= rows[0] + 4
    assert right >= cols[-1] - 4
    assert bottom >= rows[-1] - 4


def test_the_crop_is_the_photo_around_the_digit_and_paper_beyond_its_edge() -> None:
    image = drawn(200, 160, (2, 2), 120)
    left, top, right, bottom = PREP.crop_box(image)
    assert left < 0
    assert top < 0
    crop = PREP.crop(image)
    assert crop.size == (right - left, bottom - top)
    assert crop.getpixel((0, 0)) == (235, 235, 235)
    inside = np.asarray(crop)[-top : -top + 160, -left : -left + 200]
    assert np.array_equal(inside, np.asarray(image)[: inside.shape[0], : inside.shape[1]])


def test_the_crop_shrunk_looks_like_the_input() -> None:
    image = drawn(640, 480, (400, 200), 150)
    grey = np.asarray(PREP.crop(image).convert("L").resize((28, 28), Image.Resampling.BILINEAR), dtype=np.float64)
    found = PREP.apply(image)[0]
    assert np.corrcoef(235 - grey.ravel(), found.ravel())[0, 1] > 0.98


def test_a_given_inversion_is_obeyed() -> None:
    image = drawn(300, 200, (60, 40), 100, dark=False)
    assert np.array_equal(Preprocessing((28, 28), "GRAY", fit="mnist").apply(image), PREP.apply(image))
    wrong = Preprocessing((28, 28), "GRAY", fit="mnist", invert=True).apply(image)
    assert np.abs(wrong - PREP.apply(image)).mean() > 20


def test_a_picture_of_the_networks_size_is_taken_as_it_is() -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[3:9, 4:20] = 200
    image = Image.fromarray(pixels).convert("RGB")
    assert np.array_equal(PREP.apply(image)[0], pixels)
    assert PREP.crop_box(image) == (0, 0, 28, 28)
    assert np.array_equal(PREP.apply(Image.fromarray(255 - pixels).convert("RGB"))[0], pixels)


@pytest.mark.parametrize("size", [(200, 100), (3, 2), (1, 1), (1, 400)])
def test_blank_paper_is_all_zero(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (220, 215, 200))
    assert (PREP.apply(image) == 0).all()
    assert PREP.crop_box(image) == (0, 0, *size)


def test_mnist_digits_survive_being_photographed(shared: Path) -> None:
    with np.load(shared / "datasets" / "mnist.npz") as data:
        digits = data["test_images"][:25]
    rng = np.random.default_rng(5)
    agreement = []
    for k, digit in enumerate(digits):
        side = int(rng.integers(80, 300))
        sheet = Image.new("L", (640, 480), 235)
        ink_shape = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
        ink = Image.new("L", (side, side), 60)
        sheet.paste(ink, (int(rng.integers(0, 640 - side)), int(rng.integers(0, 480 - side))), ink_shape)
        found = PREP.apply(shaded(sheet.convert("RGB"), k))[0]
        agreement.append(np.corrcoef(found.ravel(), digit.astype(np.float64).ravel())[0, 1])
    assert np.median(agreement) > 0.95
    assert min(agreement) > 0.85
