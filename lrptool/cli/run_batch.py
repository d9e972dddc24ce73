"""What ``lrptool batch`` does once options are read."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrptool.cli.batch_progress import Progress
from lrptool.cli.options import model_of, open_model
from lrptool.cli.outputs import formats_of
from lrptool.cli.sources import read_stdin
from lrptool.cli.talk import compiling, complain, log, note, notes, plain
from lrptool.errors import DiskError, ExitCode, LrpError

if TYPE_CHECKING:
    from lrptool.api import Model
    from lrptool.batch.items import Item, Wish
    from lrptool.batch.job import Job
    from lrptool.batch.lanes import Lanes
    from lrptool.batch.run import Executor, Summary
    from lrptool.batch.store import Store
    from lrptool.rules import Composite


def run(inputs: Sequence[str], composite: Composite | None, given: Mapping[str, Any]) -> int:
    """Explain all inputs; return the exit code."""
    from lrptool.batch.run import Batch

    job = _job(composite, given)
    stop = threading.Event()
    with _ended_by_signals(stop):
        model = open_model(given, quiet=given["quiet"]).with_threads(1)
        notes(model.notes, quiet=given["quiet"])
        job = _sized(replace(job, wish=_wish(model, given), sha256=model.sha256), model, given)
        items = _items(inputs, job, given)
        model.program(composite)
        lanes = _lanes(model, job, items, given)
        if lanes.threads > 1:
            model = model.with_threads(lanes.threads)
        compiling(quiet=given["quiet"])
        if given["dask"] is None:
            model.settle(composite)
        progress = Progress(quiet=given["quiet"], as_json=given["as_json"])
        batch = Batch(model, job, items, progress, sys.argv, stop, given["fail_fast"])
        try:
            with progress:
                summary = batch.run(_executor(batch, lanes, given), force=given["force"])
        except DiskError as error:
            raise DiskError(error.message, hint="make room and give the same command again: it goes on") from None
    return _told(summary, job, given)


def _job(composite: Composite | None, given: Mapping[str, Any]) -> Job:
    """Return what the options ask for; a usage error where they contradict each other."""
    from lrptool.api import Style
    from lrptool.batch.job import FORMATS, STORES, Job
    from lrptool.batch.store import check_store

    if given["top"] and given["targets"]:
        raise click.UsageError("--top and --target exclude each other")
    output = given["output"]
    if output in ("", "-") or "\0" in output:
        raise click.BadParameter(f"expected a folder, found {output!r}", param_hint="-o")
    formats = formats_of(given["save"], known=FORMATS)
    stores = [one for one in formats if one in STORES]
    if len(stores) > 1:
        raise click.UsageError("--save takes one store: h5 or zarr")
    if "input" in formats and not stores:
        raise click.UsageError("--save input goes with h5 or zarr")
    if "html" in formats and "png" not in formats:
        raise click.UsageError("--save html shows pictures: --save png,html")
    for store in stores:
        check_store(store)
    return Job(
        folder=Path(output).absolute(),
        formats=formats,
        views=tuple(view for view in ("overlay", "panel") if given[view]) or ("heatmap",),
        style=Style(given["cmap"], given["percentile"]),
        composite=composite,
        shard=given["shard"],
        source=_portable(model_of(given)),
    )


def _portable(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `lrptool.load` so that they mean the same in another folder."""
    paths = {
        key: str(Path(value).absolute())
        for key, value in named.items()
        if isinstance(value, str)
        and key in ("model", "weights", "models_dir", "labels", "mean")
        and Path(value).exists()
    }
    return dict(named) | paths


def _sized(job: Job, model: Model, given: Mapping[str, Any]) -> Job:
    """Return the job with the number of inputs computed together: as wished, as before, as memory allows."""
    from lrptool.batch.resume import earlier_batch_size

    size = given["batch_size"]
    if not size and not given["force"]:
        size = earlier_batch_size(job)
    if not size:
        size = job.batch_size
        if given["memory"]:
            size = min(size, model.batch_size(given["memory"], job.composite))
    return replace(job, batch_size=size)


def _lanes(model: Model, job: Job, items: Sequence[Item], given: Mapping[str, Any]) -> Lanes:
    """Return how many chunks are computed at the same time: of one thread each, as memory allows."""
    from lrptool.batch.chunks import shard_of
    from lrptool.batch.lanes import Lanes
    from lrptool.batch.machine import cores

    if given["dask"] is not None:
        return Lanes(1, 1)
    chunks = -(-len(shard_of(items, job.batch_size, job.shard)) // job.batch_size)
    threads = given["threads"] or cores()
    fitting = model.fitting(given["memory"], job.composite)
    return Lanes.of(threads, chunks, job.batch_size, threads * job.batch_size if fitting is None else fitting)


def _wish(model: Model, given: Mapping[str, Any]) -> Wish:
    """Return what to explain where a list says nothing else."""
    from lrptool.api import wanted
    from lrptool.batch.items import Wish

    against = given["against"]
    return Wish(
        wanted(given["targets"], given["top"], model.labels),
        None if against is None else str(wanted([against], None, model.labels)[0]),
        given["start"],
    )


def _items(inputs: Sequence[str], job: Job, given: Mapping[str, Any]) -> list[Item]:
    """Return all inputs."""
    from lrptool.batch.listing import PICTURES, Choice, items_of

    stdin = read_stdin() if "-" in inputs else b""
    choice = Choice(given["patterns"] or PICTURES, job.folder)
    return items_of(inputs, job.wish, choice, stdin=stdin, null=given["null"])


def _executor(batch: Any, lanes: Lanes, given: Mapping[str, Any]) -> Callable[[Store | None], Executor]:
    """Return what makes who works on the chunks."""
    if given["dask"] is not None:
        from lrptool.batch.cluster import Cluster

        return lambda store: Cluster(given["dask"], batch.job, store, batch.stop)
    from lrptool.batch.local import Local
    from lrptool.batch.work import Bench

    return lambda store: Local(Bench(batch.model, batch.job, store), batch.stop, lanes.count)


@contextmanager
def _ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Bring the batch to an end in good order at the first Ctrl-C or SIGTERM; at once at the second."""

    def end(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # Whoever is just writing to stderr cannot be interrupted by another line.
        with suppress(RuntimeError):
            log("note", "ending after what is being computed; once more ends at once")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(summary: Summary, job: Job, given: Mapping[str, Any]) -> int:
    """Say how it ended; return the exit code."""
    manifest = job.named("manifest", ".jsonl")
    said = f"{manifest}: {summary.done} done, {summary.failed} failed"
    if summary.interrupted:
        said += f", {summary.total - summary.done - summary.failed} to go"
    if given["as_json"]:
        note(said, quiet=given["quiet"])
    else:
        click.echo(plain(said))
    failed = ExitCode.PARTIAL if summary.done else ExitCode(summary.code)
    code = failed if summary.failed else ExitCode.OK
    if summary.interrupted:
        failed_fast = bool(given["fail_fast"] and summary.failed)
        ended = LrpError(
            "stopped at the first failure" if failed_fast else "interrupted",
            hint="give the same command again: it goes on where this run ended",
        )
        complain(ended)
        return code if failed_fast else ExitCode.INTERRUPTED
    return code
