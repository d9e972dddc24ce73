"""Fetching models: mirrors in order, checks before names, one process at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lrptool.errors import ModelError
from lrptool.zoo.archive import unpack
from lrptool.zoo.card import Card, File
from lrptool.zoo.part import Part
from lrptool.zoo.store import absent, offline, part_of, sources, tidied, user_models, writing
from lrptool.zoo.watch import Watch

if TYPE_CHECKING:
    import requests

_POLL = 0.2


def fetch(card: Card, missing: Sequence[File], *, allowed: bool = True, watch: Watch | None = None) -> None:
    """Bring files of a model into the user's folder, each checked before it gets its name.

    Parameters
    ----------
    card : Card
    missing : sequence of File
        Those that are not here.
    allowed : bool
        False, or ``LRPTOOL_OFFLINE``: nothing is fetched.
    watch : Watch, optional

    Raises
    ------
    ModelError
        It may not be fetched, or no address gives it.
    OutputError
        The user's folder cannot be written.
    """
    watch = watch or Watch()
    if not allowed or offline():
        reason = "LRPTOOL_OFFLINE is set: unset it" if offline() else "leave out --no-fetch"
        raise absent(card, missing, "", hint=f"{reason} to have it fetched")
    if any(not file.source.urls for file in missing):
        raise absent(card, missing, " and has to be fetched by hand")
    folder = user_models() / card.name
    with writing(folder), locked(card, watch), tidied(folder):
        # Another process may have been quicker.
        missing = [file for file in missing if not (folder / file.name).is_file()]
        if not missing:
            return
        watch.begins(card, missing, folder)
        _fetch_all(card, missing, folder, watch)


def _fetch_all(card: Card, missing: Sequence[File], folder: Path, watch: Watch) -> None:
    """Fetch what is missing, file by file, archive by archive."""
    import requests  # noqa: PLC0415  (0.1 s, and most commands fetch nothing)

    failures = []
    with requests.Session() as session:
        for source in sources(missing):
            refused = _from_mirrors(session, source, folder, watch)
            failures += [f"{url} {reason}" for url, reason in refused or ()]
            if refused is None:
                members = [file for file in missing if file.archive is source]
                if members:
                    unpack_files(folder / source.name, members, folder)
    left = [file for file in missing if not (folder / file.name).is_file()]
    if left:
        raise absent(card, left, f" and cannot be fetched ({'; '.join(failures)})")


def _from_mirrors(session: requests.Session, file: File, folder: Path, watch: Watch) -> list[tuple[str, str]] | None:
    """Fetch a file from the first address that gives it; return why each did not, None where one did."""
    from lrptool.zoo.download import RefusedError  # noqa: PLC0415

    target = folder / file.name
    if target.is_file():  # an archive that was there, but not yet unpacked
        return None
    refused = []
    part = Part.of(target)
    for url in file.urls:
        try:
            _from_one(session, url, file, part, watch)
        except RefusedError as error:
            refused.append((url, str(error)))
            if len(refused) < len(file.urls):
                watch.remarks(f"{url}: {error}; trying {file.urls[len(refused)]}")
        else:
            part.become(target)
            return None
        finally:
            watch.closes(file.name)
    return refused


def _from_one(session: requests.Session, url: str, file: File, part: Part, watch: Watch) -> None:
    """Fetch a file from one address and check it; RefusedError where it is not the right one."""
    from lrptool.zoo.download import RefusedError, download  # noqa: PLC0415

    resumed = part.size > 0
    download(session, url, file, part, watch)
    problem = file.problem(part.path)
    if problem and resumed:
        # What was there may have been another version, or another mirror's.
        part.clear()
        watch.remarks(f"{url}: {problem}; fetching all of it again")
        download(session, url, file, part, watch)
        problem = file.problem(part.path)
    if problem:
        part.clear()
        raise RefusedError(f"is not the published file: {problem}")


def unpack_files(archive: Path, members: Sequence[File], folder: Path) -> None:
    """Unpack files of a model, check them, and remove the archive.

    Raises
    ------
    ModelError
        The archive does not hold them as published; nothing of it is left.
    """
    parts = {file.name: part_of(folder / file.name) for file in members}
    try:
        unpack(archive, {file.member: parts[file.name] for file in members})
        for file in members:
            if problem := file.problem(parts[file.name]):
                raise ModelError(f"{archive.name}: {file.member}: {problem}")
        for file in members:
            parts[file.name].replace(folder / file.name)
    finally:
        for path in (archive, *parts.values()):
            with suppress(OSError):
                path.unlink()


@contextmanager
def locked(card: Card, watch: Watch) -> Iterator[None]:
    """Be the only process that changes a model in the user's folder; one that was killed holds nobody up."""
    import filelock  # noqa: PLC0415

    path = user_models() / f".{card.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.acquire(timeout=0))
        except filelock.Timeout:
            watch.remarks(f"another process is fetching '{card.name}': waiting for it")
            stack.enter_context(lock.acquire(poll_interval=_POLL))
        # Whoever waits for this very file notices that it is gone and makes a new one.
        stack.callback(_forget, path)
        yield


def _forget(path: Path) -> None:
    """Remove a lock's file while the lock is held."""
    with suppress(OSError):
        path.unlink()
