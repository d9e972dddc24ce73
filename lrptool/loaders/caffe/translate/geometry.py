"""Sizes along the two axes of an image."""

from __future__ import annotations

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.registry import Step


def pair(
    step: Step, options: Message, field: str, short: str, *, default: int | None = None, least: int = 1
) -> tuple[int, int]:
    """Return (height, width) of an option that Caffe spells in three ways.

    Parameters
    ----------
    step : Step
    options : Message
        A block of options.
    field : str
        The repeated field: one number for both axes, or one per axis.
    short : str
        ``kernel`` for ``kernel_h`` and ``kernel_w``.
    default : int, optional
        Where the file says nothing; without it that is an error.
    least : int
        Smallest number allowed.

    Raises
    ------
    ModelError
        Missing, given twice, or too small.
    UnsupportedError
        Numbers for more than two axes.
    """
    values = list(getattr(options, field))
    single = [f"{short}_h", f"{short}_w"]
    given = [name for name in single if name in options.DESCRIPTOR.fields_by_name and options.HasField(name)]
    if values and given:
        raise ModelError(f"{step.where}: expected {field} or {short}_h and {short}_w, found both")
    if given:
        values = [getattr(options, name) for name in single]
    elif not values and default is not None:
        values = [default]
    if len(values) > 2:
        raise UnsupportedError(f"{step.where}: expected {field} for two axes, found {len(values)}")
    if not values or min(values) < least:
        raise ModelError(f"{step.where}: expected {field} of {least} or more, found {values or 'nothing'}")
    return values[0], values[-1]
