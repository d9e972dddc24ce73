"""How a batch is getting on: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lrptool.cli.talk import complain, echo_json, log, talks_json
from lrptool.errors import LrpError

_LINE = 30.0
"""Seconds between lines where there is no terminal."""
_DRAW = 0.2
"""Seconds between drawings of the bar."""
_WINDOW = 60.0
"""Seconds the rate is taken over."""


class Progress:
    """Tells of a batch as it goes on.

    Parameters
    ----------
    quiet : bool
        Whether to say nothing but errors.
    as_json : bool
        Whether each record is printed on stdout.
    """

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self._quiet, self._as_json = quiet, as_json
        self._bar = not quiet and not talks_json() and sys.stderr is not None and sys.stderr.isatty()
        self._total = self._count = self._failed = 0
        self._times: deque[tuple[float, int]] = deque()
        self._last = time.monotonic()
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def begin(self, total: int, proven: int) -> None:
        """So many inputs there are, and so many are done from an earlier run."""
        self._total, self._count = total, proven
        self._last = time.monotonic()
        self._times.append((self._last, proven))
        if proven and not self._quiet:
            log("note", f"{proven} of {total} inputs are done already")

    def record(self, record: Mapping[str, Any]) -> None:
        """An input has come to its end."""
        self._count += 1
        if record["status"] == "failed":
            self._failed += 1
            self._clear()
            complain(LrpError(record["error"]))
        if self._as_json:
            self._clear()
            echo_json(record)
        now = time.monotonic()
        if not self._quiet and now - self._last > (_DRAW if self._bar else _LINE):
            self._last = now
            self._show(now)

    def _show(self, now: float) -> None:
        """Draw the bar, or print a line."""
        self._times.append((now, self._count))
        while len(self._times) > 2 and now - self._times[0][0] > _WINDOW:
            self._times.popleft()
        (since, before), (until, count) = self._times[0], self._times[-1]
        rate = (count - before) / (until - since) if until > since else 0.0
        left = (self._total - count) / rate if rate else None
        said = f"{count} of {self._total}, {rate:.1f} images/s, {_duration(left)} left"
        if self._failed:
            said += f", {self._failed} failed"
        if not self._bar:
            facts = {"done": count, "total": self._total, "failed": self._failed}
            log("progress", said, **facts, images_per_second=round(rate, 2), seconds_left=left and round(left))
            return
        width = max(10, min(40, shutil.get_terminal_size().columns - len(said) - 4))
        full = round(width * count / max(1, self._total))
        self._write(f"\r{'█' * full}{'░' * (width - full)} {said}\x1b[K")
        self._drawn = True

    def _clear(self) -> None:
        """Take the bar away, so that something else can be said."""
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        """Write to the terminal; where it is gone there is nobody left to tell."""
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
