"""Files that are not whole yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lrptool.zoo.store import part_of


@dataclass(frozen=True, slots=True)
class Part:
    """A file that is not whole yet, and a note beside it: from which address it is, and in which version.

    Parameters
    ----------
    path : Path
    """

    path: Path

    @classmethod
    def of(cls, target: Path) -> Part:
        """Return the part of a file."""
        return cls(part_of(target))

    @property
    def size(self) -> int:
        """Bytes that are here."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def noted(self) -> dict[str, str]:
        """Return address and version; empty where nothing is known."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in note.items()} if isinstance(note, dict) else {}

    def begin(self, note: Mapping[str, str]) -> None:
        """Start again from nothing."""
        self.clear()
        self._note.write_text(json.dumps(dict(note)), encoding="utf-8")

    def clear(self) -> None:
        """Remove what is here."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        """Give the whole file its name."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)
