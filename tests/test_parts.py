"""Kernels as a whole and their parts: no machine code but the whole's, and numba's own way where numba has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest
from numba import float64

from lrptool.kernels import jit, parts
from lrptool.kernels.jit import kernel

ROOT = Path(__file__).parent.parent


@pytest.fixture
def not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled is no other process's business."""
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)


def twice(a):  # type: ignore[no-untyped-def]
    return a + a


def has_machine_code(compiled: Any) -> bool:
    (result,) = compiled.overloads.values()
    engine = result.library._codegen._engine
    return bool(engine.is_symbol_defined(result.fndesc.llvm_func_name))


@pytest.mark.usefixtures("not_kept")
def test_parts_have_no_machine_code() -> None:
    part, whole, plain = kernel()(twice), kernel(entry=True)(twice), numba.njit(twice)
    for compiled in (part, whole, plain):
        compiled.compile((float64,))
    assert [has_machine_code(compiled) for compiled in (part, whole, plain)] == [False, True, True]


@pytest.mark.usefixtures("not_kept")
def test_a_whole_is_optimised_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    optimised = []
    library = parts.JITCodeLibrary
    once = library._optimize_final_module
    monkeypatch.setattr(library, "_optimize_final_module", lambda self: (optimised.append(type(self)), once(self)))
    part = kernel()(twice)
    whole = kernel(entry=True)(lambda a: part(a) + 1)
    assert whole(2.0) == 5
    assert optimised == [library]


CHANGED = """
import json
import sys
import types

import numba.core.codegen
import numba.core.compiler
import numba.core.serialize

{change}
from lrptool.kernels.jit import kernel

sys.modules.update(kept)


@kernel()
def part(a):
    return a + a


@kernel(entry=True)
def whole(a):
    return part(a) + 1


own_way = part._compiler.pipeline_class is numba.core.compiler.Compiler
sys.stdout.write(json.dumps([whole(2.0), own_way, "lrptool.kernels.parts" in sys.modules]))
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
    "methods of other names": ("numba.core.codegen", "stub.JITCodeLibrary = type('JITCodeLibrary', (), {})"),
    "nothing to keep code with": ("numba.core.serialize", ""),
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
    changed = not what.startswith("nothing")
    assert json.loads(done.stdout) == [5, changed, not changed]
