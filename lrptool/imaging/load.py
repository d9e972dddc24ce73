"""Read what a user hands in: photos as 8-bit RGB, or arrays that are network inputs already."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lrptool.errors import InputError

Source = Path | str | bytes | BinaryIO
"""A file by path, its bytes, or an open binary stream (a pipe will do)."""

MAX_PIXELS = 178_956_970
"""Pictures with more pixels are refused before they are decoded; Pillow's own limit (512 MiB as RGB)."""

# warnings.catch_warnings swaps a process-wide list, so only one thread at a time may be inside it.
_WARNINGS_LOCK = threading.Lock()


def load_image(source: Source, name: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a picture as upright 8-bit RGB.

    EXIF orientation is applied, transparency is laid on white, grey, palette, CMYK and 16-bit pictures are converted
    (16-bit and floating-point values scaled to 0..255), and of an animation the first frame is taken. Colour profiles
    are ignored, as they were when the published networks were trained.

    Parameters
    ----------
    source : Path, str, bytes or binary stream
        The file.
    name : str, optional
        What errors call it; the path unless given.
    max_pixels : int
        Larger pictures are refused before they are decoded.

    Returns
    -------
    PIL.Image.Image
        Mode ``RGB``, at the picture's full size.

    Raises
    ------
    InputError
        When there is no such file, or it is not a picture, is cut short, empty or too large.
    """
    name = _name(source, name)
    with _opened(source, name) as stream:
        return to_rgb(_header(stream, name, max_pixels), name)


def to_rgb(image: Image.Image, name: str = "<image>") -> Image.Image:
    """Return a picture of any mode as upright 8-bit RGB, as `load_image` does.

    Parameters
    ----------
    image : PIL.Image.Image
        Decoded or freshly opened.
    name : str
        What errors call it.

    Raises
    ------
    InputError
        When it cannot be decoded, cannot be converted, or has values outside 0..65535 (integers) or 0..255 (floats).
    """
    try:
        image.load()
        return _upright_rgb(image, name)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: the picture inside is too large: {_one_line(error)}") from error
    # Pillow's decoders meet damaged files with OSError, SyntaxError, struct.error, IndexError and more.
    except Exception as error:
        raise InputError(
            f"{name}: expected a complete {image.format or image.mode} picture, found damaged data: {_one_line(error)}",
            hint="open and save it again with an image editor, or fetch a fresh copy",
        ) from error


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """Turn, deepen or flatten a decoded picture to 8-bit RGB."""
    with _quiet():
        exif = image.getexif()  # parsed and cached here, where odd tags may not warn
    if exif.get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _deep_to_grey(image, name)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def load_array(source: Source, shape: Sequence[int], name: str | None = None) -> NDArray[np.float32]:
    """Return preprocessed network inputs from a ``.npy`` file.

    Parameters
    ----------
    source : Path, str, bytes or binary stream
        The file.
    shape : (int, int, int)
        (C, H, W) of the network's input.
    name : str, optional
        What errors call it; the path unless given.

    Returns
    -------
    float32 (N, C, H, W)

    Raises
    ------
    InputError
        When the file is no numeric ``.npy`` array, its shape is not (N, C, H, W), or a value is not finite.
    """
    name = _name(source, name)
    expected = tuple(int(size) for size in shape)
    with _opened(source, name) as stream:
        array = _numpy_array(stream, name)
    return check_array(array, expected, name)


def check_array(array: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """Return an array as network inputs.

    Parameters
    ----------
    array : real numbers (N, C, H, W)
    shape : (int, int, int)
        (C, H, W) of the network's input.
    name : str
        What errors call it.

    Returns
    -------
    float32 (N, C, H, W)

    Raises
    ------
    InputError
        Another shape, other numbers than real ones, or a value that is not finite in float32.
    """
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: expected real numbers, found {array.dtype}")
    _check_shape(array, shape, name)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which the next line reports
        values = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        first = ", ".join(str(i) for i in np.argwhere(~finite)[0])
        raise InputError(
            f"{name}: expected finite float32 values, found {int((~finite).sum())} NaN or infinite, first at [{first}]"
        )
    return values


def _name(source: Source, name: str | None) -> str:
    """What errors call the source."""
    if name is not None:
        return name
    return str(source) if isinstance(source, (str, Path)) else "<input>"


@contextmanager
def _opened(source: Source, name: str) -> Iterator[BinaryIO]:
    """Open the source as a seekable, non-empty stream."""
    if isinstance(source, bytes):
        yield _seekable(io.BytesIO(source), name)
        return
    if not isinstance(source, (str, Path)):
        yield _seekable(source, name)
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115  (closed below; only the opening itself is guarded)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{name}: expected a file, found a directory", hint=f"name the files: {name}/*.jpg") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{name}: cannot be opened: {_one_line(error)}") from error
    with stream:
        yield _seekable(stream, name)


def _seekable(stream: BinaryIO, name: str) -> BinaryIO:
    """Return a stream that can be read twice; a pipe is read to its end."""
    try:
        if not stream.seekable():
            stream = io.BytesIO(stream.read())
        if not stream.read(1):
            raise InputError(f"{name}: expected a picture or array, found an empty file (0 bytes)")
        stream.seek(-1, io.SEEK_CUR)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {_one_line(error)}") from error
    return stream


def _header(stream: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Open a picture without decoding it, and refuse it by its size."""
    try:
        with _quiet():
            image = Image.open(stream)
    except UnidentifiedImageError:
        raise InputError(
            f"{name}: expected a picture (JPEG, PNG, TIFF, BMP, GIF, WebP …), found something else",
            hint="network inputs are read from files that end in .npy",
        ) from None
    except Image.DecompressionBombError as error:
        # Pillow counts before it hands the picture out, so its sentence is the only source of the number.
        found = re.search(r"\d+", str(error))
        raise _too_large(name, f"{found[0]} pixels" if found else _one_line(error), max_pixels) from error
    except Exception as error:  # a damaged header: OSError, SyntaxError, struct.error, ValueError …
        raise InputError(f"{name}: expected a picture, found a damaged header: {_one_line(error)}") from error
    pixels = image.width * image.height
    if pixels == 0:
        raise InputError(f"{name}: expected at least one pixel, found {image.width}×{image.height}")
    if pixels > max_pixels:
        raise _too_large(name, f"{image.width}×{image.height} = {pixels} pixels", max_pixels)
    return image


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Pillow warns of: half the pixel limit, and every odd EXIF tag."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _too_large(name: str, found: str, max_pixels: int) -> InputError:
    """The error for a picture beyond the limit."""
    return InputError(
        f"{name}: expected at most {max_pixels} pixels, found {found}",
        hint="scale the picture down first; networks look at a few hundred pixels a side",
    )


def _deep_to_grey(image: Image.Image, name: str) -> Image.Image:
    """Scale one channel of more than 8 bits to 0..255: integers from 0..65535, floats from 0..1 or 0..255."""
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if image.mode != "F":
        limit, scale = 65535.0, 255 / 65535
    else:
        limit, scale = (1.0, 255.0) if high <= 1 else (255.0, 1.0)
    if not (low >= 0 and high <= limit):  # also true for NaN
        raise InputError(
            f"{name}: expected pixel values in 0..{limit:g}, found {low:g}..{high:g}",
            hint="save the picture with 8 or 16 bits per channel",
        )
    return Image.fromarray(np.rint(values * scale).astype(np.uint8))


def _numpy_array(stream: BinaryIO, name: str) -> NDArray[Any]:
    """Read a real-valued array; nothing in the file is ever unpickled."""
    try:
        array = np.load(stream, allow_pickle=False)
    # A damaged header raises ValueError, EOFError, SyntaxError, TypeError, tokenize errors; a lying one MemoryError.
    except Exception as error:
        raise InputError(
            f"{name}: expected a .npy array of numbers, found something else: {_one_line(error)}",
            hint="write it with numpy.save(path, array.astype('float32'))",
        ) from error
    if not isinstance(array, np.ndarray):
        names = ", ".join(array.files)
        array.close()
        raise InputError(
            f"{name}: expected one .npy array, found a .npz archive of: {names}",
            hint="write the one array with numpy.save",
        )
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{name}: expected floating-point or integer numbers, found dtype {array.dtype}",
            hint="convert it with array.astype('float32')",
        )
    return array


def _check_shape(array: NDArray[Any], expected: tuple[int, ...], name: str) -> None:
    """Refuse an array that is not (N, C, H, W) with the network's C, H and W."""
    wanted = "(N, " + ", ".join(str(size) for size in expected) + ")"
    found = "(" + ", ".join(str(size) for size in array.shape) + ("," if array.ndim == 1 else "") + ")"
    if array.ndim == 4 and array.shape[1:] == expected and array.shape[0] > 0:
        return
    hint = "the array must be the network's input as it is: preprocessed, in its channel order and size"
    if array.shape == expected:
        hint = "add the batch axis: array[None]"
    elif array.ndim == 4 and array.shape[0] == 0:
        hint = "the batch is empty"
    elif array.ndim == 4 and (array.shape[3], *array.shape[1:3]) == expected:
        hint = "channels come before height and width: array.transpose(0, 3, 1, 2)"
    raise InputError(f"{name}: expected shape {wanted}, found {found}", hint=hint)


def _one_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
