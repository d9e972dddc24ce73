"""Being told how fetching goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lrptool.zoo.card import Card, File


class Watch:
    """Whoever wants to know how fetching goes; this one does not."""

    def begins(self, card: Card, files: Sequence[File], folder: Path) -> None:
        """Some files of a model are about to be fetched into a folder."""

    def opens(self, name: str, done: int, total: int | None) -> None:
        """A file begins to arrive, `done` bytes of it being here already."""

    def moves(self, done: int) -> None:
        """So many bytes of it are here."""

    def closes(self, name: str) -> None:
        """No more of a file will come now."""

    def remarks(self, text: str) -> None:
        """Something did not go smoothly."""
