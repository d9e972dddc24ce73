"""The first run and those after it: compiling, machine code that is kept, and what can be wrong with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest

from lrptool.errors import ConfigError, OutputError
from lrptool.kernels import beside, machine_code, simd
from lrptool.kernels.compiled.bare import pointer_at
from lrptool.kernels.compiled.tile import make_tile
from lrptool.kernels.compiled.window import make_part
from lrptool.kernels.machine_code import MachineCode
from lrptool.kernels.scratch import LINE, SUMS
from lrptool.kernels.team import Team, counters
from lrptool.resources import user_cache
from lrptool.zoo import fetch, known_card, locate
from tests.command import DIGIT, listing
from tests.conftest import ROOT

NOTE = "note: compiling kernels (once)\n"
PATIENCE = 300
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import lrptool.cli as c; c.main()"
"""A shell that starts jobs in the background has them ignore SIGINT; they would not hear ours."""


def begin(cache: Path, out: Path, source: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
    """Start explaining a digit with machine code in `cache`."""
    args = ["explain", str(DIGIT), "-m", "lenet", "-c", "epsilon-plus", "-o", str(out), "--save", "npy"]
    return subprocess.Popen(
        [sys.executable, "-c", START, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=source,
        env=os.environ | {"LRPTOOL_CACHE": str(cache), "PYTHONPATH": str(source)} | environment,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end; return what was said on stderr."""
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def relevance(out: Path) -> np.ndarray:
    (path,) = out.glob("*.npy")
    return np.load(path)


def stopped(cache: Path, out: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and talk of a process that gets a signal while it compiles."""
    with begin(cache, out, LRPTOOL_SIMD="plain") as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        time.sleep(3)
        process.send_signal(number)
        said += process.stderr.read()
        return process.wait(PATIENCE), said


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that two processes filled at once, after others were interrupted and killed: the least the CPU can do."""
    folder = tmp_path_factory.mktemp("cold")
    cache = folder / "cache"
    code, said = stopped(cache, folder / "interrupted", signal.SIGINT)
    assert (code, said) == (130, f"{NOTE}\nlrptool: interrupted\n")
    code, said = stopped(cache, folder / "killed", signal.SIGKILL)
    assert (code, said) == (-signal.SIGKILL, NOTE)  # said again: nothing was compiled
    both = [begin(cache, folder / name, LRPTOOL_SIMD="plain") for name in ("a", "b")]
    assert [finish(process) for process in both] == [NOTE, NOTE]
    np.testing.assert_array_equal(relevance(folder / "a"), relevance(folder / "b"))
    assert not list(cache.rglob("*.part"))
    return cache


@pytest.mark.xdist_group("cold")
def test_later_runs_find_the_code(compiled: Path, tmp_path: Path) -> None:
    assert finish(begin(compiled, tmp_path / "later", LRPTOOL_SIMD="plain")) == ""
    (folder,) = (compiled / "kernels").iterdir()
    assert sorted(path.name.rpartition("-")[0] for path in folder.iterdir()) == ["products-float32", "run-float32"]
    # The best instructions and the least give the same but for rounding.
    finish(begin(user_cache(), tmp_path / "best"))
    plain, best = relevance(tmp_path / "later"), relevance(tmp_path / "best")
    np.testing.assert_allclose(plain, best, rtol=0, atol=1e-5 * np.abs(best).max())


@pytest.mark.xdist_group("cold")
def test_a_package_that_cannot_be_written(compiled: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(ROOT / "lrptool", site / "lrptool", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "configs"):
        shutil.copytree(ROOT / name, site / name)
    paths = sorted(site.rglob("*"))
    for path in [*paths, site]:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        process = begin(compiled, tmp_path / "out", site, LRPTOOL_SIMD="plain", PYTHONDONTWRITEBYTECODE="1")
        assert finish(process) == ""  # the code is found again, wherever the package is
        assert sorted(site.rglob("*")) == paths
    finally:
        for path in [site, *paths]:
            path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.xdist_group("cold")
def test_a_cache_folder_that_cannot_be_written(compiled: Path, tmp_path: Path) -> None:
    own = tmp_path / f"lrptool-{os.getuid()}"
    shutil.copytree(compiled, own)
    own.chmod(0o700)
    wrong = tmp_path / "file"
    wrong.write_text("no folder")
    process = begin(wrong / "below", tmp_path / "out", LRPTOOL_SIMD="plain", TMPDIR=str(tmp_path))
    assert finish(process) == ""  # it falls back to the folder among the temporary ones
    assert wrong.read_text() == "no folder"


def test_a_temporary_folder_of_somebody_else_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("LRPTOOL_CACHE", str(DIGIT / "below"))
    kept = machine_code._usable_cache()
    assert kept is not None
    assert kept.is_relative_to(tmp_path)
    own = tmp_path / f"lrptool-{os.getuid()}"
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    assert machine_code._usable_cache() is None
    shutil.rmtree(own)
    own.symlink_to(tmp_path)
    assert machine_code._usable_cache() is None


def test_who_has_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody(_: int) -> None:
        raise KeyError("nobody of that number")

    for name in ("HOME", "XDG_CACHE_HOME", "LRPTOOL_CACHE", "LRPTOOL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    kept = machine_code._usable_cache()
    assert kept is not None
    assert listing(tmp_path)[0] == f"lrptool-{os.getuid()}"
    assert locate("lenet").weights == ROOT / "models" / "lenet" / "lenet.caffemodel"
    shutil.rmtree(tmp_path / f"lrptool-{os.getuid()}")
    with pytest.raises(OutputError, match="cannot be written: Not a directory") as caught:
        fetch(known_card("squeezenet"), known_card("squeezenet").files)
    assert caught.value.hint == "LRPTOOL_CACHE names another folder"
    assert listing(tmp_path) == []


X, WEIGHT = np.random.default_rng(0).standard_normal((2, 3, 8))


def product(code: MachineCode, dtype: Any = np.float64) -> np.ndarray:
    """A small product by the kernel that is compiled fastest."""
    team, arrays = Team(), [X.astype(dtype), WEIGHT.astype(dtype), np.ones(2, dtype)]
    out, own, sizes, dealt = np.zeros((3, 3), dtype), np.zeros(8, dtype), np.array([3, 3, 8]), counters(1)
    addresses = [array.ctypes.data for array in (*arrays, out, own, sizes, dealt)]
    team.run(code.function("forward_dense", dtype), 1, 0, *addresses[:3], 0, *addresses[3:], keeps=(arrays, out))
    np.testing.assert_allclose(out, X @ WEIGHT.T, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-14)
    return out


class Counting(MachineCode):
    """Counts what is compiled."""

    made = 0

    def make(self, name: str, dtype: np.dtype[Any]) -> bytes | None:
        self.made += 1
        return super().make(name, dtype)


def test_kernels_that_can_be_kept_nowhere_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    code = Counting(None)
    monkeypatch.setattr(machine_code, "MACHINE_CODE", code)
    assert not machine_code.is_compiled()
    assert not machine_code.is_kept()
    product(code)
    product(code)
    assert code.made == 1


def test_code_is_kept_by_the_kind_of_values(tmp_path: Path) -> None:
    first, second = Counting(tmp_path), Counting(tmp_path)
    results = [product(code, dtype) for code in (first, second) for dtype in (np.float32, np.float64)]
    assert (first.made, second.made) == (2, 0)
    names = sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir())
    assert names == ["forward_dense-float32", "forward_dense-float64"]
    for one, other in zip(results[:2], results[2:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda code: code[:3],
        lambda code: code[:4],
        lambda code: code[: len(code) // 2],
        lambda code: code[:-1],
        lambda code: code[:2000] + bytes([code[2000] ^ 1]) + code[2001:],
        lambda code: b"\0" * len(code),
    ],
    ids=["empty", "start", "checksum", "half", "end", "flipped", "zeros"],
)
def test_damaged_code_is_compiled_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    product(Counting(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    for made in (1, 0):
        code = Counting(tmp_path)
        product(code)
        assert code.made == made


def test_code_that_cannot_be_saved_is_no_error(tmp_path: Path) -> None:
    product(MachineCode(tmp_path / "missing"))
    assert not list(tmp_path.iterdir())


def test_another_processor_or_compiler_setting_has_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def path() -> Path:
        return MachineCode._path(tmp_path, "run", np.dtype(np.float32))

    paths = {path()}
    monkeypatch.setenv("NUMBA_OPT", "0")
    paths.add(path())
    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: "another")
    paths.add(path())
    assert len(paths) == 3


NO_COMPILER = """
import sys
import numpy as np
import lrptool

lrptool.load("lenet").explain(np.random.default_rng(0).random((2, 1, 28, 28)).astype(np.float32))
sys.exit("numba" in sys.modules)
"""


def test_kept_code_runs_without_the_compiler() -> None:
    for _ in range(2):  # the first may compile
        done = subprocess.run(
            [sys.executable, "-c", NO_COMPILER], capture_output=True, text=True, cwd=ROOT, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


def started(folder: Path, key: str = machine_code.KEY) -> bool:
    """Whether another process compiles into a folder."""
    with beside.beside(folder, key, "forward_dense", np.dtype(np.float64)) as compiling:
        compiling.wait()
    return any(folder.iterdir())


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "cores", lambda: 2)


@pytest.mark.usefixtures("two_cores")
def test_another_process_compiles_beside_this_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for executable in ("", None, str(tmp_path / "no python"), str(tmp_path / "python3"), "python\0"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", executable)
            assert not started(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "frozen", True, raising=False)
        assert not started(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(beside, "cores", lambda: 1)
        assert not started(tmp_path)
    assert not started(tmp_path, "of other sources")
    monkeypatch.setattr(sys, "path", ["", tmp_path, *sys.path])
    assert started(tmp_path)
    code = Counting(tmp_path)
    product(code)
    assert code.made == 0


@pytest.mark.usefixtures("two_cores")
def test_it_takes_nothing_from_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    current, folder = tmp_path / "current", tmp_path / "code"
    folder.mkdir()
    (current / "lrptool").mkdir(parents=True)
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w').close()"
    for name in ("numba.py", "numpy.py", "lrptool/__init__.py"):
        (current / name).write_text(trap)
    monkeypatch.chdir(current)
    assert started(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.usefixtures("two_cores")
def test_what_is_compiled_beside_is_given_up_with_the_rest(tmp_path: Path) -> None:
    context, begun = beside.beside(tmp_path, machine_code.KEY, "products", np.dtype(np.float64)), time.monotonic()
    with pytest.raises(KeyboardInterrupt), context as compiling:
        raise KeyboardInterrupt
    assert compiling.process is not None
    assert time.monotonic() - begun < 2
    assert not list(tmp_path.iterdir())


def test_code_is_not_kept_where_sources_have_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine_code, "_sources_key", lambda: "edited")
    product(MachineCode(tmp_path))
    assert not list(tmp_path.iterdir())


def test_code_of_another_kernel_is_not_taken_for_it(tmp_path: Path) -> None:
    product(Counting(tmp_path), np.float32)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / path.name.replace("32", "64", 1))
    code = Counting(tmp_path)
    product(code, np.float64)
    assert code.made == 1


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="this system does not fork")
def test_a_lock_that_another_thread_holds_is_not_inherited() -> None:
    code = machine_code.MACHINE_CODE
    with code._lock:
        held = code._lock
        code.renew()
        assert not code._lock.locked()
    assert code._lock is not held


def test_kernels_that_are_not_to_be_compiled_are_a_mistake(tmp_path: Path) -> None:
    _, said = begin(tmp_path / "cache", tmp_path / "out", NUMBA_DISABLE_JIT="1").communicate(timeout=PATIENCE)
    assert said.splitlines()[-2:] == [
        "lrptool: error: NUMBA_DISABLE_JIT: kernels cannot run without being compiled",
        "  hint: unset NUMBA_DISABLE_JIT",
    ]


def test_the_folder_depends_on_sources_compiler_and_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    key = machine_code._sources_key()
    assert key == machine_code._sources_key()
    monkeypatch.setattr(machine_code, "SIMD", simd._SETS["neon"])
    neon = machine_code._sources_key()
    monkeypatch.setattr(machine_code, "find_spec", lambda _: None)
    unknown = machine_code._sources_key()
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"edited")
    assert len({key, neon, unknown, machine_code._sources_key()}) == (3 if simd.SIMD.name == "neon" else 4)


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ({"avx512f": True, "avx2": True, "fma": True}, "avx512"),
        ({"avx512f": False, "avx2": True, "fma": True}, "avx2"),
        ({"avx2": True, "fma": False}, "plain"),
        ({"neon": True}, "neon"),
        ({}, "plain"),
    ],
)
def test_instructions_follow_from_the_processor(
    features: dict[str, bool], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LRPTOOL_SIMD", raising=False)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)
    assert simd.detect().name == name
    monkeypatch.setenv("LRPTOOL_SIMD", "neon")
    assert simd.detect().name == "neon"
    monkeypatch.setenv("LRPTOOL_SIMD", "avx")
    with pytest.raises(ConfigError, match="LRPTOOL_SIMD: unknown instruction set 'avx'") as caught:
        simd.detect()
    assert caught.value.hint == "did you mean 'avx2'?"


def test_an_unknown_instruction_set_is_said_in_one_line(tmp_path: Path) -> None:
    process = begin(tmp_path, tmp_path / "out", LRPTOOL_SIMD="sse9")
    _, said = process.communicate(timeout=PATIENCE)
    lines = said.splitlines()
    assert (process.returncode, lines[0]) == (6, "lrptool: error: LRPTOOL_SIMD: unknown instruction set 'sse9'")
    assert len(lines) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "rows", "vecs", "turned"),
    [
        (one.name, *shape, turned)
        for one in simd._SETS.values()
        for turned in (False, True)
        for shape in (one.turned if turned else one.tiles)
    ],
)
def test_every_tile_of_every_instruction_set(name: str, rows: int, vecs: int, turned: bool, dtype: Any) -> None:
    """Vectors longer than the processor's are taken apart, so all of them run anywhere.

    Terms come in two goes, and rows of results lie apart.
    """
    made = simd._SETS[name]
    width = vecs * (made.lanes if dtype == np.float32 else made.lanes // 2)
    tile, terms = make_tile(rows, vecs, made, turned=turned), 5
    random = np.random.default_rng(0)
    packed, met = (width, rows) if turned else (rows, width)
    weights = random.standard_normal((terms, packed)).astype(dtype)
    source = random.standard_normal(met + 20).astype(dtype)
    offsets, places = np.array([0, 7, 3, 19, 3]), np.array([4, 0, 1, 3, 2])
    out = np.full((rows, width + 3), 7, dtype)

    @numba.njit
    def run(weights, source, offsets, places, terms, before, out, apart, like):  # type: ignore[no-untyped-def]
        factors = pointer_at(weights, like), pointer_at(source, like)
        tables = pointer_at(offsets, terms), pointer_at(places, terms)
        tile(*factors, *tables, terms, before, pointer_at(out, like), apart)

    operands, kind = (weights.ctypes.data, source.ctypes.data), dtype(0)
    for before, count in ((0, 2), (2, terms - 2)):
        tables = offsets[before:].ctypes.data, places[before:].ctypes.data
        run(*operands, *tables, count, before, out.ctypes.data, out.shape[1], kind)
    assert (out[:, width:] == 7).all()
    out = out[:, :width]
    wanted = weights[places].T @ np.stack([source[at : at + met] for at in offsets])
    np.testing.assert_allclose(
        out, wanted.T if turned else wanted, rtol=0, atol=(1e-5 if dtype == np.float32 else 1e-13)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", simd._SETS)
def test_every_part_of_a_window_of_every_instruction_set(name: str, dtype: Any) -> None:
    """Stretches of a part belong to places in any order, with something between them."""
    made = simd._SETS[name]
    lanes = made.lanes if dtype == np.float32 else made.lanes // 2
    stretch, add_part = min(LINE, lanes), make_part(made)
    count, stretches = 5, SUMS * lanes // stretch
    random = np.random.default_rng(1)
    weights = random.standard_normal((9, SUMS * lanes)).astype(dtype)
    values, whose = random.standard_normal(count).astype(dtype), np.array([8, 0, 3, 3, 5])
    before = random.standard_normal((stretches, stretch + 3)).astype(dtype)
    rows = random.permutation(stretches)
    out = before.copy()

    @numba.njit
    def run(weights, values, offsets, count, targets, place, like):  # type: ignore[no-untyped-def]
        add_part(weights, values, offsets, count, targets, place, like)

    offsets, targets = whose * weights.strides[0], rows * out.strides[0]
    addresses = (weights.ctypes.data, values.ctypes.data, offsets.ctypes.data)
    run(*addresses, count, targets.ctypes.data, out.ctypes.data, dtype(0))
    wanted = before.copy()
    wanted[rows, :stretch] += (values @ weights[whose]).reshape(stretches, stretch)
    np.testing.assert_allclose(out, wanted, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)
