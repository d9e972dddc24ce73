"""The size of the image a network wants."""

from __future__ import annotations

from collections.abc import Sequence

from lrptool.errors import ModelError
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.upgrade import Layer

_DATA_BLOCKS = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}
_HINT = "pass input_shape=(channels, height, width), or use the deploy file of the network"


def image_shape(
    source: Layer, tensor: str, given: Sequence[int] | None, where: str
) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return (C, H, W) of the image a source layer brings in, and notes on what was assumed.

    Parameters
    ----------
    source : Layer
        Of a type in `SOURCES`.
    tensor : str
        Which of its tops.
    given : sequence of int, optional
        (C, H, W) or (N, C, H, W) of the caller's; goes before the file's.
    where : str
        The file, for messages.

    Raises
    ------
    ModelError
        The size is stated nowhere, or is not that of an image.
    """
    where = f"{where}: input {tensor!r}"
    notes: tuple[str, ...] = ()
    if given is not None:
        shape = tuple(given) if len(given) == 4 else (1, *given)
        where = f"{where} (input_shape given)"
    elif source.type == "Input":
        shape = _stated(source.options("input_param").shape, source.tops.index(tensor), where)
    elif source.type == "MemoryData":
        options = source.options("memory_data_param")
        shape = (1, options.channels, options.height, options.width)
    elif source.type == "DummyData":
        shape = _dummy(source.options("dummy_data_param"), source.tops.index(tensor), where)
    else:
        shape, notes = _cropped(source, where)
    if len(shape) != 4 or min(shape[1:]) < 1:
        raise ModelError(f"{where}: expected a shape (N, C, H, W), found {shape}", hint=_HINT)
    return (shape[1], shape[2], shape[3]), (*notes, *_preprocessing(source))


def _stated(shapes: Sequence[Message], index: int, where: str) -> tuple[int, ...]:
    """Return the shape of top `index`: its own, or the one for all."""
    if not shapes:
        raise ModelError(f"{where}: its size is stated nowhere", hint=_HINT)
    return tuple(shapes[min(index, len(shapes) - 1)].dim)


def _dummy(options: Message, index: int, where: str) -> tuple[int, ...]:
    """Return the shape of a DummyData top, in the current or the 4-axes form."""
    if options.shape or not options.channels:
        return _stated(options.shape, index, where)
    columns = (options.num, options.channels, options.height, options.width)
    return tuple(column[min(index, len(column) - 1)] if column else 0 for column in columns)


def _cropped(source: Layer, where: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the shape of what a training data layer crops from its images."""
    transform = source.options("transform_param")
    size = transform.crop_size
    if not size and source.type in _DATA_BLOCKS:
        size = source.options(_DATA_BLOCKS[source.type]).crop_size
    if not size:
        raise ModelError(f"{where}: layer {source.name!r} ({source.type}) states no crop_size", hint=_HINT)
    grey = transform.force_gray or (source.type == "ImageData" and not source.options("image_data_param").is_color)
    shape = (1, 1 if grey else 3, size, size)
    return shape, (f"input taken as {shape[1:]}: the crop_size of data layer {source.name!r}",)


def _preprocessing(source: Layer) -> tuple[str, ...]:
    """Say what a data layer does to an image beside cropping."""
    transform = source.options("transform_param")
    facts = []
    if transform.mean_file:
        facts.append(f"mean_file {transform.mean_file}")
    if transform.mean_value:
        facts.append("mean_value " + ", ".join(f"{value:g}" for value in transform.mean_value))
    if transform.HasField("scale"):
        facts.append(f"scale {transform.scale:g}")
    return (f"the data layer {source.name!r} prepares images with {'; '.join(facts)}",) if facts else ()
