"""The one place that owns how kernels are compiled and where their machine code is kept.

Flags and why:

- ``fastmath`` without ``nnan`` and ``ninf``: with the full set ``isnan`` is false on NaN, and relevance that is not
  finite could no longer be found.
- ``error_model="numpy"``: x / 0 is inf, not an exception that nobody handles.
- no ``parallel``: threads come from `lrptool.kernels.team`.
- no ``cache``: `lrptool.kernels.cache` keeps machine code under a key made of the source of *all* kernels. numba's
  own key sees only the file a function stands in and would run old code after an edit to a helper elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from lrptool.kernels.cache import KernelCache
from lrptool.kernels.simd import SIMD
from lrptool.resources import user_cache

try:
    from lrptool.kernels.parts import PartCompiler
except ImportError:
    _PART = dict[str, Any]()
else:
    _PART = {"pipeline_class": PartCompiler}

_WAY_BACK = "lrptool.kernels.region.run"
"""The kernel that all others are part of."""
_FASTMATH = {"contract", "reassoc", "nsz"}


def _sources_key() -> str:
    """Hash of all kernels' source, of numba's version and of the vector instructions in use."""
    digest = hashlib.sha256(f"{numba.__version__} {SIMD.name}".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _own_temporary() -> Path | None:
    """Folder among the system's temporary ones that nobody else can write to: code found there is run."""
    if not hasattr(os, "getuid"):
        return None
    folder = Path(tempfile.gettempdir()) / f"lrptool-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    return folder if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022 else None


def _usable_cache() -> Path | None:
    """Folder for machine code, created; None where nothing can be written anywhere."""
    for find in (user_cache, _own_temporary):
        try:
            folder = find()
            if folder is None:
                continue
            folder = folder / "kernels" / _sources_key()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


CACHE_FOLDER = _usable_cache()


def kernel(*, entry: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator that compiles a kernel on its first call.

    Parameters
    ----------
    entry : bool
        Whether it is called from Python. Others are called by kernels alone: they get no wrappers and no machine code
        of their own, which would take most of the time, and are kept as parts of the kernels that call them.
    """

    def compile_lazily(function: Callable[..., Any]) -> Any:
        how = {} if entry else {**_PART, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        compiled = numba.njit(nogil=True, error_model="numpy", fastmath=_FASTMATH, **how)(function)
        if entry and CACHE_FOLDER is not None:
            compiled._cache = KernelCache(CACHE_FOLDER, f"{function.__module__}.{function.__name__}")
        return compiled

    return compile_lazily


def is_compiled() -> bool:
    """Whether machine code of the whole way back is in the cache folder."""
    return CACHE_FOLDER is not None and any(CACHE_FOLDER.glob(f"{_WAY_BACK}-*"))


def is_kept() -> bool:
    """Whether there is a folder to keep machine code in."""
    return CACHE_FOLDER is not None
