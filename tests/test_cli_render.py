"""`lrptool render`: stored relevance in other colours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.batches import batch, two
from tests.command import DIGIT, Result, run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in a folder with the relevance of a digit."""
    monkeypatch.chdir(tmp_path)
    assert run("explain", DIGIT, "-m", "lenet", "--save", "npy,npz").code == 0
    return tmp_path


def render(*args: object) -> Result:
    """Render; it has to go well."""
    done = run("render", *args)
    assert done.code == 0, done.err
    return done


@pytest.mark.parametrize("view", [(), ("--overlay",), ("--panel",)])
def test_it_is_what_explain_would_draw(folder: Path, view: tuple[str, ...]) -> None:
    look = ("--cmap", "hot", "--percentile", "95", *view)
    assert run("explain", DIGIT, "-m", "lenet", "-o", "wanted.png", *look).code == 0
    render("digit_3_3.npz", "-m", "lenet", "-o", "found.png", *look)
    assert (folder / "found.png").read_bytes() == (folder / "wanted.png").read_bytes()


def test_without_a_model_it_has_the_size_of_the_input(folder: Path) -> None:
    done = render("digit_3_3.npy", "--json")
    assert done.records[0]["files"] == ["digit_3_3.png"]
    with Image.open("digit_3_3.png") as image:
        assert image.size == (224, 224)
    out = render("digit_3_3.npz", "-o", "-", "--cmap", "france").out
    with Image.open(io.BytesIO(out)) as image:
        assert image.size == (224, 224)
    assert run("render", "digit_3_3.npy").code == 9
    render("digit_3_3.npy", "--force")


def test_the_rows_of_a_store(folder: Path) -> None:
    pytest.importorskip("h5py", reason="h5py is not installed")
    two(folder / "photos")
    batch("photos", "-o", "out", "--save", "png,h5", "--top", 2)
    render("out/attribution.h5", "-m", "lenet", "-o", "again")
    pictures = sorted(path.name for path in (folder / "out").glob("*.png"))
    assert len(pictures) == 4
    assert sorted(path.name for path in (folder / "again").iterdir()) == pictures
    for name in pictures:
        with Image.open(folder / "again" / name) as found, Image.open(folder / "out" / name) as wanted:
            assert np.array_equal(np.asarray(found.convert("RGB")), np.asarray(wanted.convert("RGB")))


def test_what_cannot_be_drawn(folder: Path) -> None:
    np.save("flat.npy", np.zeros((3, 4), np.float32))
    np.save("words.npy", np.array(["a"]))
    np.save("nan.npy", np.full((1, 4, 4), np.nan, np.float32))
    (folder / "broken.npz").write_bytes(b"PK broken")
    (folder / "broken.h5").write_bytes(b"broken")
    for args, code, said in (
        (("flat.npy",), 5, "expected relevance float32 (C, H, W), found float32 (3, 4)"),
        (("words.npy",), 5, "expected relevance"),
        (("nan.npy",), 7, "expected finite relevance"),
        (("broken.npz",), 5, "cannot be read"),
        (("broken.h5",), 5, "cannot be read"),
        (("missing.npy",), 5, "no such file"),
        (("photo.jpg",), 5, "expected stored relevance"),
        (("digit_3_3.npz", "--overlay"), 2, "need --model"),
        (("digit_3_3.npy", "--overlay", "-m", "lenet"), 5, "does not say which photo"),
        (("digit_3_3.npz", "digit_3_3.npy", "-o", "one.png"), 2, "one picture"),
        (("digit_3_3.npz", "-o", "x", "flat.npy"), 8, "expected relevance"),
    ):
        done = run("render", *args)
        assert (done.code, said in done.err) == (code, True), (args, done.err)
