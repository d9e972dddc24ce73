"""Models that are fetched on first use, by whole processes: killed, side by side, offline."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrptool.errors import ExitCode
from lrptool.kernels.machine_code import MACHINE_CODE
from lrptool.zoo.store import readable_size
from tests.command import DIGIT, LENET, listing, pipe
from tests.mirror import Mirror, facts, mirror, until, write_card

PROTOTXT = (LENET / "deploy.prototxt").read_bytes()
WEIGHTS = (LENET / "lenet.caffemodel").read_bytes()
LARGE = readable_size(len(WEIGHTS))
FILES = ["models", "models/net", "models/net/deploy.prototxt", "models/net/net.caffemodel"]


@pytest.fixture
def server() -> Iterator[Mirror]:
    with mirror() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for fetched models; compiled kernels stay where they are."""
    folder = tmp_path / "cache"
    folder.mkdir()
    if MACHINE_CODE.folder is not None:
        (folder / "kernels").symlink_to(MACHINE_CODE.folder.resolve().parent)
    monkeypatch.setenv("LRPTOOL_CACHE", str(folder))
    monkeypatch.setenv("LRPTOOL_MODELS", str(tmp_path / "cards"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("LRPTOOL_OFFLINE", raising=False)
    return folder


@pytest.fixture
def net(server: Mirror, tmp_path: Path) -> Path:
    """The card of a network on the server: lenet under another name."""
    return write_card(
        tmp_path / "cards" / "net",
        aliases=["nickname"],
        license="BSD-3-Clause",
        files={
            "architecture": {"name": "deploy.prototxt", **facts(PROTOTXT, server.serve("/deploy.prototxt", PROTOTXT))},
            "weights": {
                "name": "net.caffemodel",
                **facts(WEIGHTS, server.serve("/first", WEIGHTS), server.serve("/second", WEIGHTS)),
            },
        },
    )


def fetched(cache: Path) -> list[str]:
    """What is in the cache but for compiled kernels."""
    return [name for name in listing(cache) if not name.startswith("kernels")]


def start(*args: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start a process."""
    command = [sys.executable, "-m", "lrptool", *(str(arg) for arg in args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)


def test_a_model_is_fetched_on_first_use_and_only_then(server: Mirror, net: Path, cache: Path) -> None:
    first = pipe("predict", DIGIT, "-m", "nickname", "--json")
    assert first.code == ExitCode.OK, first.err
    assert first.records[0]["model"] == "net"
    said = first.err.splitlines()
    size = len(PROTOTXT) + len(WEIGHTS)
    begins = f"note: model 'net' is not here: fetching {readable_size(size)} to {cache}/models/net: "
    assert said[0].startswith(begins)
    assert f"net.caffemodel ({LARGE})" in said[0]
    assert said[0].endswith("; licence: BSD-3-Clause")
    assert fetched(cache) == FILES
    assert len(server.requests) == 2
    second = pipe("predict", DIGIT, "-m", "net", "--json")
    assert (second.out, second.err) == (first.out, "")
    assert len(server.requests) == 2


def test_a_model_that_was_killed_in_mid_download_is_resumed(server: Mirror, net: Path, cache: Path) -> None:
    hold = threading.Event()
    server.places["/first"].hold = hold
    process = start("predict", DIGIT, "-m", "net")
    part = cache / "models/net/.net.caffemodel.part"
    until(lambda: part.is_file() and part.stat().st_size > 0)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    hold.set()
    have = part.stat().st_size
    assert 0 < have < len(WEIGHTS)
    assert (cache / "models/.net.lock").is_file()
    again = pipe("predict", DIGIT, "-m", "net", "--json")
    assert again.code == ExitCode.OK, again.err
    assert again.records[0]["predictions"][0]["label"] == "3"
    assert f"net.caffemodel: {have / 1e3:.1f} kB are here already" in again.err
    assert [headers.get("Range") for headers in server.asked("/first")] == [None, f"bytes={have}-"]
    assert len(server.asked("/deploy.prototxt")) == 1
    assert fetched(cache) == FILES
    assert (cache / "models/net/net.caffemodel").read_bytes() == WEIGHTS


def test_two_processes_fetch_once(server: Mirror, net: Path, cache: Path) -> None:
    hold = threading.Event()
    server.places["/first"].hold = hold
    first = start("predict", DIGIT, "-m", "net", "--json")
    until(lambda: len(server.asked("/first")) == 1)
    second = start("predict", DIGIT, "-m", "net", "--json")
    assert second.stderr is not None
    said = second.stderr.readline().decode()
    assert said == "note: another process is fetching 'net': waiting for it\n"
    hold.set()
    outputs = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert outputs[0] == outputs[1]
    assert [path for path, _ in server.requests] == ["/deploy.prototxt", "/first"]
    assert fetched(cache) == FILES


def test_wrong_bytes_are_never_used(server: Mirror, net: Path, cache: Path) -> None:
    flipped = WEIGHTS[:1000] + bytes([WEIGHTS[1000] ^ 1]) + WEIGHTS[1001:]
    server.serve("/first", flipped)
    done = pipe("predict", DIGIT, "-m", "net", "--json")
    assert done.code == ExitCode.OK
    assert "is not the published file: expected sha256" in done.err
    assert fetched(cache) == FILES
    pipe("models", "remove", "net")
    server.serve("/second", flipped)
    done = pipe("predict", DIGIT, "-m", "net", "--json")
    assert (done.code, done.out) == (ExitCode.MODEL, b"")
    # What was right of it is kept, nothing of the weights.
    assert fetched(cache) == ["models", "models/net", "models/net/deploy.prototxt"]


@pytest.mark.parametrize("way", ["--no-fetch", "LRPTOOL_OFFLINE"])
def test_offline_it_is_said_what_to_do(
    server: Mirror, net: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    options = ["--no-fetch"] if way == "--no-fetch" else []
    monkeypatch.setenv("LRPTOOL_OFFLINE", "" if options else "1")
    done = pipe("explain", DIGIT, "-m", "nickname", "-o", "-", *options)
    assert (done.code, done.out) == (ExitCode.MODEL, b"")
    error, hint = done.err.splitlines()
    size = readable_size(len(PROTOTXT) + len(WEIGHTS))
    assert error.startswith(f"lrptool: error: model 'net' is not here: {size}, deploy.prototxt (")
    assert f"net.caffemodel ({LARGE}: {server.url}/first or {server.url}/second)" in error
    assert error.endswith("type: lrptool models import net deploy.prototxt net.caffemodel")
    assert way in hint
    assert server.requests == []
    assert fetched(cache) == []
    # A model that is here needs no network.
    assert pipe("predict", DIGIT, "-m", "lenet", *options).code == ExitCode.OK


def test_what_offline_says_to_type_works(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRPTOOL_OFFLINE", "1")
    (tmp_path / "deploy.prototxt").write_bytes(PROTOTXT)
    (tmp_path / "net.caffemodel").write_bytes(WEIGHTS)
    error = pipe("predict", DIGIT, "-m", "net").err.splitlines()[0]
    typed = error.split("type: lrptool ")[1].split()
    assert pipe(*typed, cwd=tmp_path).code == ExitCode.OK
    assert pipe("predict", DIGIT, "-m", "net").code == ExitCode.OK


def test_without_a_network_it_is_said_what_to_do(net: Path, server: Mirror, cache: Path) -> None:
    server.places.clear()
    done = pipe("predict", DIGIT, "-m", "net", "--quiet")
    error = done.err.splitlines()[0]
    assert done.code == ExitCode.MODEL
    assert f"model 'net' is not here and cannot be fetched ({server.url}/deploy.prototxt answers 404" in error
    assert error.endswith("type: lrptool models import net deploy.prototxt net.caffemodel")
    assert fetched(cache) == ["models"]


def test_random_weights_need_only_the_architecture(net: Path, server: Mirror) -> None:
    done = pipe("predict", DIGIT, "-m", "net", "-w", "random", "-q")
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert [path for path, _ in server.requests] == ["/deploy.prototxt"]


def test_progress_where_there_is_no_terminal(server: Mirror, net: Path, tmp_path: Path) -> None:
    large = WEIGHTS + bytes(3 << 20)
    write_card(
        tmp_path / "cards" / "large",
        files={"weights": {"name": "large.onnx", **facts(large, server.serve("/large", large))}},
    )
    done = pipe("models", "fetch", "large", "net")
    assert done.code == ExitCode.OK
    assert done.text == "large: here\nnet: here\n"
    tenths = [line for line in done.err.splitlines() if line.startswith("note: large.onnx: ")]
    assert [line.split(" %")[0].split()[-1] for line in tenths] == [str(k) for k in range(10, 101, 10)]
    assert tenths[-1] == "note: large.onnx: 100 %, 3.9 MB of 3.9 MB"
    # Small files come without lines of their own.
    assert done.err.count("net.caffemodel") == 1
    pipe("models", "remove", "large")
    quiet = pipe("models", "fetch", "large", "-q")
    assert (quiet.text, quiet.err) == ("large: here\n", "")


def test_a_bar_on_a_terminal(server: Mirror, net: Path, cache: Path) -> None:
    server.places["/first"].pause = 0.0005
    terminal, stderr = pty.openpty()
    process = start("models", "fetch", "net", stderr=stderr)
    os.close(stderr)
    shown = b""
    try:
        while block := os.read(terminal, 4096):
            shown += block
    except OSError:  # the other end was closed
        pass
    os.close(terminal)
    process.communicate()
    assert process.returncode == ExitCode.OK
    frames = shown.decode().split("\r")
    assert any("deploy.prototxt" in frame and "100%" in frame for frame in frames)
    bars = [frame for frame in frames if "net.caffemodel  [" in frame]
    assert any("100%" in frame and LARGE in frame for frame in bars)
    assert len(bars) > 3


def test_an_interrupted_download_is_resumed_too(server: Mirror, net: Path, cache: Path) -> None:
    hold = threading.Event()
    server.places["/first"].hold = hold
    process = start("models", "fetch", "net")
    part = cache / "models/net/.net.caffemodel.part"
    until(lambda: part.is_file() and part.stat().st_size > 0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    hold.set()
    assert process.returncode == ExitCode.INTERRUPTED
    assert b"Traceback" not in err
    assert not (cache / "models/.net.lock").exists()
    assert pipe("models", "fetch", "net", "-q").code == ExitCode.OK
    assert "Range" in server.asked("/first")[-1]


def test_the_library_fetches_too(net: Path, server: Mirror) -> None:
    from lrptool import load  # noqa: PLC0415
    from lrptool.errors import ModelError  # noqa: PLC0415

    with pytest.raises(ModelError, match=r"model 'net' is not here: "):
        load("net", allow_fetch=False)
    assert load("net").name == "net"


def test_what_is_here_needs_no_network_library(tmp_path: Path) -> None:
    code = (
        "import sys; from lrptool.cli.main import _run; "
        f"_run(['explain', {str(DIGIT)!r}, '-m', 'lenet', '-o', '/dev/null', '-q']); "
        "print(sorted({'requests', 'urllib3', 'filelock'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_squeezenet_from_a_server(
    server: Mirror, shared: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared / "models" / "squeezenet_v1.0"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    files = {}
    for role, name in (("architecture", "deploy.prototxt"), ("weights", "squeezenet_v1.0.caffemodel")):
        contents = (folder / name).read_bytes()
        files[role] = {"name": name, **facts(contents, server.serve(f"/{name}", contents))}
    write_card(
        tmp_path / "cards" / "squeezenet_v1.0",
        files=files,
        preprocess={"size": [227, 227], "resize": 256, "mean": [104, 117, 123]},
        labels="imagenet.txt",
    )
    photo = shared / "images" / "imagenet" / "n02099712_Labrador_retriever.JPEG"
    first = pipe("explain", photo, "-m", "squeezenet_v1.0", "-o", tmp_path / "first.png")
    assert first.code == ExitCode.OK, first.err
    assert "fetching 5.0 MB" in first.err
    assert "note: squeezenet_v1.0.caffemodel: 100 %, 5.0 MB of 5.0 MB" in first.err
    asked = len(server.requests)
    second = pipe("explain", photo, "-m", "squeezenet_v1.0", "-o", tmp_path / "second.png", "-q")
    assert (second.code, second.err, len(server.requests)) == (ExitCode.OK, "", asked)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
