"""Pictures and arrays as users hand them in."""

from __future__ import annotations

import io
import os
import pickle
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lrptool.errors import InputError
from lrptool.imaging import load_array, load_image, to_rgb

SHAPE = (3, 5, 4)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def npy(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    """A PNG written by hand: header and whatever rows are given."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def pixel(source: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    image = load_image(source, "x.png")
    assert image.mode == "RGB"
    return image.getpixel(at)


def refused(source: object, name: str | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        load_image(source, name)
    assert "\n" not in caught.value.message
    return caught.value


# --- modes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("1", 0, (0, 0, 0)),
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("RGBA", (200, 100, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (0, 51), (204, 204, 204)),
    ],
)
def test_png_modes(mode: str, colour: object, expected: tuple[int, ...]) -> None:
    assert pixel(encoded(Image.new(mode, (3, 2), colour))) == expected


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([250, 0, 0, 0, 120, 0])
    image.putpixel((1, 0), 1)
    assert pixel(encoded(image), (1, 0)) == (0, 120, 0)
    see_through = encoded(image, transparency=0)
    assert pixel(see_through, (0, 0)) == (255, 255, 255)
    assert pixel(see_through, (1, 0)) == (0, 120, 0)


def test_a_transparent_colour_of_an_rgb_png_is_laid_on_white() -> None:
    image = Image.new("RGB", (2, 1), (9, 9, 9))
    image.putpixel((1, 0), (50, 60, 70))
    source = encoded(image, transparency=(9, 9, 9))
    assert pixel(source) == (255, 255, 255)
    assert pixel(source, (1, 0)) == (50, 60, 70)


def test_cmyk_jpeg() -> None:
    source = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    red, green, blue = pixel(source)
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (32768, 128), (257 * 3, 3), (200, 1)])
def test_16_bit_grey_is_scaled(value: int, expected: int) -> None:
    rows = 2 * (b"\0" + 3 * struct.pack(">H", value))
    assert pixel(png(3, 2, depth=16, rows=rows)) == (expected,) * 3


def test_16_bit_rgb_png() -> None:
    rows = b"\0" + struct.pack(">HHH", 65535, 257 * 100, 0)
    assert pixel(png(1, 1, depth=16, colour=2, rows=rows)) == (255, 100, 0)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.float32, [0.0, 0.5, 1.0], [0, 128, 255]),
        (np.float32, [0.0, 100.0, 255.0], [0, 100, 255]),
        (np.int32, [0, 257 * 9, 65535], [0, 9, 255]),
    ],
)
def test_deep_tiff(dtype: type, values: list[float], expected: list[int]) -> None:
    source = encoded(Image.fromarray(np.array([values], dtype=dtype)), "TIFF")
    found = np.asarray(load_image(source, "x.tif"))
    assert found.shape == (1, 3, 3)
    assert found[0, :, 1].tolist() == expected


@pytest.mark.parametrize(
    ("dtype", "values"), [(np.float32, [0.0, 4000.0]), (np.float32, [0.0, np.nan]), (np.int32, [-1, 5])]
)
def test_a_deep_picture_of_unknown_range_is_refused(dtype: type, values: list[float]) -> None:
    source = encoded(Image.fromarray(np.array([values], dtype=dtype)), "TIFF")
    error = refused(source, "deep.tif")
    assert error.message.startswith("deep.tif: expected pixel values in 0..")


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    source = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(source) == (255, 0, 0)


# --- orientation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    upright = np.arange(3 * 2, dtype=np.uint8).reshape(2, 3) * 40
    # How a camera stores the upright picture, by the definition of each tag (row 0 at …, column 0 at …).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    found = load_image(source, "x.png")
    assert np.array_equal(np.asarray(found)[..., 0], upright)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [("PA", (0, 0), (255, 255, 255)), ("PA", (0, 255), (250, 0, 0)), ("I;16", 257 * 9, (9, 9, 9))],
)
def test_modes_no_file_format_keeps(mode: str, colour: object, expected: tuple[int, ...]) -> None:
    image = Image.new("P" if mode == "PA" else mode, (3, 2), 0 if mode == "PA" else colour)
    if mode == "PA":
        image.putpalette([250, 0, 0])
        image = image.convert("PA")
        image.putalpha(colour[1])
    assert image.mode == mode
    assert to_rgb(image).getpixel((2, 1)) == expected


def test_a_picture_object_that_cannot_be_used() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    cut = Image.open(io.BytesIO(encoded(noise, "JPEG")[:900]))
    for image in (cut, Image.new("La", (3, 2))):  # Pillow converts premultiplied grey to nothing we could use
        with pytest.raises(InputError) as caught:
            to_rgb(image, "mine")
        assert caught.value.message.startswith("mine: expected a complete ")
        assert "\n" not in caught.value.message


def test_a_picture_object_is_brought_to_rgb_and_left_as_it_was() -> None:
    image = Image.new("LA", (3, 2), (0, 51))
    assert to_rgb(image).getpixel((0, 0)) == (204, 204, 204)
    assert image.mode == "LA"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_jpeg(orientation: int) -> None:
    # The upright picture has red left above, green right above, blue left below and white right below.
    upright = {"left above": "red", "right above": "lime", "left below": "blue", "right below": "white"}
    # Where the corners lie in the file: (left above, right above, left below, right below), from the EXIF standard.
    stored = {
        1: ("left above", "right above", "left below", "right below"),
        2: ("right above", "left above", "right below", "left below"),
        3: ("right below", "left below", "right above", "left above"),
        4: ("left below", "right below", "left above", "right above"),
        5: ("left above", "left below", "right above", "right below"),
        6: ("right above", "right below", "left above", "left below"),
        7: ("right below", "right above", "left below", "left above"),
        8: ("left below", "left above", "right below", "right above"),
    }[orientation]
    wide, high = (48, 32) if orientation <= 4 else (32, 48)
    sheet = Image.new("RGB", (wide, high))
    for k, corner in enumerate(stored):
        sheet.paste(upright[corner], (k % 2 * wide // 2, k // 2 * high // 2, (k % 2 + 1) * wide // 2, high))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = load_image(encoded(sheet, "JPEG", exif=exif, quality=95), "x.jpg")
    assert found.size == (48, 32)
    for at, colour in (((6, 6), "red"), ((42, 6), "lime"), ((6, 26), "blue"), ((42, 26), "white")):
        expected = np.array(Image.new("RGB", (1, 1), colour).getpixel((0, 0)))
        assert np.abs(np.array(found.getpixel(at)) - expected).max() < 25


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    found = load_image(encoded(image, exif=exif), "x.png")
    assert np.array_equal(np.asarray(found)[..., 0], np.asarray(image))


def test_a_deep_picture_is_turned_as_well() -> None:
    deep = np.array([[0, 257 * 10, 257 * 20], [257 * 30, 257 * 40, 65535]], np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 3
    found = load_image(encoded(Image.fromarray(deep), "TIFF", exif=exif), "x.tif")
    assert np.asarray(found)[..., 1].tolist() == [[255, 40, 30], [20, 10, 0]]


# --- sources ----------------------------------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """Bytes that can be read once, like a shell pipe."""

    def __init__(self, contents: bytes) -> None:
        self._rest = io.BytesIO(contents)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        return self._rest.readinto(buffer)


def test_path_string_bytes_stream_and_pipe(tmp_path: Path) -> None:
    contents = encoded(Image.new("RGB", (3, 2), (1, 2, 3)))
    path = tmp_path / "a picture é.png"
    path.write_bytes(contents)
    for source in (path, str(path), contents, io.BytesIO(contents), Pipe(contents)):
        assert load_image(source).getpixel((2, 1)) == (1, 2, 3)


def test_many_threads_leave_the_warning_filters_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = encoded(Image.new("RGB", (6, 4), (1, 2, 3)))
    really_open = Image.open

    def slow_open(stream: io.BytesIO) -> Image.Image:
        time.sleep(0.002)  # time for another thread to step in
        return really_open(stream)

    monkeypatch.setattr(Image, "open", slow_open)
    before = list(warnings.filters)
    threads = [threading.Thread(target=load_image, args=(contents,)) for _ in range(20)]
    for thread in threads:
        thread.start()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert warnings.filters == before


# --- bad pictures -----------------------------------------------------------------------------------------------


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.jpg").message == f"{tmp_path / 'none.jpg'}: no such file"
    assert "found a directory" in refused(tmp_path).message
    assert "cannot be opened" in refused("nul\0byte.png").message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(Image.new("L", (2, 2))))
    path.chmod(0)
    assert "cannot be opened" in refused(path).message


def test_a_file_nobody_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    assert refused("secret.png").message == "secret.png: cannot be opened: [Errno 13] Permission denied"


def test_a_device_that_fails_while_it_is_read() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    assert refused(Broken(b"x"), "stick.jpg").message == "stick.jpg: cannot be read: [Errno 5] Input/output error"


def test_text_and_empty_files() -> None:
    assert refused(b"just some words\n" * 9, "notes.txt").message.startswith("notes.txt: expected a picture")
    assert "0 bytes" in refused(b"", "empty.jpg").message


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_pictures_are_refused(form: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    contents = encoded(Image.fromarray(noise), form)
    error = refused(contents[: int(len(contents) * share)], "cut.img")
    assert error.message.startswith("cut.img: expected a")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_damaged_pictures_never_raise_anything_else(form: str) -> None:
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8))
    contents = encoded(noise, form) if form == "GIF" else encoded(noise, form, exif=exif)
    outcomes, lines = {"read": 0, "refused": 0}, 0
    for _ in range(150):
        damaged = bytearray(contents)
        for place in rng.integers(0, min(len(damaged), 200), 4):
            damaged[place] = rng.integers(0, 256)
        try:
            assert load_image(bytes(damaged), "x").mode == "RGB"
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused"] += 1
            lines = max(lines, len(error.message.splitlines()))
    assert outcomes["refused"] > 10
    assert lines == 1


@pytest.mark.parametrize("contents", [png(0, 0), b"P5 0 0 255\n", png(0, 7)])
def test_pictures_without_pixels(contents: bytes) -> None:
    assert refused(contents, "void.img").message.startswith("void.img: expected")


@pytest.mark.parametrize("depth", [1, 8])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(depth: int) -> None:
    error = refused(png(50_000, 50_000, depth=depth), "bomb.png")
    assert error.message == "bomb.png: expected at most 178956970 pixels, found 2500000000 pixels"
    assert error.hint is not None


def test_large_pictures_below_the_limit_do_not_warn() -> None:
    # 100 million pixels: Pillow warns from 89 million on, and warnings are errors in these tests.
    with pytest.raises(InputError, match="damaged data"):
        load_image(png(10_000, 10_000), "large.png")


def test_the_limit_can_be_lowered() -> None:
    contents = encoded(Image.new("L", (30, 20)))
    assert load_image(contents, max_pixels=600).size == (30, 20)
    with pytest.raises(InputError, match="at most 599 pixels, found 30×20 = 600 pixels"):
        load_image(contents, max_pixels=599)


# --- arrays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16", "uint8", ">f4"])
def test_array_dtypes(dtype: str) -> None:
    values = np.arange(2 * 60).reshape(2, *SHAPE) % 100
    found = load_array(npy(values.astype(dtype)), SHAPE)
    assert found.dtype == np.float32
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    assert np.array_equal(found, values)


def test_fortran_order() -> None:
    values = np.arange(60, dtype=np.float32).reshape(1, *SHAPE)
    assert np.array_equal(load_array(npy(np.asfortranarray(values)), SHAPE), values)


@pytest.mark.parametrize(
    ("shape", "message", "hint"),
    [
        ((3, 5, 4), "expected shape (N, 3, 5, 4), found (3, 5, 4)", "array[None]"),
        ((2, 5, 4, 3), "found (2, 5, 4, 3)", "transpose(0, 3, 1, 2)"),
        ((2, 3, 4, 5), "found (2, 3, 4, 5)", "preprocessed"),
        ((1, 1, 5, 4), "found (1, 1, 5, 4)", "preprocessed"),
        ((0, 3, 5, 4), "found (0, 3, 5, 4)", "empty"),
        ((60,), "found (60,)", "preprocessed"),
        ((), "found ()", "preprocessed"),
    ],
)
def test_wrong_array_shapes(shape: tuple[int, ...], message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        load_array(npy(np.zeros(shape, np.float32)), SHAPE, "in.npy")
    assert caught.value.message.startswith("in.npy: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("dtype", ["bool", "complex64", "U3", "datetime64[s]"])
def test_wrong_array_dtypes(dtype: str) -> None:
    with pytest.raises(InputError, match="found dtype"):
        load_array(npy(np.zeros((1, *SHAPE), dtype)), SHAPE, "in.npy")


def test_values_that_are_not_finite() -> None:
    values = np.zeros((2, *SHAPE), np.float32)
    values[1, 2, 0, 3] = np.nan
    values[1, 2, 4, 3] = -np.inf
    with pytest.raises(InputError, match=r"found 2 NaN or infinite, first at \[1, 2, 0, 3\]"):
        load_array(npy(values), SHAPE, "in.npy")


def test_float64_values_beyond_float32() -> None:
    with pytest.raises(InputError, match="60 NaN or infinite"):
        load_array(npy(np.full((1, *SHAPE), 1e300)), SHAPE)


SPRUNG: list[str] = []


class Trap:
    """Writes down that it was unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (SPRUNG.append, ("sprung",))


def test_nothing_is_unpickled() -> None:
    objects = np.empty((1, *SHAPE), dtype=object)
    objects[...] = Trap()
    for contents in (npy(objects, allow_pickle=True), pickle.dumps(Trap())):
        with pytest.raises(InputError, match=r"expected a \.npy array of numbers"):
            load_array(contents, SHAPE)
    assert SPRUNG == []


def test_an_archive_is_named_with_what_is_in_it() -> None:
    archive = io.BytesIO()
    np.savez(archive, x=np.zeros(3), y=np.zeros(4))
    with pytest.raises(InputError, match=r"in\.npy: .*npz archive of: x, y"):
        load_array(archive.getvalue(), SHAPE, "in.npy")


def test_damaged_arrays() -> None:
    whole = npy(np.zeros((1, *SHAPE), np.float32))
    lying = io.BytesIO()  # a header that promises 24 TB
    header = {"descr": "<f4", "fortran_order": False, "shape": (100_000_000_000, *SHAPE)}
    np.lib.format.write_array_header_1_0(lying, header)
    for contents in (whole[:-8], whole[:40], whole[:7], lying.getvalue(), b"text"):
        with pytest.raises(InputError, match=r"in\.npy: expected a \.npy array of numbers"):
            load_array(contents, SHAPE, "in.npy")


def test_photos_of_the_reference_folder_are_upright_rgb(shared: Path) -> None:
    files = sorted((shared / "images" / "photos").iterdir())
    assert len(files) > 10
    for path in files:
        with Image.open(path) as raw:
            expected = ImageOps.exif_transpose(raw).size
        found = load_image(path)
        assert (found.mode, found.size) == ("RGB", expected)
