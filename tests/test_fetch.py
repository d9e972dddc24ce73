"""Fetching one file after the other: mirrors, retries, resuming, checks; against a server on this machine."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lrptool.errors import LrpError, ModelError, OutputError
from lrptool.zoo import Card, File, Preprocess, Watch, fetch
from lrptool.zoo import download as downloading
from lrptool.zoo.part import Part
from lrptool.zoo.store import user_models
from tests.command import listing
from tests.mirror import Mirror, facts, mirror

CONTENTS = bytes(range(256)) * 400
WRONG = CONTENTS[:50_000] + b"\xff" + CONTENTS[50_001:]


class Heard(Watch):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, list[str]]] = []
        self.opened: list[tuple[str, int, int | None]] = []
        self.last = 0
        self.said: list[str] = []

    def begins(self, card: Card, files: Sequence[File], folder: Path) -> None:
        self.begun.append((card.name, [file.name for file in files]))

    def opens(self, name: str, done: int, total: int | None) -> None:
        self.opened.append((name, done, total))

    def moves(self, done: int) -> None:
        self.last = done

    def remarks(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def quick_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, no waiting, and no proxy that the machine may have."""
    monkeypatch.setenv("LRPTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("LRPTOOL_OFFLINE", raising=False)
    monkeypatch.setattr(downloading, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(downloading, "TIMEOUTS", (5.0, 5.0))


@pytest.fixture
def server() -> Iterator[Mirror]:
    with mirror() as running:
        yield running


def a_file(*urls: str, name: str = "net.caffemodel", contents: bytes = CONTENTS, **more: Any) -> File:
    """A file as published."""
    about = facts(contents)
    return File(name, size=about["size"], digests={"sha256": about["sha256"]}, urls=urls, **more)


def a_card(*files: File) -> Card:
    """The card of some files."""
    return Card("net", Path("card.yaml"), files[0].name, files[-1].name, files, Preprocess((5, 7)))


def got(*files: File, watch: Watch | None = None) -> bytes:
    """Fetch files; return the first one's bytes. Nothing but the files may be left."""
    fetch(a_card(*files), files, watch=watch)
    assert listing(user_models()) == sorted(["net", *(f"net/{file.name}" for file in files)])
    return (user_models() / "net" / files[0].name).read_bytes()


def refused(*files: File, left: Sequence[str] = (), kind: type[LrpError] = ModelError) -> str:
    """Fail to fetch files; return the message. Nothing may be left but what is said to be."""
    with pytest.raises(kind) as caught:
        fetch(a_card(*files), files)
    assert listing(user_models()) == sorted([*(["net"] if left else []), *(f"net/{name}" for name in left)])
    assert "\n" not in caught.value.message
    return caught.value.message


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_files_arrive_whole_and_are_told_of(server: Mirror) -> None:
    watch = Heard()
    proto = a_file(server.serve("/deploy", b"layer {}"), name="deploy.prototxt", contents=b"layer {}")
    assert got(a_file(server.serve("/net", CONTENTS)), proto, watch=watch) == CONTENTS
    assert watch.begun == [("net", ["net.caffemodel", "deploy.prototxt"])]
    assert watch.opened == [("net.caffemodel", 0, len(CONTENTS)), ("deploy.prototxt", 0, 8)]
    assert (watch.last, watch.said) == (8, [])
    headers = server.asked("/net")[0]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("lrptool/")
    assert "Range" not in headers


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384"])
def test_every_published_checksum_is_checked(server: Mirror, algorithm: str) -> None:
    about = facts(CONTENTS, algorithm=algorithm)
    digests = {algorithm: about[algorithm]}
    assert got(File("net", digests=digests, urls=(server.serve("/right", CONTENTS),))) == CONTENTS
    (user_models() / "net" / "net").unlink()
    wrong = File("net", digests=digests, urls=(server.serve("/wrong", WRONG),))
    message = refused(wrong)
    assert f"is not the published file: expected {algorithm} {about[algorithm][:16]}…, found " in message


def test_a_flipped_byte_is_refused_and_the_next_mirror_asked(server: Mirror) -> None:
    watch = Heard()
    wrong, right = server.serve("/wrong", WRONG), server.serve("/right", CONTENTS)
    assert got(a_file(wrong, right), watch=watch) == CONTENTS
    assert len(server.asked("/wrong")) == 1
    assert watch.said[0].startswith(f"{wrong}: is not the published file: expected sha256 ")
    assert watch.said[0].endswith(f"; trying {right}")


def test_nothing_is_left_of_wrong_bytes(server: Mirror) -> None:
    message = refused(a_file(server.serve("/wrong", WRONG), server.serve("/too", WRONG)))
    assert message.count("is not the published file") == 2
    assert "once you have it, type: lrptool models import net net.caffemodel" in message


def test_mirrors_are_asked_in_order(server: Mirror) -> None:
    urls = (f"{server.url}/missing", f"http://127.0.0.1:{free_port()}/x", server.serve("/right", CONTENTS))
    watch = Heard()
    assert got(a_file(*urls), watch=watch) == CONTENTS
    assert watch.said == [
        f"{urls[0]}: answers 404 Not Found; trying {urls[1]}",
        f"{urls[1]}: its host cannot be reached; trying {urls[2]}",
    ]
    assert len(server.asked("/missing")) == 1


def test_hosts_that_nobody_knows(server: Mirror) -> None:
    # Names that end in .invalid are never given to anybody.
    assert "its host is not known, or there is no network" in refused(a_file("http://nobody.invalid/net"))


def test_redirects_are_followed(server: Mirror) -> None:
    target = server.serve("/right", CONTENTS)
    assert got(a_file(server.serve("/moved", b"", redirect=target))) == CONTENTS
    loop = server.serve("/loop", b"", redirect=f"{server.url}/loop")
    (user_models() / "net" / "net.caffemodel").unlink()
    assert "redirects" in refused(a_file(loop))


def test_a_server_that_says_later_is_asked_again(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr(downloading, "FIRST_WAIT", 0.5)
    watch = Heard()
    url = server.serve("/busy", CONTENTS, statuses=[503, 429, 500])
    assert got(a_file(url), watch=watch) == CONTENTS
    assert waits == [0.5, 1.0, 2.0]
    assert watch.said[0] == f"{url}: answers 503 Service Unavailable; trying again in 0.5 s"
    waits.clear()
    (user_models() / "net" / "net.caffemodel").unlink()
    got(a_file(server.serve("/says", CONTENTS, statuses=[503, 503], retry_after="7")))
    assert waits == [7, 7]
    waits.clear()
    (user_models() / "net" / "net.caffemodel").unlink()
    got(a_file(server.serve("/much", CONTENTS, statuses=[503], retry_after="86400")))
    assert waits == [downloading.LONGEST_WAIT]


def test_a_server_that_never_comes_back_is_given_up(server: Mirror) -> None:
    url = server.serve("/down", CONTENTS, statuses=[503] * 100)
    assert f"{url} answers 503 Service Unavailable, {downloading.ATTEMPTS} times" in refused(a_file(url))
    assert len(server.asked("/down")) == downloading.ATTEMPTS


def test_a_connection_that_breaks_off_is_continued(server: Mirror) -> None:
    watch = Heard()
    url = server.serve("/net", CONTENTS, cut_after=[30_000, 20_000])
    assert got(a_file(url), watch=watch) == CONTENTS
    asked = [headers.get("Range") for headers in server.asked("/net")]
    assert asked == [None, "bytes=30000-", "bytes=50000-"]
    assert [done for _, done, _ in watch.opened] == [0, 30_000, 50_000]


def test_breaking_off_without_end_is_given_up_but_what_came_is_kept(server: Mirror) -> None:
    url = server.serve("/net", CONTENTS, cut_after=[30_000, 0, 0, 0, 0])
    message = refused(a_file(url), left=[".net.caffemodel.part", ".net.caffemodel.part.json"])
    assert f"broke off, {downloading.ATTEMPTS} times" in message
    server.places["/net"].cut_after.clear()
    assert got(a_file(url)) == CONTENTS
    assert server.asked("/net")[-1]["Range"] == "bytes=30000-"


def begun(file: File, contents: bytes, **note: str) -> Part:
    """A download that was interrupted."""
    folder = user_models() / "net"
    folder.mkdir(parents=True)
    part = Part.of(folder / file.name)
    part.begin(note)
    part.path.write_bytes(contents)
    return part


def test_a_server_without_parts_gives_the_right_file(server: Mirror) -> None:
    file = a_file(server.serve("/net", CONTENTS, ranges=False))
    begun(file, CONTENTS[:40_000])
    assert got(file) == CONTENTS
    assert server.asked("/net")[0]["Range"] == "bytes=40000-"


def test_another_mirror_continues_what_one_began(server: Mirror) -> None:
    urls = (server.serve("/first", CONTENTS, cut_after=[30_000, 0, 0, 0, 0]), server.serve("/second", CONTENTS))
    assert got(a_file(*urls)) == CONTENTS
    assert server.asked("/second")[0]["Range"] == "bytes=30000-"


def test_what_was_there_may_be_wrong(server: Mirror) -> None:
    file = a_file(server.serve("/net", CONTENTS))
    begun(file, WRONG[:60_000])
    watch = Heard()
    assert got(file, watch=watch) == CONTENTS
    assert "fetching all of it again" in watch.said[0]
    assert [headers.get("Range") for headers in server.asked("/net")] == ["bytes=60000-", None]


def test_a_whole_part_is_not_fetched_again(server: Mirror) -> None:
    file = a_file(server.serve("/net", CONTENTS))
    begun(file, CONTENTS)
    assert got(file) == CONTENTS
    assert server.requests == []
    (user_models() / "net" / file.name).unlink()
    (user_models() / "net").rmdir()
    begun(file, CONTENTS + b"more")
    assert got(file) == CONTENTS
    assert "Range" not in server.requests[0][1]


def test_a_new_version_is_not_glued_to_an_old_one(server: Mirror) -> None:
    url = server.serve("/net", CONTENTS, etag='"two"')
    file = a_file(url)
    begun(file, WRONG[:60_000], url=url, version='"one"')
    assert got(file) == CONTENTS
    # The server saw that it is another version and sent all of it at once.
    assert [headers.get("If-Range") for headers in server.asked("/net")] == ['"one"']


def test_parts_that_are_not_what_was_asked_for(server: Mirror) -> None:
    headers = {"Content-Range": f"bytes 0-{len(CONTENTS) - 1}/{len(CONTENTS)}"}
    file = a_file(server.serve("/net", CONTENTS, headers=headers))
    begun(file, CONTENTS[:40_000])
    assert got(file) == CONTENTS


def test_a_part_beyond_the_end(server: Mirror) -> None:
    digests = {"sha256": facts(CONTENTS)["sha256"]}
    file = File("net", digests=digests, urls=(server.serve("/net", CONTENTS),))
    begun(file, CONTENTS + b"more")
    assert got(file) == CONTENTS  # 416, then all of it


def test_another_size_is_seen_before_anything_is_fetched(server: Mirror) -> None:
    url = server.serve("/net", CONTENTS + b"more")
    assert f"{url} expected {len(CONTENTS)} bytes, found {len(CONTENTS) + 4}" in refused(a_file(url))


def test_a_packed_answer_is_unpacked(server: Mirror) -> None:
    packed = gzip.compress(CONTENTS)
    url = server.serve("/net", packed, headers={"Content-Encoding": "gzip"})
    assert got(a_file(url)) == CONTENTS
    (user_models() / "net" / "net.caffemodel").unlink()
    # Some servers call the packing of an archive an encoding.
    url = server.serve("/tar", packed, headers={"Content-Encoding": "gzip"})
    assert got(a_file(url, name="net.tar.gz", contents=packed)) == packed


def test_without_a_checksum_only_https_is_believed(server: Mirror) -> None:
    file = File("net", urls=(server.serve("/net", CONTENTS),))
    assert "leads to an address without https, and there is no checksum" in refused(file)


def test_without_a_checksum_only_the_same_version_is_continued(server: Mirror) -> None:
    url = f"{server.url}/net"
    bare = File("net", urls=(url,))
    part = begun(bare, CONTENTS[:100])
    assert downloading._resumable(url, bare, part) == 0
    part.begin({"url": url, "version": '"one"'})
    part.path.write_bytes(CONTENTS[:100])
    assert downloading._resumable(url, bare, part) == 100
    assert downloading._resumable(f"{url}/other", bare, part) == 0
    assert downloading._resumable(f"{url}/other", a_file(url), part) == 100


def test_a_connection_that_brings_almost_nothing(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "SLOWEST", (1 << 30, -1.0))
    url = server.serve("/net", CONTENTS)
    file = File("net", digests={"sha256": facts(CONTENTS)["sha256"]}, urls=(url,))
    monkeypatch.setattr(downloading, "MOST_ATTEMPTS", 2)
    message = refused(file, left=[".net.part", ".net.part.json"])
    assert f"{url} broke off 2 times" in message


def test_a_server_that_falls_silent(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "TIMEOUTS", (5.0, 0.2))
    watch = Heard()
    urls = (server.serve("/net", CONTENTS, hold=threading.Event()), server.serve("/next", CONTENTS))
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    assert got(a_file(*urls), watch=watch) == CONTENTS
    assert "does not answer, 1 times" in watch.said[0]
    assert server.asked("/next")[0]["Range"] == "bytes=4096-"


def test_a_proxy_is_used_where_the_machine_has_one(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://models.invalid/net"
    server.places[url] = server.places[server.serve("/x", CONTENTS).removeprefix(server.url)]
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    assert got(a_file(url)) == CONTENTS
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    (user_models() / "net" / "net.caffemodel").unlink()
    assert "the proxy does not answer" in refused(a_file(url))


def test_a_certificate_that_is_not_trusted(server: Mirror) -> None:
    # The server speaks no TLS at all: no certificate, no trust.
    url = server.serve("/net", CONTENTS).replace("http:", "https:")
    assert "its certificate is not trusted" in refused(a_file(url))


def test_a_full_disk(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    file = a_file(server.serve("/net", CONTENTS))
    message = refused(file, kind=OutputError)
    assert "net.caffemodel needs 102.4 kB, 1.0 kB are free" in message


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Mirror) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LRPTOOL_CACHE", str(tmp_path / "file"))
    file = a_file(server.serve("/net", CONTENTS))
    with pytest.raises(OutputError, match=r"cannot be written: ") as caught:
        fetch(a_card(file), (file,))
    assert caught.value.hint == "LRPTOOL_CACHE names another folder"
    assert server.requests == []


def test_what_came_meanwhile_is_not_fetched(server: Mirror) -> None:
    file = a_file(server.serve("/net", CONTENTS))
    got(file)
    watch = Heard()
    got(file, watch=watch)
    assert len(server.requests) == 1
    assert watch.begun == []


@pytest.mark.parametrize(("variable", "allowed"), [("1", True), ("yes", True), ("", False), ("0", False)])
def test_nothing_is_fetched_where_that_is_forbidden(
    server: Mirror, monkeypatch: pytest.MonkeyPatch, variable: str, allowed: bool
) -> None:
    monkeypatch.setenv("LRPTOOL_OFFLINE", variable)
    url = server.serve("/net", CONTENTS)
    file = a_file(url)
    with pytest.raises(ModelError) as caught:
        fetch(a_card(file), (file,), allowed=allowed)
    assert caught.value.message == (
        f"model 'net' is not here: 102.4 kB, net.caffemodel (102.4 kB: {url}); once you have it, type: "
        "lrptool models import net net.caffemodel"
    )
    assert ("LRPTOOL_OFFLINE" if allowed else "--no-fetch") in (caught.value.hint or "")
    assert server.requests == []
    assert not user_models().exists()


def test_what_only_a_person_can_fetch(server: Mirror) -> None:
    file = File("net", size=3, by_hand=("http://host/net",))
    message = refused_at_once(file)
    assert message.startswith("model 'net' is not here and has to be fetched by hand: 3 bytes, net (3 bytes: http://h")
    assert "no known address" in refused_at_once(File("net"))


def refused_at_once(file: File) -> str:
    """Fail before anything is touched; return the message."""
    with pytest.raises(ModelError) as caught:
        fetch(a_card(file), (file,))
    assert not user_models().exists()
    return caught.value.message
