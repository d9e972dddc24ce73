"""Machine code of the kernels: one file per kernel, kind of values and processor, loaded without any of the compiler.

Importing what compiles kernels takes longer than most pictures; so nothing of it is, unless there is no code yet. Where
files lie depends on the source of all kernels, on numba's version and on the vector instructions in use. Files are
written whole and begin with a checksum: what is damaged is compiled again.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import stat
import tempfile
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import DTypeLike

from lrptool.files import replacing
from lrptool.kernels.beside import beside
from lrptool.kernels.simd import SIMD
from lrptool.resources import user_cache
from lrptool.version import VERSION

_INTEGERS = {"run": 7, "products": 4, "forward_dense": 10}
"""Kernels, and their arguments behind `like`: integers and addresses, all int64."""
_CALLED = {"run": ("products",)}
"""Kernels that others call, as functions of C: compiling can be shared among processes."""
_WAY_BACK = "run"
SYMBOLS = "lrptool_"
"""How names of kernels in object code begin."""
_CHECK = 4
"""Bytes of the checksum that a file begins with."""
_TUNING = [
    f"NUMBA_{name}" for name in ("CPU_NAME", "CPU_FEATURES", "OPT", "ENABLE_AVX", "LOOP_VECTORIZE", "SLP_VECTORIZE")
]
"""What has numba compile other code."""
_COMPILERS = ("numba", "llvmlite")

Function = Callable[..., int]


def _version_of(package: str) -> bytes:
    """What tells versions apart, without importing them, or what reads metadata of packages, which takes long."""
    found = find_spec(package)
    folder = Path(found.origin).parent if found is not None and found.origin is not None else Path()
    with suppress(OSError):
        return (folder / "_version.py").read_bytes()
    return str(folder).encode()


def _sources_key() -> str:
    """Hash of all kernels' source, of the compilers' versions and of the vector instructions in use."""
    digest = hashlib.sha256(f"{VERSION} {SIMD.name}".encode())
    for package in _COMPILERS:
        digest.update(_version_of(package))
    here = Path(__file__).parent
    for source in sorted(here.rglob("*.py")):
        digest.update(source.relative_to(here).as_posix().encode() + source.read_bytes())
    return digest.hexdigest()[:16]


KEY = _sources_key()


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
            folder = folder / "kernels" / KEY
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


class MachineCode:
    """Kernels to be called from Python.

    Parameters
    ----------
    folder : Path or None
        Where their code is kept; None: nowhere, and every process compiles.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._functions: dict[tuple[str, np.dtype[Any]], Function] = {}
        self._engines: list[Any] = []
        self.renew()

    def renew(self) -> None:
        """Begin with a lock that nobody holds: a child's, whoever held the parent's when it was forked."""
        self._lock = threading.Lock()

    def function(self, name: str, dtype: DTypeLike) -> Function:
        """Return a kernel: int64 name(like, int64, …), which lets other threads of Python run and returns 0.

        Parameters
        ----------
        name : str
        dtype : float32 or float64
            Kind of `like`, and of all values.
        """
        key = name, np.dtype(dtype)
        if key not in self._functions:
            with self._lock:
                if key not in self._functions:
                    self._functions[key] = self._find(*key)
        return self._functions[key]

    def has_way_back(self) -> bool:
        """Whether machine code of the whole way back is there for float32."""
        names, dtype = (*_CALLED.get(_WAY_BACK, ()), _WAY_BACK), np.dtype(np.float32)
        return self.folder is not None and all(self._path(self.folder, name, dtype).exists() for name in names)

    def make(self, name: str, dtype: np.dtype[Any]) -> bytes | None:
        """Compile a kernel without those it calls, and keep it; None where its code cannot be kept."""
        from lrptool.kernels.compiled.build import code_of  # noqa: PLC0415  (imports the compiler)

        code = code_of(name, dtype, _INTEGERS[name])
        # Sources may have changed since this process began.
        if code is not None and _sources_key() == KEY:
            self._write(name, dtype, code)
        return code

    def _find(self, name: str, dtype: np.dtype[Any]) -> Function:
        """Load a kernel and those it calls, and compile what is missing."""
        names = (*_CALLED.get(name, ()), name)
        codes = {each: self._read(each, dtype) for each in names}
        missing = [each for each, code in codes.items() if code is None]
        if missing:
            codes |= self._make_all(missing, dtype)
        address = 0
        for each in names:
            code, symbol = codes[each], f"{SYMBOLS}{each}_{dtype}"
            address = self._own_way(each, dtype) if code is None else self._load(code, symbol)
            if each != name:
                llvm.add_symbol(symbol, address)  # by which those find it that call it
        kinds = [ctypes.c_int64] * _INTEGERS[name]
        return ctypes.CFUNCTYPE(ctypes.c_int64, np.ctypeslib.as_ctypes_type(dtype), *kinds)(address)

    def _make_all(self, names: Sequence[str], dtype: np.dtype[Any]) -> dict[str, bytes | None]:
        """Compile kernels: the last in this process, others, where they can be kept, at the same time."""
        *others, own = names
        with ExitStack() as stack:
            processes = [stack.enter_context(beside(self.folder, KEY, each, dtype)) for each in others]
            codes = {own: self.make(own, dtype)}
            for each, process in zip(others, processes, strict=True):
                process.wait()
                codes[each] = self._read(each, dtype) or self.make(each, dtype)
        return codes

    @staticmethod
    def _own_way(name: str, dtype: np.dtype[Any]) -> int:
        """Compile what cannot be kept; return its address."""
        from lrptool.kernels.compiled.build import address_of  # noqa: PLC0415  (imports the compiler)

        return address_of(name, dtype, _INTEGERS[name])

    def _load(self, code: bytes, name: str) -> int:
        """Make code part of this process; return the address of what has a name in it."""
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._engines.append(engine)
        return int(engine.get_function_address(name))

    def _read(self, name: str, dtype: np.dtype[Any]) -> bytes | None:
        """Return kept code; None where there is none that can be used."""
        if self.folder is None:
            return None
        with suppress(OSError):
            path = self._path(self.folder, name, dtype)
            contents = path.read_bytes()
            check, code = contents[:_CHECK], contents[_CHECK:]
            if check == _checksum(path, code):
                return code
        return None

    def _write(self, name: str, dtype: np.dtype[Any], code: bytes) -> None:
        """Keep code, the whole file or none; what cannot be kept is compiled next time."""
        if self.folder is None:
            return
        path = self._path(self.folder, name, dtype)
        with suppress(Exception), replacing(path, force=True) as stream:
            stream.write(_checksum(path, code) + code)

    @staticmethod
    def _path(folder: Path, name: str, dtype: np.dtype[Any]) -> Path:
        """The file for a kind of values on this processor."""
        processor = llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        tuning = [os.environ.get(variable) for variable in _TUNING]
        key = hashlib.sha256(repr((processor, tuning)).encode()).hexdigest()
        return folder / f"{name}-{dtype}-{key[:16]}"


def _checksum(path: Path, code: bytes) -> bytes:
    """Return a checksum of the code and of what it is for."""
    return zlib.crc32(path.name.encode() + code).to_bytes(_CHECK, "big")


MACHINE_CODE = MachineCode(_usable_cache())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=MACHINE_CODE.renew)


def is_compiled() -> bool:
    """Whether machine code of the whole way back is in the cache folder."""
    return MACHINE_CODE.has_way_back()


def is_kept() -> bool:
    """Whether there is a folder to keep machine code in."""
    return MACHINE_CODE.folder is not None
