"""What a batch takes: folders, lists, archives, URLs, and files that are not what they seem."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.batches import batch, facts, manifest, outputs, two
from tests.command import DIGIT, EIGHT, SAMPLES, lenet


def digit(mode: str = "RGB") -> Image.Image:
    """A picture of a digit."""
    return Image.open(DIGIT).resize((56, 56)).convert(mode)


@pytest.fixture
def oddities(tmp_path: Path) -> Path:
    """A folder of pictures of every kind, of files that are none, and of a link that leads round in a circle."""
    folder = tmp_path / "odd"
    (folder / "sub").mkdir(parents=True)
    digit().save(folder / "plain.jpg")
    whole = (folder / "plain.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[:-300])
    (folder / "text.jpg").write_text("this is no picture")
    digit("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.asarray(digit("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    frames = [digit("P"), Image.new("P", (56, 56))]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    digit("P").save(folder / "palette.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "itself.png").symlink_to(folder / "itself.png")
    digit().save(folder / "line\nbreak.png")
    digit().save(folder / "größe-猫.png")
    os.mkfifo(folder / "pipe.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/bytes-\xff\xfe.png")).write_bytes(DIGIT.read_bytes())
    (folder / "notes.txt").write_text("not asked for")
    return folder


GOOD = {
    *("plain.jpg", "cmyk.jpg", "deep.png", "animated.gif", "palette.png"),
    *("line\nbreak.png", "größe-猫.png", "bytes-\udcff\udcfe.png"),
}
BAD = {
    "truncated.jpg": "expected a complete JPEG picture, found damaged data",
    "text.jpg": "expected a picture",
    "empty.png": "found an empty file (0 bytes)",
    "sub/loop": "a link that leads back to a folder it lies in",
    "itself.png": "cannot be opened: Too many levels of symbolic links",
    "pipe.png": "expected a file, found something else",
}


def test_every_readable_one_is_explained_and_every_other_one_is_told(oddities: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = batch(oddities, "-o", out, "--save", "png,html,npz")
    assert done.code == 8
    found = {line["input"].removeprefix(f"{oddities}/"): line for line in manifest(out)}
    assert {name for name, line in found.items() if line["status"] == "done"} == GOOD
    assert {name for name, line in found.items() if line["status"] == "failed"} == set(BAD)
    for name, said in BAD.items():
        assert said in found[name]["error"], name
        assert found[name]["files"] == []
        assert said in done.err
    for name in GOOD:
        assert all((out / file["path"]).stat().st_size == file["size"] for file in found[name]["files"])
    assert {found[name]["target"] for name in GOOD} == {3}
    # Again: what failed is tried again, and what is done is left.
    again = batch(oddities, "-o", out, "--save", "png,html,npz")
    assert (again.code, again.err.splitlines()[0]) == (
        8,
        f"{len(GOOD)} of {len(GOOD) + len(BAD)} inputs are done already",
    )


def test_fail_fast_stops_early(oddities: Path, tmp_path: Path) -> None:
    done = batch(oddities, "-o", tmp_path / "out", "--fail-fast", "--batch-size", 1)
    assert done.code == 8
    assert "stopped at the first failure" in done.err
    assert sum(line["status"] == "failed" for line in manifest(tmp_path / "out")) == 1
    # Nothing but failures: the exit code is theirs.
    assert batch(oddities / "text.jpg", "-o", tmp_path / "none").code == 5


def test_patterns_and_globs(oddities: Path, tmp_path: Path) -> None:
    done = batch(oddities, "-o", tmp_path / "a", "--pattern", "p*.JPG", "--pattern", "pal*", "--json")
    names = {Path(line["input"]).name for line in done.records}
    assert names == {"plain.jpg", "palette.png", "loop", "itself.png"}
    done = batch(f"{oddities}/**/pl*.jpg", "-o", tmp_path / "b", "--json")
    assert {Path(line["input"]).name for line in done.records} == {"plain.jpg"}
    done = batch(f"{oddities}/nothing*.jpg", "-o", tmp_path / "c")
    assert done.code == 5
    assert "no such file" in done.err


def test_several_folders_keep_apart(tmp_path: Path) -> None:
    one, other, out = two(tmp_path / "x" / "photos"), two(tmp_path / "y" / "others"), tmp_path / "out"
    batch(one, other, DIGIT, "-o", out)
    found = set(outputs(out))
    assert {"photos/three_3.png", "photos/eight_8.png", "others/three_3.png", "others/eight_8.png"} < found
    assert len(found) == 5
    assert all(".." not in name and not name.startswith("/") for name in found)


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two(tmp_path / "photos"))
    lines = [
        "three.png",
        "",
        "three.png\t5",
        "eight.png\ttop\tagainst=3\tstart=one\r",
        json.dumps({"path": "eight.png", "target": 1, "id": "patient 7/visit"}),
        json.dumps({"path": "eight.png", "top": 2}),
        "missing.png",
        '{"no": "path"}',
        "three.png\tzebra",
        "three.png\t3\tnonsense",
        "three.png\t3\tfoo=1",
    ]
    Path("list.txt").write_text("\n".join(lines))
    done = batch("@list.txt", "-o", "out", "--json")
    assert done.code == 8
    found = done.records
    assert [line.get("target") for line in found] == [3, 5, 8, 1, 8, *[None] * 5]
    assert (found[2]["against"], found[2]["start"]) == (3, "one")
    assert (found[3]["id"], found[3]["output"]) == ("patient 7/visit", "patient 7/visit")
    assert len(found[4]["others"]) == 1
    errors = [line["error"] for line in found[5:]]
    for error, said in zip(
        errors,
        (
            "missing.png: no such file",
            'list.txt:8: expected a JSON object with "path"',
            "'zebra'",
            "KEY=VALUE",
            "'foo'",
        ),
        strict=True,
    ):
        assert said in error
    assert len({file["path"] for line in found for file in line["files"]}) == 6
    piped = batch("-", "-o", "piped", "--json", stdin="\n".join(lines).encode())
    assert facts(tmp_path / "photos" / "piped")[:5] == facts(tmp_path / "photos" / "out")[:5]
    assert piped.code == 8


def test_lists_separated_by_nul(oddities: Path, tmp_path: Path) -> None:
    names = [os.fsencode(oddities / name) for name in GOOD]
    done = batch("-", "--null", "-o", tmp_path / "out", "--json", stdin=b"\0".join(names) + b"\0")
    assert done.code == 0
    assert {line["input"].rpartition("/")[2] for line in done.records} == GOOD


def archive(path: Path, names: dict[str, bytes]) -> Path:
    """Make a tar archive, compressed as its ending says."""
    mode = "w:gz" if path.name.endswith("gz") else "w"
    with tarfile.open(path, mode) as tar:
        for name, contents in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    return path


CONTENTS = {f"shard/{k}.png": (SAMPLES / f"digit_{k}.png").read_bytes() for k in range(10)} | {
    "shard/words.txt": b"no picture",
    "../../outside.png": EIGHT.read_bytes(),
    "shard/broken.png": b"broken",
}


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_archives_are_read_without_unpacking(tmp_path: Path, ending: str) -> None:
    path, out = archive(tmp_path / f"pictures.{ending}", CONTENTS), tmp_path / "deep" / "er" / "out"
    done = batch(path, "-o", out, "--batch-size", 3)
    assert done.code == 8
    assert {f"shard/{k}_{k}.png" for k in range(10)} | {"outside_8.png"} == set(outputs(out))
    failed = [line for line in manifest(out) if line["status"] == "failed"]
    assert [line["input"] for line in failed] == [f"{path}/shard/broken.png"]
    # A part that is missing is fetched from the middle of the archive.
    (out / "shard/5_5.png").unlink()
    assert batch(path, "-o", out, "--batch-size", 3).err.startswith("10 of 12 inputs are done already")
    assert (out / "shard/5_5.png").exists()
    assert batch(path, path, "-o", tmp_path / "twice").text.endswith("22 done, 2 failed\n")
    # Two archives keep apart.
    other = archive(tmp_path / f"others.{ending}", {"a.png": DIGIT.read_bytes()})
    done = batch(path, other, "-o", tmp_path / "both", "--json")
    assert {line["output"].partition("/")[0] for line in done.records} == {"pictures", "others"}


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_an_archive_that_is_cut_short(tmp_path: Path, ending: str) -> None:
    path = archive(tmp_path / f"pictures.{ending}", CONTENTS)
    whole = path.read_bytes()
    if ending == "tar.gz":
        whole = gzip.compress(gzip.decompress(whole), 0)
    path.write_bytes(whole[: len(whole) // 2])
    done = batch(path, "-o", tmp_path / "out")
    assert done.code == 8
    lines = manifest(tmp_path / "out")
    assert sum(line["status"] == "done" for line in lines) >= 3
    assert any("cut short" in line["error"] or "to its end" in line["error"] for line in lines if line["error"])


def test_arrays_of_several_inputs(tmp_path: Path) -> None:
    values = np.concatenate([lenet().read(DIGIT), lenet().read(EIGHT)])
    np.save(tmp_path / "two.npy", values)
    np.save(tmp_path / "wrong.npy", values[:, :, :5])
    done = batch(tmp_path / "two.npy", tmp_path / "wrong.npy", "-o", tmp_path / "out", "--json", "--save", "png,html")
    assert done.code == 8
    assert [line.get("target") for line in done.records] == [3, 8, None, None]
    assert "expected shape" in done.records[2]["error"]


def test_urls(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    memory = fsspec.filesystem("memory")
    try:
        for name in ("a/three.png", "a/b/three.png", "a/notes.txt"):
            memory.pipe(f"/photos/{name}", DIGIT.read_bytes())
        memory.pipe("/photos/bad.png", b"bad")
        done = batch("memory://photos", "memory://photos/missing.png", "-o", tmp_path / "out", "--json")
        assert done.code == 8
        found = {line["input"]: line["status"] for line in done.records}
        assert found == {
            "memory:///photos/a/b/three.png": "done",
            "memory:///photos/a/three.png": "done",
            "memory:///photos/bad.png": "failed",
            "memory://photos/missing.png": "failed",
        }
        assert set(outputs(tmp_path / "out")) == {"photos/a/b/three_3.png", "photos/a/three_3.png"}
        path = archive(tmp_path / "x.tar", CONTENTS)
        done = batch(f"file://{path}", "-o", tmp_path / "tar")
        assert (done.code, len(outputs(tmp_path / "tar"))) == (8, 11)
    finally:
        memory.rm("/photos", recursive=True)


def test_urls_need_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    done = batch("s3://bucket/photos", "-o", tmp_path / "out")
    assert done.code == 6
    assert "pip install 'lrptool[remote]'" in done.err
