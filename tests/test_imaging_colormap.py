"""Colour maps by name and by a line of colours."""

from __future__ import annotations

import numpy as np
import pytest

from lrptool.errors import ConfigError
from lrptool.imaging import COLORMAPS, colormap


@pytest.mark.parametrize(
    ("name", "signed", "lowest", "zero", "highest"),
    [
        ("seismic", True, (0, 0, 76), (255, 255, 255), (128, 0, 0)),
        ("bwr", True, (0, 0, 255), (255, 255, 255), (255, 0, 0)),
        ("coldnhot", True, (0, 255, 255), (0, 0, 0), (255, 255, 255)),
        ("france", True, (0, 85, 164), (255, 255, 255), (239, 65, 53)),
        ("coolio", True, (0, 208, 208), (208, 208, 208), (208, 0, 208)),
        ("coleus", True, (0, 208, 0), (208, 208, 208), (208, 0, 208)),
        ("black-firered", True, (0, 255, 255), (0, 0, 0), (255, 255, 255)),
        ("black-green", True, (0, 0, 255), (0, 0, 0), (0, 255, 0)),
        ("blue-black-yellow", True, (0, 0, 255), (0, 0, 0), (255, 255, 0)),
        ("gray-red", True, (0, 0, 255), (204, 204, 204), (255, 0, 0)),
        ("gray-red2", True, (0, 255, 255), (204, 204, 204), (255, 255, 0)),
        ("gray", False, (0, 0, 0), (0, 0, 0), (255, 255, 255)),
        ("hot", False, (0, 0, 0), (0, 0, 0), (255, 255, 255)),
        ("firered", False, (0, 0, 0), (0, 0, 0), (255, 255, 255)),
        ("cold", False, (0, 0, 0), (0, 0, 0), (0, 255, 255)),
        ("wred", False, (255, 255, 255), (255, 255, 255), (255, 0, 0)),
        ("wblue", False, (255, 255, 255), (255, 255, 255), (0, 0, 255)),
    ],
)
def test_named_maps(name: str, signed: bool, lowest: object, zero: object, highest: object) -> None:
    found = colormap(name)
    assert found.name == name
    assert found.signed is signed
    assert found.palette.shape == (256, 3)
    assert found.palette.dtype == np.uint8
    shown = found.palette[found.index(np.array([-1.0, 0.0, 1.0]))]
    assert [tuple(colour) for colour in shown.tolist()] == [lowest, zero, highest]


def test_every_named_map_is_covered_above() -> None:
    mark = next(m for m in test_named_maps.pytestmark if m.name == "parametrize")
    assert {case[0] for case in mark.args[1]} == set(COLORMAPS)


@pytest.mark.parametrize("line", ["00f,fff,f00", "00f,80:fff,f00", "0000ff, 80:ffffff, ff:ff0000", "#00F,#FFF,#F00"])
def test_one_map_in_several_spellings(line: str) -> None:
    assert np.array_equal(colormap(line).palette, colormap("bwr").palette)


def test_blending_by_hand() -> None:
    palette = colormap("000,80:640000,c8c8c8").palette
    assert palette[[0, 64, 128, 255]].tolist() == [[0, 0, 0], [50, 0, 0], [100, 0, 0], [200, 200, 200]]
    # 27 of the 127 entries above zero: 100 · 27/127 = 21.3, 200 · 27/127 = 42.5
    assert palette[128 + 27].tolist() == [121, 43, 43]


def test_colours_without_position_are_spread_between_their_neighbours() -> None:
    spread = colormap("+000,40:f00,0f0,00f,c0:fff,000").palette
    fixed = colormap("+00:000,40:f00,c0:fff,ff:000").palette
    assert np.array_equal(spread[:64], fixed[:64])
    assert np.array_equal(spread[192:], fixed[192:])
    step = (192 - 64) / 3
    for place, colour in ((64 + step, (0, 255, 0)), (64 + 2 * step, (0, 0, 255))):
        assert np.abs(spread[round(place)].astype(int) - colour).max() <= 3


def test_the_colour_stays_beyond_the_first_and_last_position() -> None:
    palette = colormap("7f:00f,80:f00").palette
    assert (palette[:128] == [0, 0, 255]).all()
    assert (palette[128:] == [255, 0, 0]).all()


def test_entries_of_a_signed_map() -> None:
    values = np.array([[-2.0, -1.0, -0.5], [0.0, 0.5, 1.0]], np.float32)
    found = colormap("bwr").index(values)
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 0, 64], [128, 192, 255]]


def test_entries_of_an_unsigned_map() -> None:
    values = np.array([-1.0, -1e-3, 0.0, 0.2, 1.0, 7.0])
    assert colormap("hot").index(values).tolist() == [0, 0, 0, 51, 255, 255]


@pytest.mark.parametrize("name", [*COLORMAPS, "00f,80:fff,f00", "+000,fff"])
def test_stronger_relevance_is_never_an_earlier_entry(name: str) -> None:
    chosen = colormap(name)
    entries = chosen.index(np.linspace(-1, 1, 4001)).astype(int)
    assert (np.diff(entries) >= 0).all()
    assert set(range(128 if chosen.signed else 0, 256)) <= set(entries.tolist())
    assert entries[2000] == (128 if chosen.signed else 0)


def test_palettes_cannot_be_spoilt() -> None:
    with pytest.raises(ValueError, match="read-only"):
        colormap("bwr").palette[0] = 0


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("seismc", "colour map 'seismc'", "did you mean 'seismic'?"),
        ("jet", "expected a name or two or more colours", "known: "),
        ("f00", "expected a name or two or more colours", ""),
        ("", "colour map ''", ""),
        ("00f,,f00", "colour 2 should be", "00f,80:fff,f00"),
        ("00f,xyz", "colour 2 should be [position:]rgb or [position:]rrggbb in hexadecimal, found 'xyz'", ""),
        ("00f,1ff:fff", "colour 2 should be", ""),
        ("00f,ffff", "colour 2 should be", ""),
        ("80:00f,40:fff", "positions must ascend", ""),
        ("80:00f,80:fff", "positions must ascend", ""),
        ("00:00f,ff:fff,f00", "positions must ascend", ""),
    ],
)
def test_unreadable_maps(line: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        colormap(line)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "\n" not in caught.value.message
