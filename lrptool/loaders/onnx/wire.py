"""Protobuf's wire format, as far as weights need it: they stay in the file until somebody wants them.

protobuf copies what it reads, and every look at a weight copies it once more: half a gigabyte would take three times
its size. So large tensors are spelled as what ONNX has for weights in files of their own, the file being the model's.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import StringStringEntryProto, TensorProto

_SIZED = 2
_FIXED = {1: 8, 5: 4}
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Fields of a ModelProto, a GraphProto and a TensorProto."""
_MOST_FIELDS = 250_000
"""Of one message: many times what the largest networks have."""
LARGE = 2**16
"""Bytes from which on weights stay in the file."""


class DamagedError(Exception):
    """The bytes are not the wire format, or more of it than any network has."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its number, where it begins, where its value does, and where it ends."""

    number: int
    sized: bool
    begin: int
    value: int
    end: int


def without_weights(data: memoryview, name: str) -> bytes:
    """Return a model with its large weights left in their file.

    Parameters
    ----------
    data : memoryview
        A ModelProto.
    name : str
        What the file is called, for the entries that refer to it.

    Raises
    ------
    DamagedError
        The bytes are not the wire format.
    """
    return _copied(data, 0, len(data), (_GRAPH, _INITIALIZER), name)


def _copied(data: memoryview, begin: int, end: int, inwards: tuple[int, ...], name: str) -> bytes:
    """Return a message with what lies inwards, field by field, made slim."""
    parts = []
    for part in _fields(data, begin, end):
        if not part.sized or part.number != inwards[0]:
            parts.append(bytes(data[part.begin : part.end]))
            continue
        if len(inwards) > 1:
            inner = _copied(data, part.value, part.end, inwards[1:], name)
        else:
            inner = _tensor(data, part, name)
        parts += [_number(part.number << 3 | _SIZED), _number(len(inner)), inner]
    return b"".join(parts)


def _tensor(data: memoryview, tensor: Field, name: str) -> bytes:
    """Return a tensor that says where in the file its numbers are, where they are many."""
    parts = list(_fields(data, tensor.value, tensor.end))
    raw = next((part for part in parts if part.number == _RAW_DATA and part.sized), None)
    if raw is None or raw.end - raw.value < LARGE:
        return bytes(data[tensor.value : tensor.end])
    facts = {"location": name, "offset": raw.value, "length": raw.end - raw.value}
    place = TensorProto(
        data_location=TensorProto.EXTERNAL,
        external_data=[StringStringEntryProto(key=key, value=str(value)) for key, value in facts.items()],
    )
    kept = (bytes(data[part.begin : part.end]) for part in parts if part.number != _RAW_DATA)
    return b"".join((*kept, place.SerializeToString()))


def _fields(data: memoryview, begin: int, end: int) -> Iterator[Field]:
    """Yield the fields of a message."""
    place = begin
    for _ in range(_MOST_FIELDS):
        if place == end:
            return
        start = place
        tag, place = _varint(data, place, end)
        number, wire = tag >> 3, tag & 7
        value = place
        if wire == 0:
            _, place = _varint(data, place, end)
        elif wire == _SIZED:
            size, value = _varint(data, place, end)
            place = value + size
        elif wire in _FIXED:
            place = value + _FIXED[wire]
        else:
            raise DamagedError("an unknown wire type")
        if number == 0 or place > end:
            raise DamagedError("a field beyond the end")
        yield Field(number, wire == _SIZED, start, value, place)
    raise DamagedError("more fields than any network has")


def _varint(data: memoryview, place: int, end: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise DamagedError("a number without an end")


def _number(value: int) -> bytes:
    """Return a number as the wire format writes it."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
