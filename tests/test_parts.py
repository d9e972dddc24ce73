"""Kernels as a whole and their parts: no machine code but the whole's, and numba's own way where numba has changed."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import float64

from lrptool.kernels.compiled import parts
from lrptool.kernels.compiled.jit import kernel
from lrptool.kernels.machine_code import MachineCode

ROOT = Path(__file__).parent.parent


def twice(a):  # type: ignore[no-untyped-def]
    return a + a


def has_machine_code(compiled: Any) -> bool:
    (result,) = compiled.overloads.values()
    engine = result.library._codegen._engine
    return bool(engine.is_symbol_defined(result.fndesc.llvm_func_name))


LOADED = MachineCode(None)


def call(code: bytes, name: str, *arguments: float) -> int:
    address = LOADED._load(code, name)
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_double] * len(arguments))(address)(*arguments))


def test_parts_have_no_machine_code() -> None:
    part, plain = kernel(twice), numba.njit(twice)
    for compiled in (part, plain):
        compiled.compile((float64,))
    assert [has_machine_code(compiled) for compiled in (part, plain)] == [False, True]


def test_a_whole_is_optimised_with_its_parts_and_can_be_called_from_c(monkeypatch: pytest.MonkeyPatch) -> None:
    numba.njit(twice).compile((float64,))  # a process's first function has numba make what all of them may need
    optimised = []
    library = parts.JITCodeLibrary
    once = library._optimize_final_module
    monkeypatch.setattr(library, "_optimize_final_module", lambda self: (optimised.append(type(self)), once(self)))
    part = kernel(twice)

    @kernel
    def whole(a):  # type: ignore[no-untyped-def]
        part(part(a))

    code = parts.whole_of(whole, (float64,), "whole")
    assert code is not None
    assert call(code, "whole", 2.0) == 0
    assert optimised == [parts._Whole]


def test_a_kernel_that_fails_says_so() -> None:
    @kernel
    def whole(a):  # type: ignore[no-untyped-def]
        if a > 0:
            raise ValueError

    code = parts.whole_of(whole, (float64,), "fails")
    assert code is not None
    assert call(code, "fails", 0.0) == 0
    assert call(code, "fails", 1.0) != 0


def test_code_that_needs_numba_is_not_kept() -> None:
    @kernel
    def whole():  # type: ignore[no-untyped-def]
        np.random.seed(0)  # noqa: NPY002  (numba knows no other)

    assert parts.whole_of(whole, (), "whole") is None

    here = ctypes.CFUNCTYPE(ctypes.c_int64)(lambda: 0)

    @kernel
    def knows_an_address():  # type: ignore[no-untyped-def]
        here()

    assert parts.whole_of(knows_an_address, (), "whole") is None


CHANGED = """
import json
import sys
import types

import numba.core.codegen
import numba.core.compiler
import numpy as np

{change}
import lrptool.kernels.compiled.jit

sys.modules.update(kept)
from lrptool.kernels import Signed, forward_dense
from lrptool.kernels.machine_code import MACHINE_CODE

result = forward_dense(np.ones((1, 2), np.float32), np.ones((1, 2), np.float32), Signed(1.0, 1.0)).item()
kept = sorted(path.name.partition("-")[0] for path in MACHINE_CODE.folder.iterdir())
sys.stdout.write(json.dumps([result, kept, "lrptool.kernels.compiled.parts" in sys.modules]))
"""
HIDE = """
kept = {{"{module}": sys.modules["{module}"]}}
stub = types.ModuleType("{module}")
{stub}
sys.modules["{module}"] = stub
"""
CHANGES = {
    "nothing": ("numba.core.codegen", "stub = kept['numba.core.codegen']"),
    "no library": ("numba.core.codegen", ""),
    "no compiler": ("numba.core.compiler", ""),
    "methods of other names": (
        "numba.core.codegen",
        "stub.JITCodeLibrary = type('JITCodeLibrary', (), {}); stub.CPUCodegen = kept['numba.core.codegen'].CPUCodegen",
    ),
    "other arguments": ("numba.core.compiler", "stub.Compiler = type('Compiler', (), {'__init__': lambda *_: None})"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_kernels_are_compiled_whatever_numba_is_like_inside(what: str, tmp_path: Path) -> None:
    module, stub = CHANGES[what]
    code = CHANGED.format(change=HIDE.format(module=module, stub=stub))
    environment = os.environ | {"LRPTOOL_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    as_ever = what == "nothing"
    assert json.loads(done.stdout) == [2, ["forward_dense"] if as_ever else [], as_ever]


def test_the_way_back_is_compiled_in_numbas_own_way_too(tmp_path: Path) -> None:
    """A product, which the region calls by name, in a process where no code can be kept."""
    code = """
import sys
import numpy as np
import os
import lrptool.kernels.compiled.build as build
import lrptool.kernels.beside as beside
beside.cores = lambda: 1  # else another process might keep code
build.WHOLE_OF = None
import lrptool
x = np.random.default_rng(0).random((1, 1, 28, 28)).astype(np.float32)
np.save(sys.argv[1], lrptool.load("lenet").explain(x, composite="epsilon-plus").relevance)
"""
    environment = os.environ | {"LRPTOOL_CACHE": str(tmp_path / "cache"), "LRPTOOL_SIMD": "plain"}
    own = [sys.executable, "-c", code, str(tmp_path / "own.npy")]
    subprocess.run(own, cwd=ROOT, env=environment, check=True)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    import lrptool  # noqa: PLC0415

    x = np.random.default_rng(0).random((1, 1, 28, 28)).astype(np.float32)
    usual = lrptool.load("lenet").explain(x, composite="epsilon-plus").relevance
    np.testing.assert_allclose(np.load(tmp_path / "own.npy"), usual, rtol=0, atol=1e-5 * np.abs(usual).max())
