"""A batch from its beginning to its end: what is there already, what is missing, and the manifest of it all."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from lrptool.api import Model
from lrptool.batch.chunks import Chunk, chunks_of, shard_of
from lrptool.batch.items import Item
from lrptool.batch.job import Job
from lrptool.batch.lock import alone
from lrptool.batch.machine import machine, versions
from lrptool.batch.records import DONE, Manifest, Record, records_in, rewrite
from lrptool.batch.resume import prepare, proven
from lrptool.batch.sheet import write_sheet
from lrptool.batch.store import Store, layouts, store_of
from lrptool.files import replacing


class Executor(Protocol):
    """Who works on chunks."""

    def run(self, chunks: Iterable[Chunk]) -> Generator[Record, None, None]:
        """Yield the record of every missing input; closed, nobody works any more."""
        ...


class Observer(Protocol):
    """Who is told how it goes."""

    def begin(self, total: int, proven: int) -> None:
        """So many inputs there are, and so many are done from an earlier run."""
        ...

    def record(self, record: Record) -> None:
        """An input has come to its end."""
        ...


@dataclass(slots=True)
class Summary:
    """How a batch ended.

    Parameters
    ----------
    total, done, failed, kept : int
        Inputs; those explained, those that could not be, and those that an earlier run had explained.
    interrupted : bool
        Whether it was stopped before its end.
    code : int
        The exit code of the first failure of this run.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    kept: int = 0
    interrupted: bool = False
    code: int = 0


@dataclass
class Batch:
    """A batch.

    Parameters
    ----------
    model : Model
    job : Job
    items : sequence of Item
        Of all shards.
    observer : Observer
    command : sequence of str
        As it was called, for run.json.
    stop : threading.Event
        Once set, the batch comes to an end in good order.
    fail_fast : bool
        Whether the first failure is the end.
    """

    model: Model
    job: Job
    items: Sequence[Item]
    observer: Observer
    command: Sequence[str] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    fail_fast: bool = False

    def run(self, executor: Callable[[Store | None], Executor], *, force: bool = False) -> Summary:
        """Do what is missing; return how it ended.

        Parameters
        ----------
        executor : callable
            Makes who works on the chunks, given the store.
        force : bool
            Whether to begin anew.

        Raises
        ------
        OutputError
            The folder cannot be written to, holds something else, or is being written to by another run.
        """
        job = self.job
        settings = job.settings(self.model)
        with alone(job.folder, job.tag):
            prepare(job, settings, force=force)
            items = shard_of(self.items, job.batch_size, job.shard)
            store = self._store(items)
            began = time.time()
            with closing(Manifest(job.named("manifest", ".jsonl"))) as manifest:
                finished = proven(items, manifest, job, store)
                summary = Summary(total=len(items), done=len(finished), kept=len(finished))
                self._tell(settings, summary, began)
                self.observer.begin(len(items), len(finished))
                missing = frozenset(item.number for item in items if item.number not in finished)
                chunks = chunks_of(items, job.batch_size, missing)
                # An error, too, waits for whoever works: behind it another run may begin in the folder.
                with closing(executor(store).run(chunks)) as results:
                    replaced = self._work(results, manifest, summary)
                summary.interrupted = summary.done + summary.failed < summary.total
                self._end(items, manifest, replaced)
            self._tell(settings, summary, began)
            # A worker of a cluster that was killed has left what it was writing.
            shutil.rmtree(job.parts, ignore_errors=True)
        return summary

    def _store(self, items: Sequence[Item]) -> Store | None:
        """Return the store of the batch, made where it is not there."""
        job = self.job
        if job.store is None:
            return None
        graph = self.model.graph
        classes = graph.tensors[graph.output].item_shape[0]
        rows = sum(len(item.wish.targets) for item in items)
        found = layouts(rows, graph.input.item_shape, classes, inputs="input" in job.formats)
        store = store_of(job.store, {job.named(name, f".{job.store}"): layout for name, layout in found.items()})
        store.create()
        return store

    def _work(self, results: Iterable[Record], manifest: Manifest, summary: Summary) -> set[str]:
        """Write down what comes in, until all is done or something wants an end; return files that were replaced."""
        replaced: set[str] = set()
        for record in results:
            before = manifest.get(record["output"])
            manifest.add(record)
            if before is not None:
                replaced |= _paths(before) - _paths(record)
            if record["status"] == DONE:
                summary.done += 1
            else:
                summary.failed += 1
                summary.code = summary.code or int(record["exit_code"])
            self.observer.record(record)
            if self.fail_fast and summary.failed:
                self.stop.set()
                break
        return replaced

    def _end(self, items: Sequence[Item], manifest: Manifest, replaced: set[str]) -> None:
        """Put the manifest in order, remove what was replaced, draw the contact sheet."""
        job, path = self.job, self.job.named("manifest", ".jsonl")
        # What was not reached keeps the line it had: it may prove something to the next run.
        known = ((item, manifest.get(item.path)) for item in items)
        rewrite(path, (record | {"number": item.number} for item, record in known if record is not None), job.parts)
        if replaced:
            # Another class's picture, say, of an input that has changed since.
            for name in replaced.difference(*map(_paths, records_in(path))):
                (job.folder / name).unlink(missing_ok=True)
        if "html" in job.formats:
            write_sheet(job.named("index", ".html"), records_in(path), self.model.name, job.parts)

    def _tell(self, settings: Mapping[str, Any], summary: Summary, began: float) -> None:
        """Write run.json."""
        told = {
            "command": list(self.command),
            "model": {"name": self.model.name, "sha256": self.model.sha256, "weights": self.model.random_weights},
            "composite": settings["composite"],
            "settings": dict(settings),
            "inputs": summary.total,
            "done": summary.done,
            "failed": summary.failed,
            "kept": summary.kept,
            "finished": summary.done + summary.failed == summary.total,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            "seconds": round(time.time() - began, 1),
            "versions": versions(),
            "machine": machine(),
        }
        with replacing(self.job.named("run", ".json"), force=True, workshop=self.job.parts) as stream:
            stream.write(json.dumps(told, indent=1).encode() + b"\n")


def _paths(record: Record) -> set[str]:
    """The files of a record."""
    return {file["path"] for file in record["files"]}
