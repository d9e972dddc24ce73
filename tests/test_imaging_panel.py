"""The panel: sizes, places, words."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from lrptool.imaging import panel
from lrptool.imaging.panel import _fitted, _font, _printable

GROUND = (250, 250, 249)


def made(width: int, height: int, **changes: object) -> Image.Image:
    settings: dict[str, object] = {
        "label": "tabby",
        "score": 12.345,
        "probability": 0.875,
        "composite": "epsilon-plus",
        "model": "squeezenet_v1.0",
        "cmap": "bwr",
    }
    heat = np.full((height, width, 3), (255, 0, 0), np.uint8)
    photo, laid_over = Image.new("RGB", (width, height), (0, 160, 0)), Image.new("RGB", (width, height), (0, 0, 200))
    return panel(photo, heat, laid_over, **(settings | changes))


def columns(sheet: Image.Image, colour: tuple[int, int, int], row: int) -> tuple[int, int]:
    """First and one past the last pixel of a colour in a row."""
    found = np.flatnonzero((np.asarray(sheet)[row] == colour).all(axis=1))
    return int(found[0]), int(found[-1]) + 1


@pytest.mark.parametrize(
    ("size", "tile"),
    [
        ((500, 375), (427, 320)),
        ((4000, 3000), (427, 320)),
        ((300, 600), (160, 320)),
        ((1600, 200), (480, 60)),
        ((224, 224), (224, 224)),
        ((100, 900), (36, 320)),
        ((50, 40), (400, 320)),
        ((1, 1), (320, 320)),
        ((6000, 30), (480, 2)),
        ((1, 6000), (1, 320)),
    ],
)
def test_three_tiles_of_one_size_with_even_margins(size: tuple[int, int], tile: tuple[int, int]) -> None:
    sheet = made(*size)
    cell = max(tile[0], 224)
    assert sheet.mode == "RGB"
    assert sheet.width == 3 * cell + 4 * 20
    row = 90 + tile[1] // 2
    for k, colour in enumerate([(0, 160, 0), (255, 0, 0), (0, 0, 200)]):
        left = 20 + k * (cell + 20)
        assert columns(sheet, colour, row) == (left, left + tile[0])
    rows = np.flatnonzero((np.asarray(sheet)[:, 20] == (0, 160, 0)).all(axis=1))
    assert (rows[0], rows[-1] + 1) == (90, 90 + tile[1])
    assert sheet.height - rows[-1] < 80


def test_nothing_touches_the_edge() -> None:
    for label in ("5", "a very long label " * 30):
        pixels = np.asarray(made(100, 900, label=label, model="m" * 200))
        for edge in (pixels[:8], pixels[-8:], pixels[:, :8].swapaxes(0, 1), pixels[:, -8:].swapaxes(0, 1)):
            assert (edge == GROUND).all()


def test_the_bar_of_colours_stands_under_the_heatmap() -> None:
    sheet = made(500, 375, cmap="0f0,80:000,f0f")
    bar = np.asarray(sheet)[90 + 320 + 12 + 5]
    green = np.flatnonzero((bar == (0, 255, 0)).all(axis=1))
    magenta = np.flatnonzero((bar == (255, 0, 255)).all(axis=1))
    assert 20 + 427 + 20 < green[0] < magenta[-1] == 20 + 427 + 20 + 427 - 1
    assert 155 < magenta[-1] - green[0] < 160


def test_the_bar_of_an_unsigned_map_begins_at_zero() -> None:
    sheet = made(500, 375, cmap="+0f0,000,f0f")
    bar = np.asarray(sheet)[90 + 320 + 12 + 5, 20 + 427 + 20 + 427 - 160 : 20 + 427 + 20 + 427]
    assert bar[0].tolist() == [0, 255, 0]
    assert bar[80].max() < 10
    assert bar[-1].tolist() == [255, 0, 255]
    # Two words below it, 0 and for, where a signed map has three.
    words = [np.asarray(made(500, 375, cmap=cmap))[90 + 320 + 26 : 90 + 320 + 44, 800:830] for cmap in ("hot", "bwr")]
    assert [bool((middle != GROUND).any()) for middle in words] == [False, True]


def test_what_is_said_depends_on_the_numbers() -> None:
    plain = np.asarray(made(500, 375))[:90]
    for change in ({"label": "tiger"}, {"score": -1.0}, {"probability": None}, {"model": "x"}, {"composite": "flat"}):
        assert not np.array_equal(np.asarray(made(500, 375, **change))[:90], plain)


def test_long_labels_end_in_an_ellipsis() -> None:
    font = _font(26)
    assert _fitted("tabby", font, 400) == "tabby"
    cut = _fitted("tabby, tabby cat, and a good deal more", font, 200)
    assert cut.endswith("…")
    assert font.getlength(cut) <= 200
    assert cut.startswith("tabby, tabby")
    longest = max(n for n in range(38) if font.getlength("tabby, tabby cat, and a good deal more"[:n] + "…") <= 200)
    assert cut == "tabby, tabby cat, and a good deal more"[:longest].rstrip() + "…"
    assert _fitted("tabby", font, 0) == "…"


def test_an_endless_label_takes_no_time() -> None:
    began = time.perf_counter()
    assert _fitted("abc " * 5000, _font(26), 400).startswith("abc abc")
    assert time.perf_counter() - began < 5


def test_labels_beyond_the_typeface_stay_readable() -> None:
    assert _printable("Kätzchen, café, Straße, −3 – 4") == "Katzchen, cafe, Strasse, -3 - 4"
    assert _printable("日本 cat") == "?? cat"
    assert _printable("jack-o’-lantern “x”") == 'jack-o\'-lantern "x"'
    assert _printable(" two\nlines\tand\x07 ") == "two lines and?"


def test_no_name_brings_in_a_box_or_a_second_line() -> None:
    for key in ("label", "model", "composite"):
        strange, plain = made(500, 375, **{key: "größe\nε"}), made(500, 375, **{key: "grosse ?"})
        assert np.array_equal(np.asarray(strange), np.asarray(plain))
