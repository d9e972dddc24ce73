"""What the commands say, and where: stdout is data, stderr is talk."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from lrptool.errors import LrpError


def plain(text: str) -> str:
    """Return a text with whatever could break its line or steer the terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Way:
    """How remarks are written: for people, or as JSON lines. One process talks in one way."""

    as_json = False


def talk_json(chosen: bool) -> None:
    """Write remarks and errors as JSON lines from now on, or for people."""
    _Way.as_json = chosen


def complain(error: LrpError, subject: str | None = None) -> None:
    """Print an error and its hint to stderr."""
    where = f"{subject}: " if subject and subject not in error.message else ""
    if _Way.as_json:
        log("error", where + error.message, hint=error.hint, exit_code=int(error.exit_code))
        return
    _talk(f"{click.style('lrptool: error:', fg='red')} {plain(where + error.message)}")
    if error.hint:
        _talk(f"  {click.style('hint:', bold=True)} {plain(error.hint)}")


def note(text: str, *, quiet: bool = False) -> None:
    """Print a remark to stderr."""
    if quiet:
        return
    if _Way.as_json:
        log("note", text)
    else:
        _talk(f"{click.style('note:', fg='yellow')} {plain(text)}")


def notes(texts: Iterable[str], *, quiet: bool = False) -> None:
    """Print several remarks."""
    for text in texts:
        note(text, quiet=quiet)


def log(level: str, message: str, **facts: Any) -> None:
    """Print one remark to stderr: as a JSON object where that is wanted, else its message alone."""
    if _Way.as_json:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _talk(json.dumps({"time": now, "level": level, "message": message} | facts))
    else:
        _talk(plain(message))


def talks_json() -> bool:
    """Whether remarks are JSON lines."""
    return _Way.as_json


def _talk(line: str) -> None:
    """Print to stderr; where that cannot be written there is nobody left to tell."""
    with suppress(OSError):
        click.echo(line, err=True)


def echo_json(data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON value on one line of stdout, in letters that stdout can take."""
    text = json.dumps(data, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data)
    click.echo(text)


def echo_bytes(contents: bytes) -> None:
    """Write a file's bytes to stdout."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.buffer.write(contents)
    sys.stdout.buffer.flush()


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), err: bool = False
) -> None:
    """Print rows in aligned columns, those in `right` flush right, under a header in bold."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(cells)).rstrip()

    click.echo(click.style(line(header), bold=True), err=err)
    for row in rows:
        click.echo(line(row), err=err)


def field(name: str, text: str) -> None:
    """Print a heading and its text, indented and wrapped."""
    if text:
        click.echo(click.style(name, bold=True))
        wrapped = click.wrap_text(text, width=96, initial_indent="  ", subsequent_indent="  ")
        click.echo("\n".join(plain(line) for line in wrapped.split("\n")))


def parameters(rows: Iterable[tuple[str, Any, str]]) -> None:
    """Print parameters: name, default value and what it means, one per line."""
    lines = [f"  {name} (default {_value(default)}){': ' if about else ''}{about}" for name, default, about in rows]
    if lines:
        click.echo(click.style("Parameters", bold=True))
        for line in lines:
            click.echo(plain(line))


def _value(value: Any) -> str:
    """A parameter's value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


_ONCE = "once"
_AGAIN = "next time, too: they can be kept nowhere; LRPTOOL_CACHE names a folder that can be written"


def compiling(*, quiet: bool) -> None:
    """Say that the first run takes a while, where this is it."""
    from lrptool.engine import is_compiled, is_kept

    if not is_compiled():
        note(f"compiling kernels ({_ONCE if is_kept() else _AGAIN})", quiet=quiet)
