"""Where a model is, in a word."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lrptool.resources import bundled
from lrptool.zoo.card import Card
from lrptool.zoo.catalogue import find_file, homes, missing_files
from lrptool.zoo.store import user_models

State = Literal["bundled", "cached", "local", "remote", "by hand"]


def state_of(card: Card, models_dir: str | Path | None = None) -> State:
    """Return where a model is.

    Parameters
    ----------
    card : Card
    models_dir : str or Path, optional

    Returns
    -------
    {"bundled", "cached", "local", "remote", "by hand"}
        With lrptool, in the user's folder, elsewhere on the models path, to be fetched, to be fetched by hand.
    """
    missing = missing_files(card, models_dir)
    if missing:
        return "remote" if all(file.source.urls for file in missing) else "by hand"
    folders = homes(card, models_dir)
    places = {path.parent.parent for file in card.files if (path := find_file(file.name, folders))}
    if places == {bundled("models")}:
        return "bundled"
    return "cached" if user_models() in places else "local"
