"""Several at once: threads of Python that explain at the same time, executors, forked processes."""

from __future__ import annotations

import asyncio
import faulthandler
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import lrptool
from lrptool.kernels import get_threads, set_threads
from lrptool.kernels.compiled.atomic import take
from lrptool.kernels.compiled.bare import pointer_at
from lrptool.kernels.compiled.gate import enter, leave
from lrptool.kernels.team import CLOSED, HELPS, Team, counters
from tests.command import SAMPLES
from tests.conftest import ROOT

PATIENCE = 120
"""Seconds after which something hangs."""
COMPOSITES = ("epsilon", "epsilon-plus", "alpha2-beta1", "lrp-cmp")
X = np.random.default_rng(4).random((5, 1, 28, 28)).astype(np.float32)


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    """Whoever hangs says where."""
    faulthandler.dump_traceback_later(PATIENCE, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def at_once(tasks: list[Callable[[], bool]], repeats: int) -> None:
    """Let a thread per task do it again and again, all beginning together; every one has to be right."""
    start = threading.Barrier(len(tasks))
    right: list[bool] = []

    def work(task: Callable[[], bool]) -> None:
        start.wait(PATIENCE)
        for _ in range(repeats):
            right.append(task())  # noqa: PERF401

    threads = [threading.Thread(target=work, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert right == [True] * (len(tasks) * repeats)


@pytest.mark.parametrize("counts", [(0,), (1, 2), (3, 4, 0), (64, 1)])
def test_threads_get_what_one_gets_alone(counts: tuple[int, ...]) -> None:
    models = [lrptool.load("lenet", threads=count) for count in counts]
    alone = lrptool.load("lenet", threads=1)
    truth = {name: alone.explain(X, composite=name).relevance for name in COMPOSITES}
    scores = alone.predict(X).scores

    def explains(model: lrptool.Model, name: str) -> bool:
        return np.array_equal(model.explain(X, composite=name).relevance, truth[name])

    def predicts(model: lrptool.Model) -> bool:
        return np.allclose(model.predict(X).scores, scores, rtol=0, atol=1e-4)

    pairs = [(models[k % len(models)], name) for k, name in enumerate(COMPOSITES)]
    tasks: list[Callable[[], bool]] = [lambda m=m, n=n: explains(m, n) for m, n in pairs]  # type: ignore[misc]
    at_once([*tasks, lambda: predicts(models[0])], 6)


def test_batches_of_different_sizes_at_once() -> None:
    model = lrptool.load("lenet")
    parts = [X[: 1 + k] for k in range(5)]
    truth = [model.explain(part).relevance for part in parts]
    at_once(
        [lambda k=k: np.array_equal(model.explain(parts[k]).relevance, truth[k]) for k in range(5)],  # type: ignore[misc]
        5,
    )


def test_a_program_is_compiled_once_by_threads_that_ask_together() -> None:
    model = lrptool.load("lenet")
    truth = lrptool.load("lenet").explain(X, composite="epsilon-gamma-box").relevance
    at_once([lambda: np.array_equal(model.explain(X, composite="epsilon-gamma-box").relevance, truth)] * 4, 1)
    assert len({id(model.program("epsilon-gamma-box")) for _ in range(2)}) == 1


def test_an_executor_of_asyncio() -> None:
    model = lrptool.load("lenet")
    pictures = sorted(SAMPLES.glob("digit_*.png"))
    truth = [model.explain(picture).relevance for picture in pictures]

    async def serve() -> list[lrptool.Explanation]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(6) as pool:
            return await asyncio.gather(*(loop.run_in_executor(pool, model.explain, one) for one in pictures))

    for one, right in zip(asyncio.run(serve()), truth, strict=True):
        np.testing.assert_array_equal(one.relevance, right)


FORK = """
import faulthandler, multiprocessing, os, sys, warnings
import numpy as np
import lrptool

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 advises against what is tried here
x = np.random.default_rng(0).random((3, 1, 28, 28)).astype(np.float32)
model = lrptool.load("lenet")
truth = model.explain(x).relevance, model.predict(x).scores

def child(number):
    faulthandler.dump_traceback_later(60, exit=True)
    fresh = model if number % 2 else lrptool.load("lenet")
    right = np.array_equal(fresh.explain(x).relevance, truth[0])
    return right and np.allclose(fresh.predict(x).scores, truth[1], rtol=0, atol=1e-4)

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(child, range(4), chunksize=1) == [True] * 4
assert np.array_equal(model.explain(x).relevance, truth[0])
print("all right", flush=True)
"""


@pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="this system does not fork")
def test_forked_children_of_a_process_that_has_explained_already() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=False, timeout=PATIENCE, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr


@numba.njit(nogil=True)
def count_up(counter, most, came, gate, leads):  # type: ignore[no-untyped-def]
    """Count to `most` together; mark who came."""
    worker = enter(gate)
    if worker >= CLOSED:
        return
    pointer_at(came, gate)[worker] = 1
    while take(counter, 1) < most:
        pass
    leave(gate, leads)


class Kept:
    """What arguments hold addresses of."""


def test_who_helped_keeps_nothing() -> None:
    team, kept = Team(), Kept()
    watch, came = weakref.ref(kept), np.zeros(2, np.int64)
    deadline = time.monotonic() + PATIENCE
    while came.sum() < 2 and time.monotonic() < deadline:  # until a helper has taken part
        counter = counters(1)
        team.run(count_up, 2, counter.ctypes.data, 1 << 22, came.ctypes.data, keeps=(counter, came, kept))
    assert came.tolist() == [1, 1]
    del kept
    while watch() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watch() is None


def counted(team: Team, threads: int, most: int) -> tuple[int, int]:
    """What a team has counted to, and how many took part."""
    counter, came = np.zeros(1, np.int64), np.zeros(64, np.int64)
    team.run(count_up, threads, counter.ctypes.data, most, came.ctypes.data, keeps=(counter, came))
    return int(counter[0]), int(came.sum())


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_team_does_the_work_once(threads: int) -> None:
    team = Team()
    for _ in range(20):
        total, came = counted(team, threads, 10_000)
        assert total == 10_000 + came
        assert 1 <= came <= threads


def test_there_are_threads_for_several_who_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrptool.kernels.team.cores", lambda: 4)
    team = Team()
    counted(team, 1, 10)
    assert team._threads == 0
    counted(team, 2, 10)
    assert team._threads == 3
    counted(team, 6, 10)
    assert team._threads == 5


def test_who_comes_late_does_nothing_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team()
    counted(team, 3, 10)
    counter, came = np.zeros(1, np.int64), np.zeros(64, np.int64)
    closed = np.full(counters(2).size, CLOSED)
    count_up(counter.ctypes.data, 10, came.ctypes.data, closed.ctypes.data, HELPS)
    assert (counter[0], came.sum()) == (0, 0)
    monkeypatch.setattr(Team, "_grow", lambda *_: None)
    team.forget()
    assert counted(team, 4, 10)[1] == 1  # nobody came
    left = [team._waiting.get_nowait() for _ in range(3)]
    assert all(work.load is None for work in left)


def test_an_interrupt_leaves_the_team_able_to_work() -> None:
    team = Team()
    counted(team, 3, 10)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        team.run(interrupted, 1)
    assert counted(team, 3, 1000)[0] >= 1000


def test_a_kernel_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="a kernel ended with status 3"):
        Team().run(lambda *_: 3, 1)


def test_the_number_of_threads_belongs_to_the_thread_that_asks() -> None:
    set_threads(2)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(get_threads()))
    thread.start()
    thread.join(PATIENCE)
    try:
        assert get_threads() == 2
        set_threads(10**6)
        assert 1 < get_threads() < 10**4
    finally:
        set_threads(0)
    assert seen == [get_threads()]
