"""From relevance to pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lrptool.errors import ConfigError, NumericError
from lrptool.imaging import colourise, encode_png, normalise, overlay, resize_heatmap


def test_normalising_is_symmetric_around_zero() -> None:
    found = normalise(np.array([[-2.0, 0.0, 1.0], [4.0, -4.0, 0.5]], np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == [[-0.5, 0.0, 0.25], [1.0, -1.0, 0.125]]


def test_a_percentile_saturates_what_is_stronger() -> None:
    values = np.arange(-50, 51, dtype=np.float32).reshape(1, 101)
    # |values| are 0 and twice 1..50: the 80th percentile of the 101 is the value of rank 80, which is 40.
    found = normalise(values, percentile=80)
    assert found[0, 60] == pytest.approx(0.25)
    assert found[0, 40] == pytest.approx(-0.25)
    assert found[0, 90] == 1
    assert (found[0, :11] == -1).all()


@pytest.mark.parametrize("percentile", [0.01, 37.3, 99.5, 100])
@pytest.mark.parametrize("size", [1, 2, 50_176])
def test_percentiles_are_numpys(percentile: float, size: int) -> None:
    values = np.random.default_rng(size).standard_t(2, (1, size)).astype(np.float32)
    top = np.percentile(np.abs(values.astype(np.float64)), percentile)
    expected = np.clip(values / top, -1, 1).astype(np.float32)
    np.testing.assert_allclose(normalise(values, percentile=percentile), expected, rtol=1e-6)


def test_a_percentile_of_zero_relevance_falls_back_to_the_largest() -> None:
    values = np.zeros((10, 12), np.float32)
    values[3, 4] = -8
    values[5, 6] = 4
    found = normalise(values, percentile=90)
    assert found[3, 4] == -1
    assert found[5, 6] == 0.5
    assert np.count_nonzero(found) == 2


@pytest.mark.parametrize("percentile", [100, 99.5])
def test_no_relevance_at_all(percentile: float) -> None:
    found = normalise(np.zeros((3, 5), np.float32), percentile=percentile)
    assert found.shape == (3, 5)
    assert (found == 0).all()
    assert (colourise(found, "bwr") == 255).all()
    assert (colourise(found, "hot") == 0).all()


@pytest.mark.parametrize("size", [1e-45, 1e-38, 3e38])
def test_the_smallest_and_largest_numbers(size: float) -> None:
    # The percentile lies half-way between 0 and `size`: below the smallest float32 where `size` is that.
    found = normalise(np.array([[size, -size, 0]], np.float32), percentile=25)
    assert found.tolist() == [[1, -1, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_relevance_that_is_not_finite_is_refused(bad: float) -> None:
    values = np.ones((2, 3), np.float32)
    values[1, 2] = bad
    with pytest.raises(NumericError, match="found 1 NaN or inf"):
        normalise(values)


@pytest.mark.parametrize("percentile", [0, -1, 100.5, float("nan")])
def test_percentiles_out_of_range(percentile: float) -> None:
    with pytest.raises(ConfigError, match="percentile: expected more than 0 and at most 100"):
        normalise(np.ones((2, 3), np.float32), percentile=percentile)


def test_colours() -> None:
    found = colourise(np.array([[-1.0, 0.0, 1.0], [0.5, -0.5, 0.25]], np.float32), "00f,80:000,f00")
    assert found.dtype == np.uint8
    assert found.shape == (2, 3, 3)
    assert found[0].tolist() == [[0, 0, 255], [0, 0, 0], [255, 0, 0]]
    assert found[1, 0].tolist() == [129, 0, 0]
    assert found[1, 1].tolist() == [0, 0, 128]


def test_whole_enlargements_of_small_maps_repeat_values() -> None:
    values = np.array([[1, -2, 3], [4, 5, -6]], np.float32)
    found = resize_heatmap(values, (12, 6))
    assert np.array_equal(found, np.kron(values, np.ones((3, 4))))


def test_other_sizes_are_smooth_and_never_overshoot() -> None:
    values = np.zeros((70, 80), np.float32)
    values[30, 40] = 1
    found = resize_heatmap(values, (333, 211))
    assert found.shape == (211, 333)
    assert found.dtype == np.float32
    assert found.min() == 0
    assert 0.5 < found.max() <= 1
    peak = np.unravel_index(found.argmax(), found.shape)
    assert peak == (pytest.approx(30.5 / 70 * 211, abs=2), pytest.approx(40.5 / 80 * 333, abs=2))


@pytest.mark.parametrize("shape", [(9, 7), (70, 90)])
@pytest.mark.parametrize("size", [(63, 54), (200, 35), (31, 313), (4, 5), (1, 1)])
def test_a_constant_stays_constant(shape: tuple[int, int], size: tuple[int, int]) -> None:
    found = resize_heatmap(np.full(shape, -0.375, np.float32), size)
    assert found.shape == (size[1], size[0])
    assert np.allclose(found, -0.375, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 12), (80, 120)])
@pytest.mark.parametrize("size", [(240, 240), (301, 97), (55, 410)])
@pytest.mark.parametrize("bottom", [False, True])
@pytest.mark.parametrize("right", [False, True])
def test_a_corner_stays_in_its_corner(shape: tuple[int, int], size: tuple[int, int], bottom: bool, right: bool) -> None:
    values = np.zeros(shape, np.float32)
    height, width = shape
    rows = slice(height * 3 // 4, None) if bottom else slice(0, height // 4)
    columns = slice(width * 3 // 4, None) if right else slice(0, width // 4)
    values[rows, columns] = 1
    found = resize_heatmap(values, size)
    assert found[-1 if bottom else 0, -1 if right else 0] == pytest.approx(1)
    y, x = np.mgrid[: size[1], : size[0]]
    middle = (
        float((found * y).sum() / found.sum() + 0.5) / size[1],
        float((found * x).sum() / found.sum() + 0.5) / size[0],
    )
    assert middle == (
        pytest.approx(0.875 if bottom else 0.125, abs=0.02),
        pytest.approx(0.875 if right else 0.125, abs=0.02),
    )


@pytest.mark.parametrize("cmap", ["seismic", "coldnhot", "black-firered", "hot", "gray", "wred"])
def test_an_overlays_colours_are_those_of_the_heatmap(cmap: str) -> None:
    heatmap = np.array([[0.0, 0.2, 0.35, 0.5, 0.75, 1.0]], np.float32)
    on_black, on_white = (
        np.asarray(overlay(Image.new("RGB", (6, 1), paper), heatmap, cmap), dtype=np.float64)[0]
        for paper in ("black", "white")
    )
    # What is left of the photo's contrast is what is not covered; the rest is the map's colour.
    covered = 1 - (on_white - on_black) / (on_white - on_black)[0]
    assert (np.diff(covered[:, 0]) > 0).all()
    colours = (on_black[1:] - on_black[0] * (1 - covered[1:])) / covered[1:]
    assert np.abs(colours - colourise(heatmap, cmap)[0, 1:]).max() < 6


def test_an_overlay_shows_the_photo_where_there_is_no_relevance() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8))
    heatmap = np.zeros((8, 6), np.float32)
    heatmap[2, 3], heatmap[5, 1], heatmap[7, 0] = 1, -1, 0.3
    found = np.asarray(overlay(photo, heatmap, "bwr")).astype(int)
    blank = heatmap == 0
    grey = np.asarray(photo.convert("L"))[blank]
    assert (np.ptp(found[blank], axis=1) == 0).all()
    assert np.corrcoef(found[blank][:, 0], grey)[0, 1] > 0.999
    assert found[2, 3, 0] - found[2, 3, 2] > 150
    assert found[5, 1, 2] - found[5, 1, 0] > 150
    assert 20 < found[7, 0, 0] - found[7, 0, 2] < 150


def test_an_unsigned_overlay_hides_negative_relevance() -> None:
    photo = Image.new("RGB", (2, 1), (90, 90, 90))
    found = np.asarray(overlay(photo, np.array([[-1.0, 0.0]], np.float32), "hot"))
    assert np.array_equal(found[0, 0], found[0, 1])


def test_an_overlay_writes_to_neither_argument() -> None:
    photo = Image.new("RGB", (3, 2), (10, 200, 30))
    heatmap = np.full((2, 3), 0.5, np.float32)
    overlay(photo, heatmap, "bwr")
    assert photo.getpixel((0, 0)) == (10, 200, 30)
    assert (heatmap == 0.5).all()


def test_png_entries_come_back() -> None:
    entries = {"Software": "lrptool", "label": "tabby, tabby cat", "file": "Kätzchen 日本 ≥ ε.jpg", "empty": ""}
    image = Image.new("RGB", (5, 3), (1, 2, 3))
    contents = encode_png(image, entries)
    with Image.open(io.BytesIO(contents)) as found:
        assert found.text == entries
        assert found.size == (5, 3)
        assert found.convert("RGB").getpixel((4, 2)) == (1, 2, 3)


def test_the_same_picture_gives_the_same_bytes() -> None:
    y, x = np.mgrid[:60, :70]
    image = Image.fromarray(np.stack([x * y % 251, x * 3, y * 4], axis=2).astype(np.uint8))
    first = encode_png(image, {"a": "b", "Software": "lrptool"})
    assert all(encode_png(image.copy(), {"a": "b", "Software": "lrptool"}) == first for _ in range(8))
    assert encode_png(image, {"a": "c", "Software": "lrptool"}) != first
