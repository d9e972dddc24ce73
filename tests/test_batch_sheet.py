"""The contact sheet."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from PIL import Image

from lrptool.batch.sheet import write_sheet
from tests.batches import batch, manifest
from tests.command import DIGIT

ODD = """<script>alert("x")</script> & 'q' #1?.png"""


class Page(HTMLParser):
    """What is in a page: links, pictures, text, scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self._within = tag
        if tag == "a":
            self.links.append(str(found["href"]))
        if tag == "img":
            self.pictures.append(found)
        for key in ("src", "href"):
            assert not str(found.get(key, "")).startswith(("http", "//", "/")), "a resource from elsewhere"

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts.append(data)
        elif data.strip():
            self.text.append(data.strip())

    @property
    def entries(self) -> list[list[Any]]:
        """What the script on the page works with."""
        found: list[list[Any]] = json.loads(self.scripts[0])
        return found


def test_it_opens_from_disk_and_escapes_what_it_shows(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "a b").mkdir(parents=True)
    (photos / "a b" / ODD.replace("/", "∕")).write_bytes(DIGIT.read_bytes())
    (photos / "@@data@@.png").write_bytes(DIGIT.read_bytes())
    Path(str(photos / "bytes\udcff.png")).write_bytes(DIGIT.read_bytes())
    (photos / "bad.png").write_bytes(b"<b>bad")
    assert batch(photos, "-o", out, "--save", "png,html").code == 8
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.pictures) == 6
    for picture in page.pictures:
        assert picture["loading"] == "lazy"
        path = Path(str(out) + "/" + unquote_to_bytes(str(picture["src"])).decode("utf-8", "surrogateescape"))
        with Image.open(path) as image:
            image.load()
    assert page.tags.count("script") == 2
    assert page.tags.count("tr") == 1 + 4
    assert any("<script>alert" in text for text in page.text)
    assert "http" not in text.replace("http-equiv", "")
    assert [entry[3] for entry in page.entries] == ["3", "3", "", "3"]
    assert page.entries[2][6] == manifest(out)[2]["error"]
    assert {"name", "label", "score", "probability"} <= set(page.text)


def test_a_hundred_thousand_entries_stay_usable(tmp_path: Path) -> None:
    def record(number: int) -> dict[str, Any]:
        base = f"folder/{number:06d}_281"
        files = [{"path": f"{base}.png", "kind": "heatmap"}, {"path": f"thumbnails/{base}.jpg", "kind": "thumbnail"}]
        facts = {"label": "tabby", "score": 12.5, "probability": 0.5}
        return {"number": number, "input": f"photos/{base}.jpg", "status": "done", "files": files} | facts

    write_sheet(tmp_path / "index.html", map(record, range(100_000)), "net", tmp_path)
    assert (tmp_path / "index.html").stat().st_size < 25_000_000
    page = Page((tmp_path / "index.html").read_text())
    # A page of them is drawn; the others wait as data.
    assert len(page.entries) == 100_000
    assert len(page.pictures) == 200
