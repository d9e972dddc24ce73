"""A batch on many machines: chunks are tasks of a dask cluster; the manifest is written here."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lrptool.api import load
from lrptool.batch.chunks import Chunk
from lrptool.batch.job import Job
from lrptool.batch.local import compute
from lrptool.batch.origins import one_line
from lrptool.batch.records import Record
from lrptool.batch.stages import Failed
from lrptool.batch.store import Store
from lrptool.batch.work import Bench
from lrptool.errors import ConfigError, LrpError, ModelError

_AHEAD = 2
"""Chunks per worker thread that are under way: one being computed, one at hand."""
_LOOK = 2.0
"""Seconds after which to see whether there is still a cluster."""
_PATIENCE = 120.0
"""Seconds without any worker after which nobody is expected any more."""
_BENCHES: dict[bytes, Bench] = {}
_MAKING = threading.Lock()


@dataclass(slots=True)
class Cluster:
    """Works on chunks in a dask cluster.

    Parameters
    ----------
    address : str
        Of a scheduler, or ``local:N`` for N workers that are started here.
    job : Job
    store : Store or None
    stop : threading.Event
        Once set, no further chunk is begun.

    Raises
    ------
    ConfigError
        dask.distributed is not installed, or no scheduler answers.
    """

    address: str
    job: Job
    store: Store | None
    stop: threading.Event

    def run(self, chunks: Iterable[Chunk]) -> Generator[Record, None, None]:
        """Yield the records of what is missing in each chunk, as chunks are done."""
        with _client(self.address) as client:
            # One thread per worker: workers are as many as there are cores, and do not get in each other's way.
            source = dict(self.job.source)
            job = replace(self.job, source=source | {"threads": source.get("threads") or 1})
            task = pickle.dumps((job, self.store))
            yield from self._spread(client, iter(chunks), task)

    def _spread(self, client: Any, chunks: Iterator[Chunk], task: bytes) -> Iterator[Record]:
        """Keep all workers busy, and the number of chunks under way small."""
        from distributed import wait  # noqa: PLC0415

        pending: dict[Any, Chunk] = {}
        lacking = 0.0
        while True:
            room = _AHEAD * max(1, sum(client.nthreads().values()))
            while len(pending) < room and not self.stop.is_set():
                chunk = next(chunks, None)
                if chunk is None:
                    break
                pending[client.submit(work, task, chunk, pure=False)] = chunk
            if not pending:
                return
            try:
                finished = wait(list(pending), timeout=_LOOK, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                lacking = 0.0 if client.nthreads() else lacking + _LOOK
                if lacking and self.stop.is_set():
                    return
                _see_to(client, lacking)
                continue
            for future in finished:
                yield from _results(future, pending.pop(future))


def _results(future: Any, chunk: Chunk) -> Iterator[Record]:
    """Yield the records of a chunk; where it has cost worker after worker, they say so."""
    from distributed import KilledWorker  # noqa: PLC0415

    try:
        yield from future.result()
    except KilledWorker:
        error = LrpError("every worker that began this chunk died", hint="is there enough memory? --batch-size 1")
        for item in chunk.items:
            if item.number in chunk.missing:
                yield Failed(item, error).record()


def _see_to(client: Any, lacking: float) -> None:
    """Raise where the scheduler has gone, or workers that have do not come back."""
    again = "give the same command again: it goes on where this run ended"
    if client.status != "running":
        raise LrpError(f"the dask scheduler at {client.scheduler.addr} has gone", hint=f"start it and {again}")
    if lacking > _PATIENCE:
        raise LrpError(f"no dask worker for {lacking:.0f} seconds", hint=f"start some and {again}")


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Connect to a scheduler, or start workers."""
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ImportError:
        raise ConfigError("--dask needs dask.distributed", hint="pip install 'lrptool[dask]'") from None
    kind, _, count = address.partition(":")
    if kind != "local":
        try:
            client = Client(address, timeout="10s")
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise ConfigError(
                f"--dask {address}: no scheduler answers: {one_line(error)}", hint="start one with: dask scheduler"
            ) from None
        with client:
            yield client
        return
    if not count.isdecimal() or int(count) < 1:
        raise ConfigError(f"--dask {address}: expected local:N with N workers", hint="for example --dask local:4")
    # Processes that are started anew: onnxruntime's and numba's threads do not survive a fork.
    with _deaf():
        cluster = LocalCluster(
            n_workers=int(count), threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
        )
    with cluster, Client(cluster) as client:
        yield client


@contextmanager
def _deaf() -> Iterator[None]:
    """Keep Ctrl-C, which all processes of a terminal get, from processes that are started here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def work(task: bytes, chunk: Chunk) -> list[Record]:
    """Do a chunk, on a worker: its files are written here, its records go back."""
    bench = _bench(task)
    outcomes = compute(bench, chunk, [bench.open(bench.fetch(item)) for item in chunk.items])
    return [bench.keep(bench.draw(outcome)) for outcome in outcomes]


def _bench(task: bytes) -> Bench:
    """Return the model with its compiled program: made once per process."""
    with _MAKING:
        if task not in _BENCHES:
            job, store = pickle.loads(task)
            model = load(**job.source)
            if model.sha256 != job.sha256:
                raise ModelError(
                    f"model '{model.name}': this worker has other weights (sha256 {str(model.sha256)[:12]}…)",
                    hint="put the same model where all workers find it",
                )
            model.settle(job.composite)
            job.parts.mkdir(parents=True, exist_ok=True)
            _BENCHES.clear()
            _BENCHES[task] = Bench(model, job, store)
        return _BENCHES[task]
