"""One file from one address: in parts, resumed where it broke off, tried again where that may help."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import requests
import urllib3

from lrptool.errors import OutputError
from lrptool.version import VERSION
from lrptool.zoo.card import File
from lrptool.zoo.part import Part
from lrptool.zoo.store import readable_size
from lrptool.zoo.watch import Watch

ATTEMPTS = 4
"""In a row that brought nothing new."""
MOST_ATTEMPTS = 100
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
TIMEOUTS = (15.0, 60.0)
"""Seconds to connect, and between two pieces."""
SLOWEST = (1024, 60.0)
"""A connection that brings fewer bytes in so many seconds is given up."""
_PIECE = 1 << 16
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP's ways to say: later."""


class RefusedError(Exception):
    """An address that does not give the file; another one may."""


class PassingError(Exception):
    """A failure that may pass.

    Parameters
    ----------
    reason : str
    wait : float, optional
        Seconds that the server asks for.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def download(session: requests.Session, url: str, file: File, part: Part, watch: Watch) -> None:
    """Bring a file into its part.

    Parameters
    ----------
    session : requests.Session
    url : str
    file : File
    part : Part
        What is in it is kept and completed where the server can do that.
    watch : Watch

    Raises
    ------
    RefusedError
        The address does not give the file.
    OutputError
        The disk does not take it.
    """
    in_vain = 0
    for _ in range(MOST_ATTEMPTS):
        before = part.size
        try:
            _attempt(session, url, file, part, watch)
        except PassingError as error:
            in_vain = 1 if part.size > before else in_vain + 1
            if in_vain >= ATTEMPTS:
                raise RefusedError(f"{error}, {ATTEMPTS} times") from None
            wait = min(LONGEST_WAIT, error.wait if error.wait is not None else FIRST_WAIT * 2 ** (in_vain - 1))
            watch.remarks(f"{url}: {error}; trying again in {wait:.1f} s")
            time.sleep(wait)
        else:
            return
    raise RefusedError(f"broke off {MOST_ATTEMPTS} times")


def _attempt(session: requests.Session, url: str, file: File, part: Part, watch: Watch) -> None:
    """Ask once for what is missing, and store what comes."""
    start = _resumable(url, file, part)
    if start and start == file.size:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": f"lrptool/{VERSION}"}
    if start:
        headers["Range"] = f"bytes={start}-"
        note = part.noted()
        if note.get("url") == url and note.get("version"):
            headers["If-Range"] = note["version"]
    with _understood(), session.get(url, headers=headers, stream=True, timeout=TIMEOUTS) as response:
        start, total = _accepted(response, url, file, part, start)
        watch.opens(file.name, start, total)
        _store(response, file, part, watch, total)


def _resumable(url: str, file: File, part: Part) -> int:
    """Return how many bytes need not be asked for again.

    Without a checksum, only the very same version from the very same address may be continued.
    """
    note = part.noted()
    same = note.get("url") == url and bool(note.get("version"))
    size = part.size
    return size if (file.digests or same) and (file.size is None or size <= file.size) else 0


def _accepted(response: requests.Response, url: str, file: File, part: Part, start: int) -> tuple[int, int | None]:
    """Look at what a server answers; return where its bytes begin, and how many the whole file has."""
    status = response.status_code
    if status == 416 and start:
        part.clear()
        raise PassingError("has no such part", wait=0)
    if status in _PASSING:
        raise PassingError(_status(response), wait=_asked_wait(response))
    if status not in (200, 206) or (status == 206 and not start):
        raise RefusedError(_status(response))
    if not file.digests:
        _unchecked(response)
    if status == 206:
        begins, total = _content_range(response)
        if begins != start:
            part.clear()
            raise PassingError("answered with another part", wait=0)
    else:
        start, total = 0, _length(response)
    if file.size is not None and total is not None and total != file.size:
        if start:
            part.clear()
        raise RefusedError(f"expected {file.size} bytes, found {total}")
    size = total or file.size
    _check_room(part, file, (size or start) - start)
    if status == 200:
        part.begin({"url": url, "version": _version(response)})
    return start, size


def _check_room(part: Part, file: File, needed: int) -> None:
    """Raise OutputError where the disk has no room for so many bytes."""
    free = shutil.disk_usage(part.path.parent).free
    if needed > free:
        raise OutputError(
            f"{part.path.parent}: {file.name} needs {readable_size(needed)}, {readable_size(free)} are free",
            hint="make room, or name another folder: LRPTOOL_CACHE",
        )


def _unchecked(response: requests.Response) -> None:
    """Refuse what cannot be trusted where no checksum tells the right bytes from others."""
    if not response.url.startswith("https:"):
        raise RefusedError("leads to an address without https, and there is no checksum")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise RefusedError("is a web page, not the file")


def _status(response: requests.Response) -> str:
    """Return the status of an answer for people."""
    return f"answers {response.status_code} {response.reason or ''}".rstrip()


def _asked_wait(response: requests.Response) -> float | None:
    """Return the seconds of ``Retry-After``; None where there are none."""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _length(response: requests.Response) -> int | None:
    """Return the bytes that an answer announces; None where they are packed or not announced."""
    length = response.headers.get("Content-Length", "")
    packed = response.headers.get("Content-Encoding", "identity") != "identity"
    return int(length) if length.isdecimal() and not packed else None


def _content_range(response: requests.Response) -> tuple[int, int | None]:
    """Return where a part begins and how many bytes the whole has; (-1, None) where that is not said."""
    words = response.headers.get("Content-Range", "").replace("-", " ").replace("/", " ").split()
    if len(words) != 4 or words[0] != "bytes" or not words[1].isdecimal():
        return -1, None
    return int(words[1]), int(words[3]) if words[3].isdecimal() else None


def _version(response: requests.Response) -> str:
    """Return what tells this version of a file from others; empty where nothing reliable does."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


def _store(response: requests.Response, file: File, part: Part, watch: Watch, total: int | None) -> None:
    """Write what comes behind what is here."""
    with part.path.open("ab") as stream:
        done = stream.tell()
        for piece in _pieces(response, file):
            done += len(piece)
            if total is not None and done > total:
                break
            _write(stream, piece)
            watch.moves(done)
    if total is not None and done > total:
        part.clear()
        raise RefusedError(f"expected {total} bytes, found more")
    if total is not None and done < total:
        raise PassingError(f"broke off after {readable_size(done)}")


def _pieces(response: requests.Response, file: File) -> Iterator[bytes]:
    """Yield what comes as it comes; PassingError where almost nothing does."""
    packed = response.headers.get("Content-Encoding", "identity") != "identity"
    # Some servers call the packing of an archive an encoding of what is in it.
    decode = packed and not file.name.endswith(("gz", "zip"))
    least, seconds = SLOWEST
    since, come = time.monotonic(), 0
    while piece := response.raw.read1(_PIECE, decode_content=decode):
        yield piece
        come += len(piece)
        if time.monotonic() - since > seconds:
            if come < least:
                raise PassingError(f"brings less than {least} bytes in {seconds:g} s")
            since, come = time.monotonic(), 0


def _write(stream: BinaryIO, piece: bytes) -> None:
    """Write; an error of the disk is no error of the network."""
    try:
        stream.write(piece)
        stream.flush()
    except OSError as error:
        with suppress(OSError):
            stream.close()
        raise OutputError(
            f"{stream.name}: cannot be written: {error.strerror or error}",
            hint="make room, or name another folder: LRPTOOL_CACHE",
        ) from None


@contextmanager
def _understood() -> Iterator[None]:
    """Sort the errors of the network: those that may pass, and those that another address may not have."""
    try:
        yield
    except requests.exceptions.ProxyError:
        raise RefusedError("the proxy does not answer") from None
    except requests.exceptions.SSLError as error:
        raise RefusedError(f"its certificate is not trusted ({_cause(error)})") from None
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        raise PassingError("does not answer") from None
    except requests.exceptions.ConnectionError as error:
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        if isinstance(reason, urllib3.exceptions.NameResolutionError):
            raise RefusedError("its host is not known, or there is no network") from None
        if isinstance(reason, urllib3.exceptions.NewConnectionError):
            raise RefusedError("its host cannot be reached") from None
        raise PassingError("broke off") from None
    except requests.exceptions.RequestException as error:
        raise RefusedError(_cause(error)) from None
    except urllib3.exceptions.HTTPError:
        raise PassingError("broke off") from None


def _cause(error: BaseException) -> str:
    """Return what an error of the network says, on one line."""
    cause: Any = error.args[0] if error.args else error
    return " ".join(str(getattr(cause, "reason", cause)).split())[:200]
