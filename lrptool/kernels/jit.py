"""The one place that owns how kernels are compiled and where their machine code is kept.

Flags and why:

- ``fastmath`` without ``nnan`` and ``ninf``: with the full set ``isnan`` is false on NaN, and relevance that is not
  finite could no longer be found.
- ``error_model="numpy"``: x / 0 is inf, not an exception raised from a parallel region.
- ``cache``: the machine code lives in the user's cache folder under a key made of the source of *all* kernels, because
  numba's own key sees only the file a function stands in and would run old code after an edit to a helper elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numba
from numba.core import config

from lrptool.kernels.simd import SIMD

_FASTMATH = {"contract", "reassoc", "nsz"}
# GNU OpenMP's threads spin between steps, for long enough that one busy neighbour costs a time slice at every step.
# A short spin keeps most of the quick hand-over. Read when the library loads, so it has to be set before.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _sources_key() -> str:
    """Hash of all kernels' source, of numba's version and of the vector instructions in use."""
    digest = hashlib.sha256(f"{numba.__version__} {SIMD.name}".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    """Folder of lrptool's caches: ``LRPTOOL_CACHE``, or the platform's place for them."""
    if chosen := os.environ.get("LRPTOOL_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lrptool"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "lrptool" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lrptool"


def _usable_cache() -> str | None:
    """Folder for machine code, created; None where nothing can be written there."""
    try:
        folder = _user_cache() / "kernels" / _sources_key()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):
        return None
    return str(folder)


CACHE_FOLDER = _usable_cache()


def kernel(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator that compiles a kernel on its first call."""

    def compile_lazily(function: Callable[..., Any]) -> Any:
        before = config.CACHE_DIR
        # numba reads the folder once, when a function is decorated: other users of numba in this process keep theirs.
        config.CACHE_DIR = CACHE_FOLDER or before
        try:
            return numba.njit(
                parallel=parallel, cache=CACHE_FOLDER is not None, nogil=True, error_model="numpy", fastmath=_FASTMATH
            )(function)
        finally:
            config.CACHE_DIR = before

    return compile_lazily


def is_compiled() -> bool:
    """Whether machine code of these kernels was found in the cache folder."""
    return CACHE_FOLDER is not None and any(Path(CACHE_FOLDER).rglob("*.nbc"))


def get_threads() -> int:
    """Return the number of threads the calling thread's kernels use."""
    count: int = numba.get_num_threads()
    return count


_ONE_AT_A_TIME = threading.Lock()


def shared_use() -> AbstractContextManager[Any]:
    """Return what to hold while kernels run: a lock where numba's threading layer cannot serve two threads at once."""
    numba.get_num_threads()  # starts the layer: before that it has no name
    return _ONE_AT_A_TIME if numba.threading_layer() == "workqueue" else nullcontext()


def set_threads(count: int) -> None:
    """Let the calling thread's kernels use `count` threads, at most as many as numba started with."""
    numba.set_num_threads(max(1, min(count, numba.config.NUMBA_NUM_THREADS)))
