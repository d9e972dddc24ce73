"""The user's folder of models: what is in it, what is missing, and what may go into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lrptool.errors import LrpError, ModelError, OutputError
from lrptool.resources import user_cache
from lrptool.zoo.card import Card, File

PART = ".part"
_OFF = ("", "0", "false", "no", "off")


def user_models() -> Path:
    """Return the user's folder of models; it may not exist."""
    return user_cache() / "models"


def offline() -> bool:
    """Whether ``LRPTOOL_OFFLINE`` forbids to fetch anything."""
    return os.environ.get("LRPTOOL_OFFLINE", "").strip().lower() not in _OFF


def readable_size(size: int | None) -> str:
    """Return a number of bytes for people: ``53.5 MB``."""
    if size is None:
        return "size unknown"
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next((f"{size / unit:.1f} {name}" for unit, name in units if size >= unit), f"{size} bytes")


def sources(files: Sequence[File]) -> tuple[File, ...]:
    """Return what has to be fetched for some files: each archive once."""
    return tuple({file.source.name: file.source for file in files}.values())


def total_size(files: Sequence[File]) -> str:
    """Return for people how large several files are."""
    known = [file.size for file in files if file.size is not None]
    if not known:
        return "size unknown"
    return readable_size(sum(known)) + (" and more" if len(known) < len(files) else "")


def absent(card: Card, missing: Sequence[File], why: str, hint: str | None = None) -> ModelError:
    """Return the error of a model whose files are not here: its size, where it is, and what to type.

    Parameters
    ----------
    card : Card
    missing : sequence of File
    why : str
        Why they are not fetched; continues "is not here".
    hint : str, optional
    """
    wanted = sources(missing)
    listed = "; ".join(
        f"{file.name} ({readable_size(file.size)}: {' or '.join((*file.urls, *file.by_hand)) or 'no known address'})"
        for file in wanted
    )
    names = " ".join(file.name for file in wanted)
    return ModelError(
        f"model '{card.name}' is not here{why}: {total_size(wanted)}, {listed}; "
        f"once you have it, type: lrptool models import {card.name} {names}",
        hint=hint,
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that names the folder."""
    try:
        yield
    except LrpError:
        raise
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: cannot be written: {error.strerror or error}",
            hint="LRPTOOL_CACHE names another folder",
        ) from None


@contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """Make a folder; remove it in the end if nothing is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def part_of(target: Path) -> Path:
    """Return what a file is called until it is whole and checked."""
    return target.with_name(f".{target.name}{PART}")


def bring_in(source: Path, target: Path) -> None:
    """Copy a file into the user's folder, whole or not at all."""
    part = part_of(target)
    try:
        shutil.copyfile(source, part)
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()
