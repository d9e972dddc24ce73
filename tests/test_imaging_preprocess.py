"""From photo to network input: values by hand, geometry, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lrptool.errors import ConfigError
from lrptool.imaging import Preprocessing


def gradient(width: int, height: int) -> Image.Image:
    """Red is the column, green the row, blue constant."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.full_like(x, 7)], axis=2).astype(np.uint8))


PIXELS = np.array([[[10, 20, 30], [40, 50, 60], [255, 0, 128]], [[0, 0, 0], [255, 255, 255], [1, 2, 3]]], np.uint8)
TINY = Image.fromarray(PIXELS)


# --- values -----------------------------------------------------------------------------------------------------


def test_bgr_with_mean_by_hand() -> None:
    found = Preprocessing(size=(2, 3), channels="BGR", mean=(104, 117, 123)).apply(TINY)
    expected = [
        [[30 - 104, 60 - 104, 128 - 104], [0 - 104, 255 - 104, 3 - 104]],
        [[20 - 117, 50 - 117, 0 - 117], [0 - 117, 255 - 117, 2 - 117]],
        [[10 - 123, 40 - 123, 255 - 123], [0 - 123, 255 - 123, 1 - 123]],
    ]
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.tolist() == expected


def test_order_of_scale_mean_input_scale_and_std() -> None:
    # 51 of 255 is 0.2 on the scale 0..1, 0.1 above the mean, 4 times that, over 0.5.
    image = Image.new("RGB", (3, 2), (51, 102, 153))
    prep = Preprocessing((2, 3), "RGB", raw_scale=1, mean=(0.1, 0.2, 0.3), input_scale=4, std=(0.5, 1, 2))
    assert np.allclose(prep(image)[:, 1, 2], [0.8, 0.8, 0.6], atol=1e-6)


def test_grey_is_luminance() -> None:
    image = Image.new("RGB", (3, 2), (200, 100, 50))
    found = Preprocessing((2, 3), "GRAY", input_scale=1 / 256).apply(image)
    assert found.shape == (1, 2, 3)
    # ITU-R 601: 0.299 · 200 + 0.587 · 100 + 0.114 · 50 = 124.2
    assert np.allclose(found, 124 / 256, atol=1e-6)


def test_a_mean_image_is_cropped_to_its_centre() -> None:
    mean = np.arange(3 * 5 * 6, dtype=np.float32).reshape(3, 5, 6)
    found = Preprocessing((2, 3), "RGB", mean=mean).apply(TINY)
    # rows (5 − 2) // 2 = 1 and 2, columns (6 − 3) // 2 = 1 to 3
    expected = PIXELS.transpose(2, 0, 1) - mean[:, 1:3, 1:4]
    assert np.array_equal(found, expected)


def test_one_mean_for_all_channels() -> None:
    assert Preprocessing((2, 3), "RGB", mean=100).apply(TINY)[:, 0, 0].tolist() == [-90, -80, -70]


def test_invert() -> None:
    found = Preprocessing((2, 3), "RGB", invert=True).apply(TINY)
    assert np.array_equal(found, 255 - PIXELS.transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize("light", [True, False])
def test_automatic_inversion_makes_the_border_dark(light: bool) -> None:
    pixels = np.full((9, 7), 230 if light else 25, np.uint8)
    pixels[3:6, 2:5] = 40 if light else 210
    found = Preprocessing((9, 7), "GRAY", invert="auto").apply(Image.fromarray(pixels).convert("RGB"))[0]
    assert found[0, 0] == 25
    assert found[4, 3] == (215 if light else 210)


def test_automatic_inversion_leaves_a_blank_picture_alone() -> None:
    assert (Preprocessing((4, 5), "GRAY", invert="auto").apply(Image.new("RGB", (5, 4), "white")) == 255).all()


# --- geometry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prep", "photo", "expected"),
    [
        # 500×250 → 256×256, of which 227 from 14: 14/256 · 500 = 27.3, 241/256 · 500 = 470.7; 13.7 and 235.4
        (Preprocessing((227, 227), resize=256), (500, 250), (27, 14, 471, 235)),
        (Preprocessing((227, 227), resize=256), (250, 500), (14, 27, 235, 471)),
        # 400×200 → 512×256; columns (512 − 224) // 2 = 144 to 368, rows 16 to 240; · 200/256
        (Preprocessing((224, 224), resize=256, mode="shortest"), (400, 200), (112, 12, 288, 188)),
        (Preprocessing((224, 224), resize=256, mode="shortest"), (200, 400), (12, 112, 188, 288)),
        (Preprocessing((20, 30), resize=(40, 60)), (120, 40), (30, 10, 90, 30)),
        (Preprocessing((20, 30)), (123, 45), (0, 0, 123, 45)),
        (Preprocessing((4, 4), resize=8), (1, 1), (0, 0, 1, 1)),
        # 114/256 · 2 = 0.89 to 142/256 · 2 = 1.11: within one rounding of pixel 1, which is kept
        (Preprocessing((28, 28), resize=256), (2, 2), (1, 1, 2, 2)),
    ],
)
def test_crop_box(prep: Preprocessing, photo: tuple[int, int], expected: tuple[int, ...]) -> None:
    image = Image.new("RGB", photo)
    assert prep.crop_box(image) == expected
    assert prep.crop(image).size == (expected[2] - expected[0], expected[3] - expected[1])


def test_crop_is_cut_out_of_the_photo_itself() -> None:
    image = gradient(120, 40)
    crop = np.asarray(Preprocessing((20, 30), resize=(40, 60)).crop(image))
    assert np.array_equal(crop, np.asarray(image)[10:30, 30:90])


@pytest.mark.parametrize("mode", ["squash", "shortest"])
@pytest.mark.parametrize("photo", [(100, 61), (61, 100), (17, 23), (300, 299), (1200, 900)])
def test_resizing_the_region_equals_resizing_all_and_cropping(mode: str, photo: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (photo[1], photo[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    prep = Preprocessing((24, 31), "RGB", resize=41, mode=mode)
    shorter = min(photo)
    size = (41, 41) if mode == "squash" else (round(photo[0] * 41 / shorter), round(photo[1] * 41 / shorter))
    whole = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - 31) // 2, (size[1] - 24) // 2
    expected = np.asarray(whole)[top : top + 24, left : left + 31].transpose(2, 0, 1)
    # One of 255 grey values: Pillow rounds to 8 bits between rows and columns, and which of them comes first depends on
    # the shape. In noise, another region would differ by far more.
    assert np.abs(prep.apply(image) - expected).max() <= 1


def test_squash_bends_and_shortest_keeps_the_shape() -> None:
    # Columns 32 to 48 of 80×40 are white. Squashed to 20×20 they are columns 8 to 12, and of the crop from column 4 on
    # 4 to 8; with the shorter side 20, of 40×20, they are 16 to 24, and of the crop from column 14 on 2 to 10.
    image = Image.new("RGB", (80, 40))
    image.paste("white", (32, 0, 48, 40))
    for mode, first, end in (("squash", 4, 8), ("shortest", 2, 10)):
        found = Preprocessing((20, 12), "GRAY", resize=20, mode=mode).apply(image)[0]
        assert np.flatnonzero(found[7] > 127).tolist() == list(range(first, end))


@pytest.mark.parametrize("photo", [(1, 1), (1, 3), (2, 1)])
def test_pictures_of_a_few_pixels(photo: tuple[int, int]) -> None:
    image = Image.new("RGB", photo, (3, 2, 1))
    for mode in ("squash", "shortest"):
        found = Preprocessing((4, 6), "BGR", resize=8, mode=mode).apply(image)
        assert found.shape == (3, 4, 6)
        assert found[:, 0, 0].tolist() == found[:, 3, 5].tolist() == [1, 2, 3]


def test_an_extreme_strip_is_not_blown_up() -> None:
    strip = Image.new("RGB", (1, 60_000), (9, 8, 7))
    found = Preprocessing((224, 224), "RGB", resize=256, mode="shortest").apply(strip)
    assert (found == np.array([9, 8, 7], np.float32)[:, None, None]).all()


def test_the_crop_resized_is_what_the_network_sees() -> None:
    image = Image.fromarray(np.asarray(gradient(250, 200)))
    prep = Preprocessing((50, 60), "RGB", resize=(100, 125))
    again = prep.crop(image).resize((60, 50), Image.Resampling.BILINEAR)
    assert np.abs(prep.apply(image) - np.asarray(again).transpose(2, 0, 1)).max() <= 1


# --- bounds -----------------------------------------------------------------------------------------------------


def test_bounds_per_channel() -> None:
    low, high = Preprocessing((2, 3), "BGR", mean=(104, 117, 123)).bounds()
    assert low.dtype == high.dtype == np.float32
    assert low.shape == high.shape == (3, 1, 1)
    assert low.ravel().tolist() == [-104, -117, -123]
    assert high.ravel().tolist() == [151, 138, 132]


def test_bounds_swap_with_a_negative_scale() -> None:
    low, high = Preprocessing((2, 3), "RGB", raw_scale=1, mean=(0.25, 0.5, 1), input_scale=-2).bounds()
    assert low.ravel().tolist() == [-1.5, -1.0, 0.0]
    assert high.ravel().tolist() == [0.5, 1.0, 2.0]


def test_bounds_with_a_mean_image() -> None:
    mean = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    low, high = Preprocessing((2, 3), "RGB", mean=mean).bounds()
    assert np.array_equal(low, -mean[:, 1:3, 1:4])
    assert np.array_equal(high, 255 - mean[:, 1:3, 1:4])


@pytest.mark.parametrize("invert", [False, True])
def test_black_and_white_reach_the_bounds(invert: bool) -> None:
    prep = Preprocessing((2, 3), "BGR", mean=(104, 117, 123), input_scale=0.017, std=(1, 2, 3), invert=invert)
    low, high = prep.bounds()
    ends = [prep.apply(Image.new("RGB", (3, 2), colour)) for colour in ("white", "black")]
    smallest, largest = ends if invert else ends[::-1]
    assert np.array_equal(smallest, np.broadcast_to(low, (3, 2, 3)))
    assert np.array_equal(largest, np.broadcast_to(high, (3, 2, 3)))


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 3)}, "size must be positive"),
        ({"resize": 200}, "resize 200 is smaller than the network's input 227×227"),
        ({"resize": (300, 100)}, "is smaller than"),
        ({"channels": "RBG"}, "channels should be one of RGB, BGR, GRAY, found 'RBG'"),
        ({"mode": "stretch"}, "mode should be one of squash, shortest"),
        ({"invert": "maybe"}, "invert should be one of"),
        ({"fit": "digit", "channels": "GRAY"}, "fit should be one of None, mnist"),
        ({"fit": "mnist"}, "needs channels GRAY"),
        ({"input_scale": 0}, "input_scale must be finite and not zero"),
        ({"raw_scale": float("nan")}, "raw_scale must be finite"),
        ({"mean": (1, 2)}, r"mean should be 3 numbers or an image of at least \(3, 227, 227\), found shape \(2,\)"),
        ({"mean": np.zeros((3, 100, 300))}, r"found shape \(3, 100, 300\)"),
        ({"mean": (1, 2, float("inf"))}, "mean holds NaN"),
        ({"std": (1, 0, 1)}, "std must not be zero"),
        ({"std": np.ones((3, 227, 227))}, "std should be 3 numbers"),
        ({"mode": "stretch", "channels": "RBG"}, "channels should .*; mode should"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preprocessing(**({"size": (227, 227)} | settings))


def test_neither_the_picture_nor_the_mean_is_written_to() -> None:
    mean = np.ones((3, 4, 5), np.float32)
    image = Image.fromarray(PIXELS)
    Preprocessing((2, 3), mean=mean, invert=True).apply(image)
    assert (mean == 1).all()
    assert mean.flags.writeable
    assert np.array_equal(np.asarray(image), PIXELS)
