"""Layers that make maps larger or smaller, or cut pieces out of them."""

from __future__ import annotations

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.registry import Step, translates

_LARGEST = 2**14


@translates("Interp")
def interpolate(step: Step) -> None:
    """Resize with aligned corners, behind a Slice where a negative padding crops (DeepLab, PSPNet)."""
    options = step.options("interp_param")
    tensor, *others = step.inputs
    shape = step.shape(tensor)
    if len(shape) != 4 or len(others) > 1:
        raise ModelError(f"{step.where}: expected an input (N, C, H, W), found shape {shape}")
    begin, end = -options.pad_beg, -options.pad_end
    if begin < 0 or end < 0:
        raise UnsupportedError(f"{step.where}: expected pad_beg and pad_end of 0 or less, found {-begin} and {-end}")
    size = [(length or 0) - begin - end for length in shape[2:]]
    if min(size) < 1:
        raise ModelError(f"{step.where}: nothing of {shape} is left when {begin} and {end} are cut off")
    if begin or end:
        stops = tuple((length or 0) - end for length in shape[2:])
        tensor = step.helper(
            "cropped", "Slice", (tensor,), starts=(begin, begin), ends=stops, axes=(2, 3), steps=(1, 1)
        )
    wanted = step.shape(others[0])[2:] if others else _wanted(step, options, size)
    _resize(step, tensor, size, wanted, mode="linear", transformation="align_corners")


def _wanted(step: Step, options: Message, size: list[int]) -> tuple[int, ...]:
    """Return the size that Interp's options ask for."""
    zoom, shrink = options.zoom_factor, options.shrink_factor
    if zoom < 1 or shrink < 1:
        raise ModelError(f"{step.where}: expected factors of 1 or more, found zoom {zoom} and shrink {shrink}")
    # One factor goes before a size, a size before two factors.
    factors = options.HasField("zoom_factor") + options.HasField("shrink_factor")
    if factors == 0 or (factors == 2 and options.height and options.width):
        return options.height, options.width
    smaller = [(length - 1) // shrink + 1 for length in size]
    return tuple(length + (length - 1) * (zoom - 1) for length in smaller)


@translates("Upsample")
def upsample(step: Step) -> None:
    """Resize that repeats values; the form with a mask of maxima (SegNet) is refused."""
    if len(step.inputs) != 1:
        raise UnsupportedError(
            f"{step.where}: puts values back where a pooling found its maxima",
            hint="classifiers end before it: --head NAME takes the scores from there",
        )
    options = step.options("upsample_param")
    _, *size = step.image_shape()
    factors = (options.scale_h or options.scale, options.scale_w or options.scale)
    wanted = tuple(length * factor for length, factor in zip(size, factors, strict=True))
    _resize(step, step.input, size, wanted, mode="nearest", transformation="asymmetric")


def _resize(
    step: Step, tensor: str, size: list[int], wanted: tuple[int | None, ...], *, mode: str, transformation: str
) -> None:
    """Add the layer's Resize to `wanted` rows and columns."""
    rows, columns = (length or 0 for length in wanted)
    if not (1 <= rows <= _LARGEST and 1 <= columns <= _LARGEST):
        raise ModelError(f"{step.where}: expected an output size, found {rows} by {columns}")
    channels = step.shape(tensor)[1] or 0
    step.node(
        "Resize",
        tensor,
        mode=mode,
        coordinate_transformation_mode=transformation,
        nearest_mode="floor",
        scales=(1.0, 1.0, rows / size[0], columns / size[1]),
        sizes=(1, channels, rows, columns),
    )


@translates("Crop")
def crop(step: Step) -> None:
    """Slice to the size of a second tensor, of which nothing but its shape counts."""
    tensor, reference = step.two_inputs()
    options = step.options("crop_param")
    shape, like = step.shape(tensor), step.shape(reference)
    axis, offsets = step.axis(options.axis), list(options.offset)
    rank = len(shape)
    if len(like) != rank or len(offsets) not in (0, 1, rank - axis):
        raise ModelError(
            f"{step.where}: {shape} cannot be cropped to {like} from axis {axis} on with {len(offsets)} offsets"
        )
    starts = tuple(offsets) if len(offsets) == rank - axis else tuple(offsets or [0]) * (rank - axis)
    ends = tuple(start + (size or 0) for start, size in zip(starts, like[axis:], strict=True))
    if any(end > (size or 0) for end, size in zip(ends, shape[axis:], strict=True)):
        raise ModelError(f"{step.where}: {shape} has no {like[axis:]} from {starts} on")
    step.node("Slice", tensor, starts=starts, ends=ends, axes=tuple(range(axis, rank)), steps=(1,) * (rank - axis))
