"""Protobuf's wire format, as far as weights need it: their numbers go from the file straight into arrays.

Everything else in a file (names, types, options) is collected and left to protobuf, which copies what it reads twice:
half a gigabyte of weights would take three times its size and several seconds.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.generic]

VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5
_FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
_SHAPE, _RAW = 7, 12
_FLOATS, _DOUBLES = 5, 8
_NUMBERS: dict[int, tuple[np.dtype[Any], int]] = {
    _FLOATS: (np.dtype("<f4"), FOUR_BYTES),
    _DOUBLES: (np.dtype("<f8"), EIGHT_BYTES),
}
"""Fields of a BlobProto with its numbers: what each is, and its wire type where it stands alone."""
_GRADIENTS = frozenset({6, 9, 13})
"""Fields of a BlobProto that only training reads."""

_MOST_FIELDS, _MOST_IN_BLOB = 250_000, 1_000
_MOST_BYTES = 8 * 2**20
"""Of names, types and options: many times what the largest published networks have."""


class DamagedError(Exception):
    """The bytes are not the wire format, or more of it than any network has; the message says which."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One array of a file.

    Parameters
    ----------
    head : bytes
        All fields of the BlobProto but the numbers.
    chunks : mapping of int to list of array
        The numbers by field: 5 single, 8 double precision, 12 bytes of a type that the head names.
    """

    head: bytes
    chunks: Mapping[int, list[Numbers]]


@dataclass(frozen=True, slots=True)
class Level:
    """Where in a message blobs are.

    Parameters
    ----------
    blobs : int or None
        The field that holds them.
    inside : mapping of int to Level
        Fields with messages that have some.
    """

    blobs: int | None = None
    inside: Mapping[int, Level] = field(default_factory=dict)


NET = Level(inside={2: Level(6, {1: Level(50)}), 100: Level(7)})
"""A NetParameter: V1 layers, V0 layers inside them, and current layers."""


def varint(value: int) -> bytes:
    """Return a number ≥ 0 in 7-bit groups, the last of them below 128."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*groups, value))


def sized(number: int, payload: bytes, more: int = 0) -> bytes:
    """Return a field that holds `payload` and `more` bytes behind it."""
    return varint(number << 3 | SIZED) + varint(len(payload) + more) + payload


class Scanner:
    """Reads fields one after another.

    Parameters
    ----------
    stream : binary stream
        At its beginning.
    size : int
        Its length in bytes; no field may reach beyond.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.size = stream, size
        self.position = 0
        self._fields = self._kept = 0

    def message(
        self, level: Level, end: int, found: Callable[[int, list[StoredBlob]], None] | None = None
    ) -> tuple[bytes, list[StoredBlob]]:
        """Return the bytes of a message without its blobs, and the blobs.

        Parameters
        ----------
        level : Level
        end : int
            Position behind the message.
        found : callable, optional
            Gets (field, blobs) of every inner message instead of the result.
        """
        kept, blobs = bytearray(), list[StoredBlob]()
        for number, wire, stop in self._fields_until(end):
            if wire == SIZED and number == level.blobs:
                blobs.append(self.blob(stop))
            elif wire == SIZED and number in level.inside:
                rest, inner = self.message(level.inside[number], stop)
                kept += sized(number, rest)
                if found is None:
                    blobs += inner
                else:
                    found(number, inner)
            else:
                kept += self._copy(number, wire, stop)
        return bytes(kept), blobs

    def blob(self, end: int) -> StoredBlob:
        """Return a BlobProto that ends at `end`."""
        head, chunks = bytearray(), dict[int, list[Numbers]]()
        first = self._fields
        for number, wire, stop in self._fields_until(end):
            if self._fields - first > _MOST_IN_BLOB:
                raise DamagedError(f"more than {_MOST_IN_BLOB} entries in one array")
            dtype, alone = _NUMBERS.get(number, (np.dtype(np.uint8), -1))
            if wire == SIZED and (number in _NUMBERS or number == _RAW):
                chunks.setdefault(number, []).append(self._array(stop - self.position, dtype))
            elif wire == alone:
                chunks.setdefault(number, []).append(self._one_by_one(number, dtype, wire, end))
            elif number in _GRADIENTS and wire != VARINT:
                self._skip(stop)
            else:
                head += self._copy(number, wire, stop)
        return StoredBlob(bytes(head), chunks)

    def _fields_until(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (number, wire type, position behind its value) of every field; the caller reads the value."""
        while self.position < end:
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise DamagedError(f"more than {_MOST_FIELDS} entries")
            key = self._varint()
            number, wire = key >> 3, key & 7
            if number == 0 or wire not in (VARINT, SIZED, *_FIXED):
                raise DamagedError(f"no field begins at byte {self.position}")
            length = self._varint() if wire == SIZED else _FIXED.get(wire, 0)
            stop = self.position + length
            if stop > end:
                raise DamagedError(f"a field of {length} bytes at byte {self.position} reaches beyond its message")
            yield number, wire, stop
        if self.position != end:
            raise DamagedError(f"a field reaches beyond byte {end}")

    def _copy(self, number: int, wire: int, stop: int) -> bytes:
        """Return a field as it stands in the file."""
        value = varint(self._varint()) if wire == VARINT else self._take(stop)
        self._kept += len(value)
        if self._kept > _MOST_BYTES:
            raise DamagedError(f"more than {_MOST_BYTES} bytes that are no weights")
        return sized(number, value) if wire == SIZED else varint(number << 3 | wire) + value

    def _take(self, stop: int) -> bytes:
        """Return the bytes up to `stop`."""
        length = stop - self.position
        if length > _MOST_BYTES:
            raise DamagedError(f"{length} bytes that are no weights at byte {self.position}")
        data = self._stream.read(length)
        self.position = stop
        if len(data) != length:
            raise DamagedError(f"the file ends before byte {stop}")
        return data

    def _skip(self, stop: int) -> None:
        """Pass over a value."""
        self._stream.seek(stop)
        self.position = stop

    def _varint(self) -> int:
        """Return a number of at most 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._stream.read(1)
            if not byte:
                raise DamagedError(f"the file ends at byte {self.position}")
            self.position += 1
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise DamagedError(f"no number ends at byte {self.position}")

    def _array(self, length: int, dtype: np.dtype[Any]) -> Numbers:
        """Read packed numbers into an array of their own."""
        if length % dtype.itemsize:
            raise DamagedError(f"{length} bytes at byte {self.position} are not a whole count of numbers")
        array = np.empty(length // dtype.itemsize, dtype)
        # An empty array has no bytes to view.
        if length and self._stream.readinto(array.view(np.uint8)) != length:  # type: ignore[attr-defined]
            raise DamagedError(f"the file ends before byte {self.position + length}")
        self.position += length
        return array

    def _one_by_one(self, number: int, dtype: np.dtype[Any], wire: int, end: int) -> Numbers:
        """Read numbers that each have a key in front, as files from before packed lists do: a run of equal records."""
        key = varint(number << 3 | wire)[0]
        record = np.dtype([("value", dtype), ("next", np.uint8)])
        parts, width = list[Numbers](), 1
        while True:
            # One record more than the last time, twice as many: what is read ahead in vain stays in proportion.
            count = min(width, (end - self.position) // record.itemsize)
            records = np.frombuffer(self._peek(count * record.itemsize), record)
            others = np.flatnonzero(records["next"] != key)
            run = int(others[0]) if len(others) else count
            parts.append(records["value"][:run])
            self._skip(self.position + run * record.itemsize)
            if run < count or count < width:
                break
            width *= 2
        parts.append(self._array(dtype.itemsize, dtype) if self.position + dtype.itemsize <= end else self._cut(end))
        return np.concatenate(parts)

    def _peek(self, length: int) -> bytes:
        """Return bytes without passing over them."""
        data = self._stream.read(length)
        self._stream.seek(self.position)
        if len(data) != length:
            raise DamagedError("the file ends early")
        return data

    @staticmethod
    def _cut(end: int) -> Numbers:
        """Refuse a number that is not all there."""
        raise DamagedError(f"a number is cut off at byte {end}")


def scan_bytes(data: bytes) -> Scanner:
    """Return a scanner over bytes in memory."""
    return Scanner(io.BytesIO(data), len(data))


def blob_fields(array: NDArray[np.float32]) -> tuple[bytes, memoryview]:
    """Return a BlobProto as the bytes in front of its numbers, and the numbers.

    Parameters
    ----------
    array : float32, C-contiguous
    """
    dims = b"".join(varint(size) for size in array.shape)
    numbers = array.reshape(-1).view(np.uint8).data
    return sized(_SHAPE, sized(1, dims)) + varint(_FLOATS << 3 | SIZED) + varint(len(numbers)), numbers


def layer_bytes(name: str, kind: str, blobs: Sequence[tuple[bytes, memoryview]]) -> Iterator[bytes | memoryview]:
    """Yield a LayerParameter as a field of a net: its name, type and blobs, piece by piece."""
    pieces: list[bytes | memoryview] = [sized(1, name.encode()), sized(2, kind.encode())]
    for head, numbers in blobs:
        pieces += [varint(7 << 3 | SIZED) + varint(len(head) + len(numbers)) + head, numbers]
    yield sized(100, b"", sum(map(len, pieces)))
    yield from pieces
