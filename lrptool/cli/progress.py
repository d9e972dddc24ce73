"""How fetching is shown: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from lrptool.cli.talk import note, plain
from lrptool.zoo import Card, File, Watch
from lrptool.zoo.store import readable_size, sources, total_size

_STEPS = 10
"""Lines per file where there is no terminal."""
_FRAMES = 400
"""Times a bar is drawn."""
_SMALL = 1 << 20
"""Files below this come without lines of their own."""


class Progress(Watch):
    """Tells on stderr how fetching goes.

    Parameters
    ----------
    quiet : bool
        Say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._name, self._total, self._said, self._done = "", 0, 0, 0

    def begins(self, card: Card, files: Sequence[File], folder: Path) -> None:
        """Say what is fetched and how large it is."""
        wanted = sources(files)
        listed = ", ".join(f"{file.name} ({readable_size(file.size)})" for file in wanted)
        licence = f"; licence: {card.license}" if card.license else ""
        note(
            f"model '{card.name}' is not here: fetching {total_size(wanted)} to {folder}: {listed}{licence}",
            quiet=self._quiet,
        )

    def opens(self, name: str, done: int, total: int | None) -> None:
        """Show a bar, or remember what the lines are about."""
        self.closes(name)
        self._name, self._total = name, total or 0
        self._said = done * _STEPS // total if total else 0
        if self._quiet:
            return
        if done:
            note(f"{name}: {readable_size(done)} are here already, the rest follows")
        if self._terminal and total:
            self._bar = click.progressbar(
                length=total,
                label=plain(name),
                file=sys.stderr,
                item_show_func=lambda size: readable_size(size) if size else None,
                update_min_steps=max(1, total // _FRAMES),
            )
            self._done = 0
            self.moves(done)

    def moves(self, done: int) -> None:
        """Move the bar, or print a line at every tenth."""
        if self._bar is not None:
            step, self._done = done - self._done, done
            with suppress(OSError):
                self._bar.update(step, done)
        elif not self._quiet and self._total >= _SMALL and done * _STEPS // self._total > self._said:
            self._said = done * _STEPS // self._total
            share = self._said * 100 // _STEPS
            note(f"{self._name}: {share} %, {readable_size(done)} of {readable_size(self._total)}")

    def closes(self, name: str) -> None:
        """End the bar's line."""
        if self._bar is not None:
            with suppress(OSError):
                self._bar.render_finish()
            self._bar = None

    def remarks(self, text: str) -> None:
        """Print what did not go smoothly."""
        self.closes(self._name)
        note(text, quiet=self._quiet)
