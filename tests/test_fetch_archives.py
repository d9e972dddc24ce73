"""Archives: members by name, nowhere else, and no more than fits."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrptool.errors import ModelError
from lrptool.zoo import archive as packing
from lrptool.zoo import fetch, read_card
from lrptool.zoo.archive import unpack
from lrptool.zoo.store import user_models
from tests.command import listing
from tests.mirror import Mirror, facts, mirror, write_card

NET, TEXT = bytes(range(256)) * 100, b"layer {}"
MEMBERS = {"folder/net.caffemodel": NET, "folder/deploy.prototxt": TEXT, "folder/readme": b"x" * 5000}


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRPTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("LRPTOOL_OFFLINE", raising=False)


@pytest.fixture
def server() -> Iterator[Mirror]:
    with mirror() as running:
        yield running


def tarred(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as packed:  # type: ignore[call-overload]
        for name, contents in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            packed.addfile(info, io.BytesIO(contents))
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, contents in members.items():
            packed.writestr(name, contents)
    return out.getvalue()


KINDS = {"net.tar.gz": tarred, "net.tgz": tarred, "net.tar": lambda m: tarred(m, "w"), "net.zip": zipped}


def a_card(tmp_path: Path, name: str, contents: bytes, url: str, member: str = "folder/net.caffemodel") -> Path:
    """A card whose files are in an archive."""
    return write_card(
        tmp_path / "net",
        archives=[{"name": name, **facts(contents, url)}],
        files={
            "architecture": {"name": "deploy.prototxt", "archive": name, "member": "folder/deploy.prototxt"},
            "weights": {"name": "net.caffemodel", "archive": name, "member": member, "size": len(NET)},
        },
    )


@pytest.mark.parametrize("name", KINDS)
def test_members_become_files(server: Mirror, tmp_path: Path, name: str) -> None:
    contents = KINDS[name](MEMBERS)
    card = read_card(a_card(tmp_path, name, contents, server.serve(f"/{name}", contents)))
    fetch(card, card.files)
    assert listing(user_models()) == ["net", "net/deploy.prototxt", "net/net.caffemodel"]
    assert (user_models() / "net/net.caffemodel").read_bytes() == NET
    assert (user_models() / "net/deploy.prototxt").read_bytes() == TEXT
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["net.tar.gz", "net.zip"])
def test_a_member_is_found_by_the_end_of_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(KINDS[name]({"a/b/net.caffemodel": NET, "a/not_net.caffemodel": b"no"}))
    unpack(tmp_path / name, {"net.caffemodel": tmp_path / "out"})
    assert (tmp_path / "out").read_bytes() == NET


@pytest.mark.parametrize("name", ["net.tar.gz", "net.zip"])
def test_nothing_else_is_written(tmp_path: Path, name: str) -> None:
    evil = {"../../evil": b"x", "/lrptool_evil": b"x", "folder/../../evil": b"x"}
    (tmp_path / name).write_bytes(KINDS[name](evil | MEMBERS))
    inside = tmp_path / "a" / "b" / "c"
    inside.mkdir(parents=True)
    unpack(tmp_path / name, {"folder/net.caffemodel": inside / "net"})
    assert listing(tmp_path) == sorted(["a", "a/b", "a/b/c", "a/b/c/net", name])
    assert not Path("/lrptool_evil").exists()


@pytest.mark.parametrize("name", ["net.tar.gz", "net.zip"])
def test_a_member_that_is_not_there(server: Mirror, tmp_path: Path, name: str) -> None:
    contents = KINDS[name](MEMBERS)
    card = read_card(a_card(tmp_path, name, contents, server.serve("/net", contents), "folder/other.caffemodel"))
    with pytest.raises(ModelError, match=rf"{name}: has no file folder/other\.caffemodel"):
        fetch(card, card.files)
    assert not list(user_models().iterdir())


def test_a_member_with_other_contents(server: Mirror, tmp_path: Path) -> None:
    contents = tarred(MEMBERS)
    card = read_card(a_card(tmp_path, "net.tar.gz", contents, server.serve("/net", contents), "folder/readme"))
    with pytest.raises(ModelError, match=r"net\.tar\.gz: folder/readme: expected 25600 bytes, found 5000"):
        fetch(card, card.files)
    assert not list(user_models().iterdir())


def test_a_member_that_is_a_link(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "net.tar.gz", "w:gz") as packed:
        info = tarfile.TarInfo("net")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(info)
    with pytest.raises(ModelError, match="net is no file"):
        unpack(tmp_path / "net.tar.gz", {"net": tmp_path / "out"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["net.tar.gz", "net.zip"])
def test_a_bomb(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_ROOM", 1 << 16)
    (tmp_path / name).write_bytes(KINDS[name]({"zeros": bytes(1 << 24), "net": NET}))
    with pytest.raises(ModelError, match="grows beyond what a model of its size can hold"):
        unpack(tmp_path / name, {"zeros": tmp_path / "out"})
    if name.endswith("gz"):  # it has to be read to get behind it
        with pytest.raises(ModelError, match="grows beyond"):
            unpack(tmp_path / name, {"net": tmp_path / "out"})


@pytest.mark.parametrize("contents", [b"", b"no archive", tarred(MEMBERS)[:-400], b"\x1f\x8b" + bytes(100)])
def test_no_archives(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "net.tar.gz").write_bytes(contents)
    with pytest.raises(ModelError, match=r"net\.tar\.gz: "):
        unpack(tmp_path / "net.tar.gz", {"folder/readme": tmp_path / "out"})


def test_a_damaged_zip(tmp_path: Path) -> None:
    contents = bytearray(zipped(MEMBERS))
    contents[60:90] = bytes(30)
    (tmp_path / "net.zip").write_bytes(contents)
    with pytest.raises(ModelError, match=r"net\.zip: cannot be unpacked: "):
        unpack(tmp_path / "net.zip", {"folder/net.caffemodel": tmp_path / "out"})
