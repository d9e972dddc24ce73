"""Options that Caffe spells in several ways."""

from __future__ import annotations

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.caffe.schema import Message
from lrptool.loaders.caffe.translate.registry import Step

_LARGEST = 2**16


def enum_name(options: Message, field: str) -> str:
    """Return the word for an enum field's value."""
    values = options.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(options, field)].name)


def spatial(
    step: Step,
    options: Message,
    field: str,
    short: str,
    *,
    axes: int = 2,
    default: int | None = None,
    least: int = 1,
) -> tuple[int, ...]:
    """Return an option with a number per axis of the image.

    Parameters
    ----------
    step : Step
    options : Message
        A block of options.
    field : str
        The repeated field: one number for all axes, or one per axis.
    short : str
        ``kernel`` for ``kernel_h`` and ``kernel_w``.
    axes : int
        How many there are.
    default : int, optional
        Where the file says nothing; without it that is an error.
    least : int
        Smallest number allowed.

    Raises
    ------
    ModelError
        Missing, given twice, too small or too large.
    UnsupportedError
        Numbers for another count of axes.
    """
    if options.DESCRIPTOR.fields_by_name[field].is_repeated:
        values = list(getattr(options, field))
    else:
        values = [getattr(options, field)] if options.HasField(field) else []
    single = [f"{short}_h", f"{short}_w"]
    given = [name for name in single if name in options.DESCRIPTOR.fields_by_name and options.HasField(name)]
    if values and given:
        raise ModelError(f"{step.where}: expected {field} or {short}_h and {short}_w, found both")
    if given:
        values = [getattr(options, name) for name in single]
    elif not values and default is not None:
        values = [default]
    if len(values) not in (0, 1, axes):
        raise UnsupportedError(
            f"{step.where}: expected {field} for {_COUNTS.get(axes, axes)} axes, found {len(values)}"
        )
    if not values or min(values) < least or max(values) > _LARGEST:
        raise ModelError(f"{step.where}: expected {field} of {least} or more, found {values or 'nothing'}")
    return tuple(values) if len(values) == axes else (values[0],) * axes


_COUNTS = {1: "one", 2: "two", 3: "three"}
