"""Machine code kept from process to process: one file per kernel, kinds of arguments and processor.

numba's own cache keeps an index beside numbered files: a damaged one ends in a traceback, two processes that compile
for different arguments at the same time can take each other's number, and before it looks for anything it loads all
that is needed to compile, which takes longer than loading the code.
"""

from __future__ import annotations

import hashlib
import pickle
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba

from lrptool.files import replacing

_CHECK = 4
"""Bytes of the checksum that a file begins with."""


class KernelCache:
    """What numba asks a cache for: to load and to save the code for a signature.

    Whatever cannot be loaded is compiled, and what cannot be saved is compiled next time.

    Parameters
    ----------
    folder : Path
    name : str
        The kernel's; files begin with it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the compiled kernel; None where there is none that can be used."""
        # Damaged files raise whatever unpickling raises, other versions of numba whatever they no longer have.
        with suppress(Exception):
            contents = self._path(signature, target.codegen()).read_bytes()
            check, code = contents[:_CHECK], contents[_CHECK:]
            if check == _checksum(code):
                numba.core.runtime.rtsys.initialize(target)
                return numba.core.compiler.CompileResult._rebuild(target, *pickle.loads(code))
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a compiled kernel: the whole file or none."""
        with suppress(Exception):
            # Without the environments of what was built in: a kernel makes no Python objects, which these are for, and
            # loading them would load most of what is needed to compile.
            *parts, environments = compiled._reduce()
            code = numba.core.serialize.dumps((*parts, () if isinstance(environments, tuple) else environments))
            with replacing(self._path(signature, compiled.codegen), force=True) as stream:
                stream.write(_checksum(code) + code)

    def _path(self, signature: Any, codegen: Any) -> Path:
        """The file for some kinds of arguments on this processor."""
        key = hashlib.sha256(repr((str(signature), codegen.magic_tuple())).encode()).hexdigest()
        return self._folder / f"{self._name}-{key[:16]}"


def _checksum(code: bytes) -> bytes:
    return zlib.crc32(code).to_bytes(_CHECK, "big")
