"""What a value in a card may be: one small function per kind, each raising ValueError or TypeError otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from lrptool.errors import did_you_mean

REQUIRED: Any = object()
DIGESTS = {"sha1": 40, "sha256": 64, "sha384": 96}
"""Checksums a card may state, and their hex digits."""
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
_LARGEST = 3.4e38
"""Beyond this, float32 has only infinity."""
_LARGEST_SIDE = 16_384
_LARGEST_FILE = 1 << 40
_LONGEST_NAME = 255
"""Bytes that file systems take."""


class Reader:
    """Reads one mapping and collects everything that is wrong with it.

    Parameters
    ----------
    data : Any
        What should be a mapping.
    where : str
        What the mapping is called in messages.
    problems : list of str
        Grows.
    """

    def __init__(self, data: Any, where: str, problems: list[str]) -> None:
        self.where, self.problems = where, problems
        self.data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        if not isinstance(data, Mapping):
            problems.append(f"{where}: expected a mapping, found {shown(data)}")

    def only(self, *known: str) -> None:
        """Complain of unknown keys."""
        for key in self.data:
            if key not in known:
                self.problems.append(f"{self.where}: unknown key '{key}' ({did_you_mean(str(key), known)})")

    def get(self, key: str, accept: Callable[[Any], Any], expected: str, default: Any = None) -> Any:
        """Return a value through `accept`, which raises ValueError or TypeError where it does not fit."""
        value = self.data.get(key)
        if value is None and default is REQUIRED:
            self.problems.append(f"{self.where}: '{key}' is missing, expected {expected}")
        default = None if default is REQUIRED else default
        if value is None:
            return default
        try:
            return accept(value)
        except (TypeError, ValueError, OverflowError):
            self.problems.append(f"{self.where}.{key}: expected {expected}, found {shown(value)}")
            return default


def shown(value: Any) -> str:
    """What was found, on one line of bearable length."""
    try:
        content = repr(value)
    except ValueError:
        return "a number of very many digits"
    return content if len(content) <= 80 else f"{content[:80]}…"


def text(value: Any) -> str:
    """Accept text, or a number as text; line breaks of folded YAML become blanks."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    return " ".join(str(value).split())


def file_name(value: Any) -> str:
    """Accept a plain file name: a card cannot point outside its folder."""
    if not isinstance(value, str) or Path(value).name != value or value in ("", "..") or not value.isprintable():
        raise ValueError
    if "\\" in value or len(value.encode()) > _LONGEST_NAME:
        raise ValueError
    return value


def model_name(value: Any) -> str:
    """Accept the name of a model: a file name that is no hidden one, without blanks and colons."""
    if file_name(value).startswith(("-", ".")) or re.search(r"[\s:]", value):
        raise ValueError
    return str(value)


def archive_name(value: Any) -> str:
    """Accept the file name of an archive that can be unpacked."""
    if not file_name(value).endswith(ARCHIVES):
        raise ValueError
    return str(value)


def member_name(value: Any) -> str:
    """Accept the path of a member inside an archive."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
        raise ValueError
    return value


def number(value: Any) -> float:
    """Accept a number that float32 can hold; YAML reads ``1e-6`` as text, so text of a number is one."""
    converted = float(value)
    if isinstance(value, bool) or not abs(converted) <= _LARGEST:
        raise ValueError
    return converted


def numbers(value: Any) -> tuple[float, ...]:
    """Accept a number or a list of them."""
    return tuple(number(v) for v in (value if isinstance(value, list) else [value]))


def mean(value: Any) -> tuple[float, ...] | str:
    """Accept numbers or a file name."""
    return file_name(value) if isinstance(value, str) else numbers(value)


def size(value: Any) -> tuple[int, int]:
    """Accept (H, W)."""
    if not isinstance(value, list):
        raise TypeError
    height, width = value
    return side(height), side(width)


def side(value: Any) -> int:
    """Accept a positive whole number of pixels."""
    return _whole(value, _LARGEST_SIDE)


def file_size(value: Any) -> int:
    """Accept a number of bytes."""
    return _whole(value, _LARGEST_FILE)


def _whole(value: Any, largest: int) -> int:
    """Accept a whole number from 1 to `largest`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise ValueError
    return value


def listed(accept: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """Accept a list of what `accept` takes."""

    def several(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise TypeError
        return tuple(accept(v) for v in value)

    return several


def labels(value: Any) -> tuple[str, ...] | str:
    """Accept names, or a file name."""
    return file_name(value) if isinstance(value, str) else listed(text)(value)


def one_of(*choices: Any) -> Callable[[Any], Any]:
    """Accept one of some values."""

    def accept(value: Any) -> Any:
        if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
            raise ValueError
        return value

    return accept


def digest(digits: int) -> Callable[[Any], str]:
    """Accept so many hex digits."""

    def accept(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value):
            raise ValueError
        return value.lower()

    return accept


def url(value: Any) -> str:
    """Accept an address of the web: http or https, with a host, without blanks and credentials."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError
    _ = parts.port  # raises where it is no number
    return value
