"""The image a network wants, and how the file lays it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from onnx import TensorProto, ValueInfoProto

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.onnx.layout import Mode, Sizes

_CHANNELS = (1, 3, 4)
_HINT = "give --input-shape C,H,W (in Python input_shape=(C, H, W))"
_INTEGERS = frozenset({TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT16})
_OTHERS = frozenset({TensorProto.STRING, TensorProto.BOOL, TensorProto.COMPLEX64, TensorProto.COMPLEX128})
_SEVERAL = (2, 3, 5)
"""Sizes of the batch that shapes are computed for: what is 2, 3 and 5 times a number follows the batch."""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input of a network, in the graph and in the file.

    Parameters
    ----------
    name : str
    item : tuple of int
        An item's shape in the graph: (C, H, W) wherever the input can be an image.
    perm : tuple of int or None
        The order of the item's axes in the file, where it differs: (1, 2, 0) for channels last.
    stored : tuple of int
        An item's shape in the file.
    batch : int or None
        The size of the batch the file states; None where it is left open.
    batched : bool
        Whether the file's input has a batch axis.
    integer : bool
        Whether the file takes integers.
    notes : tuple of str
    """

    name: str
    item: Sizes
    perm: Sizes | None
    stored: Sizes
    batch: int | None
    batched: bool
    integer: bool
    notes: tuple[str, ...]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The ways to read the batch, the most general one first."""
        if self.batched and self.batch is None:
            return (Mode(_SEVERAL), Mode((1,)), Mode((1,), follow=False))
        if self.batched and self.batch != 1:
            return (Mode((self.batch or 1,)),)
        return (Mode((1,)), Mode((1,), follow=False))


def image_input(value: ValueInfoProto, given: Sequence[int] | None, where: str) -> ImageInput:
    """Return what a network wants.

    Parameters
    ----------
    value : ValueInfoProto
        The file's input.
    given : sequence of int, optional
        (C, H, W) or (N, C, H, W) of the caller's; fills in what the file leaves open.
    where : str
        The file, for messages.

    Raises
    ------
    ModelError
        A size is stated nowhere, or the caller's does not fit the file's.
    UnsupportedError
        An input that no image can be.
    """
    where = f"{where}: input {value.name!r}"
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type in _OTHERS:
        raise UnsupportedError(f"{where}: expected an array of numbers")
    wanted = None if given is None else tuple(given)[-3:]
    if wanted is not None and (len(tuple(given or ())) not in (3, 4) or min(wanted) < 1):
        raise ModelError(f"{where}: expected an input_shape (C, H, W), found {tuple(given or ())}")
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    if not kind.HasField("shape"):
        dims = [None] * 4
    if len(dims) not in (2, 3, 4, 5):
        raise UnsupportedError(f"{where}: expected 2 to 5 axes, found {len(dims)}")
    batched = len(dims) != 3 or not _is_image(dims)
    if len(dims) == 2 and wanted and None not in dims and prod(d or 0 for d in dims) == prod(wanted):
        batched = False
    sizes = dims[1:] if batched else dims
    order, stored = _stored(sizes, wanted, where)
    item = wanted or stored
    if order is not None:
        item = (stored[2], stored[0], stored[1])
    elif wanted is None and len(stored) == 2:
        item = (1, *stored)
    notes = ["the network takes images with the channels last: they are turned in front of it"] if order else []
    integer = kind.elem_type in _INTEGERS
    if integer:
        notes.append("the network takes whole numbers from 0 to 255: no mean, no scale")
    return ImageInput(value.name, item, order, stored, dims[0] if batched else 1, batched, integer, tuple(notes))


def _is_image(dims: Sequence[int | None]) -> bool:
    """Whether three axes are those of one image, without a batch."""
    if None in dims:
        return False
    first, middle, last = (size or 0 for size in dims)
    return (first in _CHANNELS and min(middle, last) > max(_CHANNELS)) or (
        last in _CHANNELS and min(first, middle) > max(_CHANNELS)
    )


def _stored(sizes: Sequence[int | None], wanted: Sizes | None, where: str) -> tuple[Sizes | None, Sizes]:
    """Return the order of an image's axes in the file (None: as in the graph) and an item's shape in the file."""
    known = [size for size in sizes if size is not None]
    if len(sizes) == 3:
        last = sizes[2] in _CHANNELS and all(size is None or size > max(_CHANNELS) for size in sizes[:2])
        if wanted is not None:
            turned = (wanted[1], wanted[2], wanted[0])
            for order, shape in ((None, wanted), ((1, 2, 0), turned)):
                fits = all(size in (None, mine) for size, mine in zip(sizes, shape, strict=True))
                if fits and (order is None or last):
                    return order, shape
        elif len(known) == len(sizes):
            return ((1, 2, 0) if last else None), tuple(known)
    elif len(known) == len(sizes) and (wanted is None or prod(wanted) == prod(known)):
        return None, tuple(known)
    shown = tuple("?" if size is None else size for size in sizes)
    if wanted is None:
        raise ModelError(f"{where}: its size is left open: (N, {', '.join(map(str, shown))})", hint=_HINT)
    raise ModelError(f"{where}: an input_shape of {wanted} does not fit (N, {', '.join(map(str, shown))})")
