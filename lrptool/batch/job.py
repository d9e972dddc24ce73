"""What stays the same for a whole batch, in values that can be sent to another machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrptool.api import Model, Style
from lrptool.batch.items import Wish
from lrptool.rules import Composite

PER_INPUT = ("png", "npy", "npz", "json")
STORES = ("h5", "zarr")
FORMATS = (*PER_INPUT, *STORES, "input", "html")
BATCH_SIZE = 4
"""Inputs computed together: few, because there is one such computation per core; not one, because weights are read for
all of them at once."""
STATE = ".lrptool"
"""Folder within the output for what a batch needs while it runs."""


@dataclass(frozen=True)
class Job:
    """What to do with every input.

    Parameters
    ----------
    folder : Path
        The output folder, absolute.
    formats : tuple of str
        Some of `FORMATS`.
    views : tuple of str
        What pictures show: ``heatmap``, ``overlay``, ``panel``.
    style : Style
    composite : Composite or None
        None: the model's default.
    batch_size : int
        Inputs computed together.
    wish : Wish
        What to explain where a list says nothing else.
    shard : (int, int)
        Which part of how many; (1, 1) is everything.
    source : mapping
        Arguments of `lrptool.load` with which another process gets the same model.
    sha256 : str or None
        Of that model's weights.
    """

    folder: Path
    formats: tuple[str, ...] = ("png",)
    views: tuple[str, ...] = ("heatmap",)
    style: Style = field(default_factory=Style)
    composite: Composite | None = None
    batch_size: int = BATCH_SIZE
    wish: Wish = field(default_factory=Wish)
    shard: tuple[int, int] = (1, 1)
    source: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None

    @property
    def tag(self) -> str:
        """What the names of a shard's own files hold: nothing, or ``.3-of-8``."""
        return "" if self.shard[1] == 1 else f".{self.shard[0]}-of-{self.shard[1]}"

    @property
    def parts(self) -> Path:
        """Where unfinished files lie."""
        return self.folder / STATE / f"parts{self.tag}"

    @property
    def endings(self) -> tuple[tuple[str, str, str], ...]:
        """Format, view and ending of every file of a result."""
        several = len(self.views) > 1
        return tuple(
            (form, view, f"_{view}.png" if several and view else f".{form}")
            for form in self.formats
            if form in PER_INPUT
            for view in (self.views if form == "png" else ("",))
        )

    @property
    def store(self) -> str | None:
        """The kind of store the relevance of all inputs goes to."""
        return next((one for one in self.formats if one in STORES), None)

    def named(self, name: str, ending: str) -> Path:
        """Return the path of a file of the whole batch, such as ``manifest.jsonl``."""
        return self.folder / f"{name}{self.tag}{ending}"

    def settings(self, model: Model) -> dict[str, Any]:
        """Return everything that results depend on, apart from the inputs themselves, in plain values."""
        composite = model.composite(self.composite)
        shown = {
            "model": model.name,
            "sha256": model.sha256,
            "weights": model.random_weights,
            "composite": str(composite),
            "composite_sha256": _digest([repr(row) for row in composite.rows]),
            "preprocessing": model.preprocessing.facts(),
            "wish": self.wish.facts(),
            "save": list(self.formats),
            "views": list(self.views),
            "cmap": self.style.cmap,
            "percentile": self.style.percentile,
            "batch_size": self.batch_size,
            "shard": f"{self.shard[0]}/{self.shard[1]}",
        }
        plain: dict[str, Any] = json.loads(json.dumps(shown))
        return plain


def _digest(values: Any) -> str:
    """A checksum of plain values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
