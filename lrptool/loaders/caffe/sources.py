"""The size of the image a network wants."""

from __future__ import annotations

from collections.abc import Sequence

from lrptool.errors import ModelError
from lrptool.loaders.caffe.layer import Layer
from lrptool.loaders.caffe.schema import Message

_DATA_BLOCKS = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}
_KNOWN = {"cifar100": (3, 32, 32), "cifar10": (3, 32, 32), "cifar": (3, 32, 32), "mnist": (1, 28, 28)}
"""Images of data sets that training files name without a size, by a word in the path of the data."""
_LARGEST = 2**16
_HINT = "give --input-shape C,H,W (in Python input_shape=(C, H, W)), or use the deploy file of the network"


def image_shape(
    source: Layer, tensor: str, given: Sequence[int] | None
) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return (C, H, W) of the image a source layer brings in, and notes on what was assumed.

    Parameters
    ----------
    source : Layer
        One that brings images in.
    tensor : str
        Which of its tops.
    given : sequence of int, optional
        (C, H, W) or (N, C, H, W) of the caller's; goes before the file's.

    Raises
    ------
    ModelError
        The size is stated nowhere, or is not that of an image.
    """
    where = f"{source.place}: input {tensor!r}"
    notes: tuple[str, ...] = ()
    if given is not None:
        shape = tuple(given) if len(given) == 4 else (1, *given)
        where = f"{where} (input_shape given)"
    elif source.type == "Input":
        shape = _stated(source.options("input_param").shape, source.tops.index(tensor), where)
    elif source.type == "MemoryData":
        options = source.options("memory_data_param")
        shape = tuple(options.dim) or (1, options.channels, options.height, options.width)
    elif source.type == "DummyData":
        shape = dummy_shape(source, tensor)
    else:
        shape, notes = _cropped(source, where)
    if len(shape) != 4 or min(shape[1:]) < 1 or max(shape) > _LARGEST:
        raise ModelError(f"{where}: expected a shape (N, C, H, W), found {shape}", hint=_HINT)
    return (shape[1], shape[2], shape[3]), (*notes, *_preprocessing(source))


def _stated(shapes: Sequence[Message], index: int, where: str) -> tuple[int, ...]:
    """Return the shape of top `index`: its own, or the one for all."""
    if not shapes:
        raise ModelError(f"{where}: its size is stated nowhere", hint=_HINT)
    return tuple(shapes[min(index, len(shapes) - 1)].dim)


def dummy_shape(source: Layer, tensor: str) -> tuple[int, ...]:
    """Return the shape of a DummyData top, in the current or the 4-axes form."""
    options, index = source.options("dummy_data_param"), source.tops.index(tensor)
    if options.shape or not options.channels:
        return _stated(options.shape, index, f"{source.place}: input {tensor!r}")
    columns = (options.num, options.channels, options.height, options.width)
    return tuple(column[min(index, len(column) - 1)] if column else 0 for column in columns)


def _cropped(source: Layer, where: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the shape of what a training data layer crops from its images, or makes of them."""
    transform = source.options("transform_param")
    block = source.options(_DATA_BLOCKS.get(source.type, "data_param"))
    size = (transform.crop_h, transform.crop_w) if transform.crop_h else (transform.crop_size or block.crop_size,) * 2
    what = "crop_size"
    if not all(size) and source.type == "ImageData":
        size, what = (block.new_height, block.new_width), "new_height and new_width"
    if not all(size):
        known = next((word for word in _KNOWN if word in block.source.lower()), None)
        if known is None:
            raise ModelError(f"{where}: layer {source.name!r} ({source.type}) states no crop_size", hint=_HINT)
        note = f"input taken as {_KNOWN[known]}: the images of {known}, which data layer {source.name!r} reads"
        return (1, *_KNOWN[known]), (note,)
    grey = transform.force_gray or (source.type == "ImageData" and not block.is_color)
    shape = (1, 1 if grey else 3, *size)
    return shape, (f"input taken as {shape[1:]}: the {what} of data layer {source.name!r}",)


def _preprocessing(source: Layer) -> tuple[str, ...]:
    """Say what a data layer does to an image beside cropping."""
    transform = source.options("transform_param")
    block = source.options(_DATA_BLOCKS.get(source.type, "data_param"))
    facts = []
    if mean_file := transform.mean_file or block.mean_file:
        facts.append(f"mean_file {mean_file}")
    if transform.mean_value:
        facts.append("mean_value " + ", ".join(f"{value:g}" for value in transform.mean_value))
    scale = transform.scale if transform.HasField("scale") else block.scale
    if scale != 1:
        facts.append(f"scale {scale:g}")
    return (f"the data layer {source.name!r} prepares images with {'; '.join(facts)}",) if facts else ()
