"""A web server on this machine that can be slow, cut connections, send wrong bytes, redirect and refuse."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

_BLOCK = 4096


@dataclass
class Place:
    """What is at an address, and how it is served.

    Parameters
    ----------
    contents : bytes
    ranges : bool
        Whether parts can be asked for.
    etag : str, optional
    cut_after : list of int
        Answers break off after so many bytes, one entry per answer.
    statuses : list of int
        Answers are these first, one per request.
    retry_after : str, optional
        With such a status.
    redirect : str, optional
    pause : float
        Seconds between blocks.
    hold : threading.Event, optional
        Nothing comes after the first block until it is set.
    headers : dict
        More headers.
    """

    contents: bytes
    ranges: bool = True
    etag: str | None = None
    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    retry_after: str | None = None
    redirect: str | None = None
    pause: float = 0.0
    hold: threading.Event | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Mirror:
    """A running server: its places by path, and every request it got as (path, headers)."""

    url: str
    places: dict[str, Place] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def serve(self, path: str, contents: bytes, **how: Any) -> str:
        """Put something at an address; return the address."""
        self.places[path] = Place(contents, **how)
        return self.url + path

    def asked(self, path: str) -> list[dict[str, str]]:
        """Return the headers of every request for a path."""
        return [headers for asked, headers in self.requests if asked == path]


def _handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers for a mirror."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            mirror.requests.append((self.path, dict(self.headers)))
            place = mirror.places.get(self.path)
            if place is None:
                self._refuse(404)
            elif place.statuses:
                self._refuse(place.statuses.pop(0), place.retry_after)
            elif place.redirect:
                self.send_response(302)
                self.send_header("Location", place.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._send(place)

        def _refuse(self, status: int, retry_after: str | None = None) -> None:
            self.send_response(status)
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, place: Place) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            condition = self.headers.get("If-Range")
            part = bool(asked) and place.ranges and condition in (None, place.etag)
            start = int(asked[1]) if asked and part else 0
            body = place.contents[start:]
            if part and start >= len(place.contents):
                self._refuse(416)
                return
            self.send_response(206 if part else 200)
            if part:
                self.send_header("Content-Range", f"bytes {start}-{len(place.contents) - 1}/{len(place.contents)}")
            if place.etag:
                self.send_header("ETag", place.etag)
            for name, value in {"Content-Length": str(len(body)), **place.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self._write(place, body)

        def _write(self, place: Place, body: bytes) -> None:
            cut = place.cut_after.pop(0) if place.cut_after else None
            try:
                for begin in range(0, len(body), _BLOCK):
                    if cut is not None and begin + _BLOCK > cut:
                        self.wfile.write(body[begin:cut])
                        self.close_connection = True
                        self.connection.close()
                        return
                    self.wfile.write(body[begin : begin + _BLOCK])
                    if place.pause:
                        threading.Event().wait(place.pause)
                    if place.hold is not None:
                        place.hold.wait(60)
            except OSError:  # whoever asked has gone
                self.close_connection = True

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """Say nothing: a connection cut on purpose is no news."""


@contextmanager
def mirror() -> Iterator[Mirror]:
    """Run a server for a while."""
    running = Mirror("")
    server = _Server(("127.0.0.1", 0), _handler(running))
    running.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield running
    finally:
        for place in running.places.values():
            if place.hold is not None:
                place.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def facts(contents: bytes, *urls: str, algorithm: str = "sha256") -> dict[str, Any]:
    """Return what a card says about a file."""
    return {"size": len(contents), algorithm: hashlib.new(algorithm, contents).hexdigest(), "urls": list(urls)}


def write_card(folder: Path, **changes: Any) -> Path:
    """Write a card into a folder of its name; changes go over what every card needs."""
    data: dict[str, Any] = {"name": folder.name, "preprocess": {"size": [28, 28], "channels": "GRAY"}, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something; give up with an error after a long while."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
