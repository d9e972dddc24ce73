"""Files made to hang or to fill the memory, and ones that are wrong at heart, through the command line."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from lrptool.errors import ModelError
from lrptool.loaders.caffe import load_caffe
from tests.caffe_dialects import plain
from tests.caffe_nets import draw
from tests.command import pipe, run
from tests.onnxnets import model, node, save

SIZE = 100 * 2**20
COMMANDS = ("inspect", "check", "convert")


def packed(kind: str) -> bytes:
    """An archive of zeros, a thousand times smaller than what it holds."""
    stream, zeros = io.BytesIO(), bytes(SIZE)
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("net.onnx", zeros)
    elif kind == "gzip":
        stream.write(gzip.compress(zeros))
    else:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("net.onnx"))
        stream.write(zeros)
    return stream.getvalue()


def refused(path: Path, *options: object, code: int = 3, command: str = "check") -> str:
    """The one line a command says of a file; with nothing on stdout."""
    args = [command, "--model", path] if command == "inspect" else [command, path]
    args += [path.parent / "out.onnx"] if command == "convert" else []
    done = run(*args, *options)
    lines = [line for line in done.err.splitlines() if not line.startswith(("note:", "  hint:"))]
    assert (done.code, done.out, len(lines)) == (code, b"", 1), done.err
    assert not (path.parent / "out.onnx").exists()
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("ending", ["onnx", "caffemodel", "prototxt"])
@pytest.mark.parametrize("pattern", [b"\0", b"\xff", b"garbage\n"], ids=["zeros", "ones", "text"])
def test_a_hundred_megabytes_of_garbage(tmp_path: Path, command: str, ending: str, pattern: bytes) -> None:
    path = tmp_path / f"net.{ending}"
    path.write_bytes(pattern * (SIZE // len(pattern)))
    options = ("--weights", "random:0") if ending == "prototxt" else ()
    assert str(path) in refused(path, *options, command=command)


@pytest.mark.parametrize("ending", ["onnx", "caffemodel"])
@pytest.mark.parametrize("kind", ["zip", "gzip", "tar"])
def test_packed_bombs_are_not_unpacked(tmp_path: Path, kind: str, ending: str) -> None:
    path = tmp_path / f"net.{ending}"
    path.write_bytes(packed(kind))
    line = refused(path, code=3 if kind == "tar" else 4)
    assert str(path) in line
    assert (f"found a {kind} archive" in line) == (kind != "tar")


def test_an_hdf5_bomb_is_not_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "net.prototxt").write_text(plain())
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        for name in ("conv1", "scores"):
            file.create_dataset(f"data/{name}/0", (2**14, 2**14), "f4", compression="gzip", chunks=(2**10, 2**14))
    assert path.stat().st_size < 100_000
    line = refused(tmp_path / "net.prototxt", "--weights", path)
    assert "found more than" in line


def test_hdf5_groups_that_hold_themselves(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "net.prototxt").write_text(plain())
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("data/conv1")
        group["conv1"] = group
    with pytest.raises(ModelError, match="its groups hold themselves"):
        load_caffe(tmp_path / "net.prototxt", path)


def weights(value: float) -> dict[str, np.ndarray]:
    """Those of a layer, one of which is no number."""
    made = np.ones((2, 3, 1, 1), np.float32)
    made[1, 2] = value
    return {"w": made}


CONV = node("Conv", ["x", "w"], ["h"], name="conv")
WRONG: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "circle": (lambda: model([node("Add", ["x", "b"], ["a"], name="one"), node("Relu", ["a"], ["b"], name="two"),
                              node("Relu", ["b"], ["y"])], ["N", 3, 4, 4]), "the graph has a circle"),
    "missing input": (lambda: model([node("Add", ["x", "nobody"], ["y"])], ["N", 3, 4, 4]), "reads 'nobody'"),
    "nan": (lambda: model([CONV, node("Relu", ["h"], ["y"])], ["N", 3, 4, 4], weights(np.nan)), "'w'"),
    "infinite": (lambda: model([CONV, node("Relu", ["h"], ["y"])], ["N", 3, 4, 4], weights(np.inf)), "'w'"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", WRONG)
def test_wrong_onnx_files(tmp_path: Path, what: str, command: str) -> None:
    make, words = WRONG[what]
    assert words in refused(save(make(), tmp_path), command=command)


CAFFE_WRONG = {
    "circle": (lambda text: text.replace('bottom: "data"', 'bottom: "scores"', 1), "reads 'scores'"),
    "missing input": (lambda text: text.replace('bottom: "pool1"', 'bottom: "nobody"'), "reads 'nobody'"),
    "missing top": (lambda text: text.replace('top: "pool1"', "", 1), "pool1"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", CAFFE_WRONG)
def test_wrong_caffe_files(tmp_path: Path, what: str, command: str) -> None:
    change, words = CAFFE_WRONG[what]
    path = tmp_path / "net.prototxt"
    path.write_text(change(plain()))
    assert words in refused(path, "--weights", "random:0", command=command)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_caffe_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    path, file = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    path.write_text(plain())
    loaded = draw(path, file)
    first = loaded.graph.constants["conv1/weight"].ravel()[:4].tobytes()
    data = file.read_bytes()
    assert data.count(first) == 1
    file.write_bytes(data.replace(first, np.full(4, value, np.float32).tobytes()))
    assert "conv1" in refused(path, "--weights", file)


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\0" * SIZE)
    done = pipe("check", path)
    assert (done.code, done.out) == (3, b"")
    assert "Traceback" not in done.err
