"""Batches: outputs, manifest, and going on where an earlier run ended."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.batches import batch, digits, facts, manifest, outputs, same, states, two
from tests.command import DIGIT, EIGHT, lenet, listing, run


def test_the_output_mirrors_the_input(tmp_path: Path) -> None:
    photos = two(tmp_path / "photos" / "a" / "b").parents[1]
    (photos / "three.png").write_bytes(DIGIT.read_bytes())
    out = tmp_path / "out"
    done = batch(photos, "-o", out)
    assert (done.code, done.err) == (0, "")
    assert done.text == f"{out}/manifest.jsonl: 3 done, 0 failed\n"
    assert set(outputs(out)) == {"a/b/eight_8.png", "a/b/three_3.png", "three_3.png"}
    with Image.open(out / "three_3.png") as ours:
        alone = tmp_path / "alone.png"
        assert run("explain", DIGIT, "-m", "lenet", "-o", alone).code == 0
        with Image.open(alone) as theirs:
            assert np.array_equal(np.asarray(ours.convert("RGB")), np.asarray(theirs.convert("RGB")))
    # Nothing of the machinery is left but an empty lock.
    assert listing(out / ".lrptool") == ["lock"]
    assert (out / ".lrptool" / "lock").read_bytes() == b""


def test_a_line_of_the_manifest(tmp_path: Path) -> None:
    photos, out = two(tmp_path / "photos"), tmp_path / "out"
    batch(photos, "-o", out, "--save", "png,npy")
    eight, three = manifest(out)
    assert (eight["input"], three["number"], three["status"], three["error"]) == (
        str(photos / "eight.png"),
        1,
        "done",
        None,
    )
    scores = lenet().predict(DIGIT).scores[0]
    assert three["prediction"]["target"] == three["target"] == 3
    assert three["scores"].keys() == {str(k) for k in np.argsort(-scores)[:5]}
    assert three["score"] == pytest.approx(float(scores[3]), rel=1e-6)
    relevance = np.load(out / "three_3.npy")
    assert three["sums"]["input"] == pytest.approx(float(relevance.sum()), rel=1e-5)
    assert three["seconds"] > 0
    assert three["input_sha256"] == hashlib.sha256(DIGIT.read_bytes()).hexdigest()
    for file in three["files"]:
        contents = (out / file["path"]).read_bytes()
        assert (file["size"], file["sha256"]) == (len(contents), hashlib.sha256(contents).hexdigest())


def test_run_json_says_what_it_was(tmp_path: Path) -> None:
    photos, out = two(tmp_path / "photos"), tmp_path / "out"
    batch(photos, "-o", out, "--composite", "epsilon", "--epsilon", "0.5")
    told = json.loads((out / "run.json").read_text())
    assert told["model"] == {"name": "lenet", "sha256": lenet().sha256, "weights": None}
    assert told["composite"] == "epsilon(epsilon=0.5)"
    assert (told["inputs"], told["done"], told["failed"], told["finished"]) == (2, 2, 0, True)
    assert {"lrptool", "python", "numpy", "onnxruntime"} <= set(told["versions"])
    assert {"system", "cores"} <= set(told["machine"])
    assert isinstance(told["command"], list)


def test_what_is_complete_is_not_done_again(tmp_path: Path) -> None:
    photos, out, other = digits(tmp_path / "photos", 12), tmp_path / "out", tmp_path / "other"
    for folder in (out, other):
        assert batch(photos, "-o", folder, "--save", "png,npy").code == 0
    before = states(out)
    done = batch(photos, "-o", out, "--save", "png,npy")
    assert (done.code, done.err) == (0, "12 of 12 inputs are done already\n")
    assert states(out) == before
    # One file lost, one damaged without a change of its size, one line lost, one torn: these four, and no others.
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    lost, damaged = manifest(out)[0]["files"][0]["path"], manifest(out)[1]["files"][1]["path"]
    (out / lost).unlink()
    contents = bytearray((out / damaged).read_bytes())
    contents[-1] ^= 1
    (out / damaged).write_bytes(contents)
    (out / "manifest.jsonl").write_bytes(b"".join([*lines[:5], *lines[6:-1], lines[-1][:-30]]))
    done = batch(photos, "-o", out, "--save", "png,npy")
    assert (done.code, done.err) == (0, "8 of 12 inputs are done already\n")
    after = states(out)
    redone = {file["path"] for k in (0, 1, 5, 11) for file in manifest(out)[k]["files"]}
    assert {name for name in after if after[name] != before[name]} == redone
    same(out, other)


def test_an_input_that_changes_is_done_again(tmp_path: Path) -> None:
    photos, out = two(tmp_path / "photos"), tmp_path / "out"
    batch(photos, "-o", out)
    before = states(out)
    os.utime(photos / "three.png")
    assert "2 of 2 inputs are done already" in batch(photos, "-o", out).err
    assert states(out) == before
    (photos / "three.png").write_bytes(EIGHT.read_bytes())
    assert "1 of 2 inputs are done already" in batch(photos, "-o", out).err
    # What belonged to the picture that was there before is gone.
    assert set(outputs(out)) == {"eight_8.png", "three_8.png"}
    # Inputs that come later join the others.
    (photos / "a.png").write_bytes(DIGIT.read_bytes())
    assert "2 of 3 inputs are done already" in batch(photos, "-o", out).err
    assert [line["output"] for line in manifest(out)] == ["a", "eight", "three"]
    assert [line["number"] for line in manifest(out)] == [0, 1, 2]


def test_another_batch_in_the_folder_is_refused(tmp_path: Path) -> None:
    photos, out = two(tmp_path / "photos"), tmp_path / "out"
    batch(photos, "-o", out)
    before = outputs(out)
    done = batch(photos, "-o", out, "--target", "3")
    assert done.code == 9
    assert "holds a batch with wish" in done.err
    assert "--force" in done.err
    assert outputs(out) == before
    assert batch(photos, "-o", out, "--target", "3", "--force").code == 0
    assert {line["target"] for line in manifest(out)} == {3}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    done = batch(photos, "-o", mine)
    assert done.code == 9
    assert "found 'thesis.txt'" in done.err
    assert listing(mine) == [".lrptool", ".lrptool/lock", "thesis.txt"]


def test_results_do_not_depend_on_company(tmp_path: Path) -> None:
    photos = digits(tmp_path / "photos", 11)
    found = []
    for size in (1, 2, 5, 16):
        out = tmp_path / f"out{size}"
        assert batch(photos, "-o", out, "--batch-size", size, "--save", "npy").code == 0
        found.append(outputs(out))
    assert all(one == found[0] for one in found)


def test_several_targets_and_views(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = batch(DIGIT, "-o", out, "--top", 3, "--overlay", "--panel", "--json", "--save", "png,json")
    (line,) = done.records
    assert len(line["files"]) == 9
    assert len(line["others"]) == 2
    targets = [line["target"], *(other["target"] for other in line["others"])]
    names = {
        name for target in targets for name in (f"_{target}_overlay.png", f"_{target}_panel.png", f"_{target}.json")
    }
    assert {name.rpartition("digit_3")[2] for name in outputs(out)} == names
    assert done.records == manifest(out)
    # The best is also number 3: one result.
    (line,) = batch(DIGIT, "-o", tmp_path / "two", "--target", "top", "--target", 3, "--json").records
    assert "others" not in line
    assert len(line["files"]) == 1


def test_shards_divide_the_work(tmp_path: Path) -> None:
    photos, whole, out = digits(tmp_path / "photos", 13), tmp_path / "whole", tmp_path / "out"
    batch(photos, "-o", whole, "--batch-size", 2)
    for shard in (1, 2, 3):
        assert batch(photos, "-o", out, "--batch-size", 2, "--shard", f"{shard}/3").code == 0
    parts = [facts(out, f"manifest.{shard}-of-3.jsonl") for shard in (1, 2, 3)]
    assert [len(part) for part in parts] == [5, 4, 4]
    assert sorted((line for part in parts for line in part), key=lambda line: line["number"]) == facts(whole)
    found = {name: value for name, value in outputs(out).items() if "-of-" not in name}
    assert found == outputs(whole)
    for wrong in ("0/3", "4/3", "3", "a/b"):
        assert batch(photos, "-o", out, "--shard", wrong).code == 2


def test_the_output_may_lie_below_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two(tmp_path / "photos"))
    for _ in range(2):
        done = batch(".", "-o", "maps")
        assert (done.code, done.text) == (0, f"{tmp_path}/photos/maps/manifest.jsonl: 2 done, 0 failed\n")


def test_no_two_inputs_share_a_name(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    picture = Image.open(DIGIT)
    for name in ("a.png", "a.bmp", "A.gif", "a.png.tif", "b.png", "c_3.png", "c.png"):
        picture.save(photos / name)
    batch(photos, "-o", out)
    assert (
        sorted(outputs(out))
        == [
            "A.gif_3.png",
            "a.bmp_3.png",
            "a.png.tif_3.png",
            "a.png_3.png",
            "b_3.png",
            "c_3.png",
            "c_3_3.png",
        ]
        or len(outputs(out)) == 7
    )
    assert len({line["output"].casefold() for line in manifest(out)}) == 7


def test_usage_that_makes_no_sense(tmp_path: Path) -> None:
    for args, said in (
        (("--save", "html"), "--save html shows pictures"),
        (("--save", "h5,zarr"), "one store"),
        (("--save", "png,input"), "goes with h5 or zarr"),
        (("--save", "jpg"), "expected some of png, npy, npz, json, h5, zarr, input, html"),
        (("--top", "2", "--target", "3"), "exclude each other"),
        (("--batch-size", "2", "--memory", "2G"), "--batch-size is not needed"),
    ):
        done = batch(DIGIT, "-o", tmp_path / "out", *args)
        assert done.code == 2, args
        assert said in done.err
    assert batch(DIGIT, "-o", "-").code == 2
    assert batch(DIGIT, "-o", tmp_path / "out", "--target", "zebra").code == 5
    assert batch(tmp_path, "-o", tmp_path / "out").code == 5
    assert not (tmp_path / "out").exists()


def test_memory_chooses_the_size_and_going_on_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, out = two(tmp_path / "photos"), tmp_path / "out"
    monkeypatch.setattr("lrptool.api.model.fitting", lambda *_: 3)
    assert batch(photos, "-o", out, "--memory", "4G").code == 0
    told = json.loads((out / "run.json").read_text())
    assert told["settings"]["batch_size"] == 3
    shutil.rmtree(out / "thumbnails", ignore_errors=True)
    assert "2 of 2" in batch(photos, "-o", out).err
