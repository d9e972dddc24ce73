"""`lrptool explain`: where results go, what is in them, what is said about them."""

from __future__ import annotations

import hashlib
import io
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lrptool.cli import main
from lrptool.version import VERSION
from tests.command import DIGIT, EIGHT, LENET, SAMPLES, Result, lenet, listing, pipe, run

SHA256 = hashlib.sha256((LENET / "lenet.caffemodel").read_bytes()).hexdigest()
NAMES = ["zero", "one", "two", "three/drei", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explain(*args: object, images: tuple[object, ...] = (DIGIT,), stdin: bytes = b"") -> Result:
    """Explain with the bundled model; it has to go well."""
    done = run("explain", *images, "-m", "lenet", *args, stdin=stdin)
    assert (done.code, done.err) == (0, "")
    return done


def record(*args: object, **options: Any) -> dict[str, Any]:
    """The facts of the only result."""
    (only,) = explain("--json", *args, **options).records
    return only


def pixels(path: Path) -> np.ndarray:
    """A picture as uint8 (H, W, 3)."""
    with Image.open(path) as image:
        # Heatmaps come with their map's palette.
        assert image.mode in ("RGB", "P")
        return np.asarray(image.convert("RGB"))


def test_the_default_name_is_made_of_picture_and_class(folder: Path) -> None:
    done = explain()
    assert listing(folder) == ["digit_3_3.png"]
    score = float(lenet().predict(DIGIT).scores[0, 3])
    assert done.text == f"{DIGIT}: 3  99.3%  score {score:.4g}  → digit_3_3.png\n"
    # 28 × 28, eight times enlarged.
    assert pixels(folder / "digit_3_3.png").shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("maps", ["maps", "maps/digit_3_three_drei.png"]),
        ("a/b", ["a", "a/b", "a/b/digit_3_three_drei.png"]),
        ("one.png", ["one.png"]),
        ("d/one.png", ["d", "d/one.png"]),
        ("{stem}-{target}-{index}.png", ["digit_3-three_drei-3.png"]),
        ("{model}/{composite}/{number}", ["lenet", "lenet/epsilon", "lenet/epsilon/000000.png"]),
        ("one.npy", ["one.npy"]),
        ("{index}.json", ["3.json"]),
    ],
)
def test_where_results_go(folder: Path, output: str, expected: list[str]) -> None:
    labels = folder / "labels.txt"
    labels.write_text("\n".join(NAMES))
    said = record("-o", output, "-c", "epsilon", "--labels", labels)
    labels.unlink()
    assert listing(folder) == expected
    assert said["files"] == [expected[-1]]


def test_the_npy_that_was_asked_for_by_its_ending_is_one(folder: Path) -> None:
    explain("-o", "one.npy")
    assert np.load("one.npy").shape == (1, 28, 28)


def test_stdout_takes_the_bytes_of_the_file(folder: Path) -> None:
    explain("-o", "file.png")
    expected = (folder / "file.png").read_bytes()
    assert explain("-o", "-").out == expected
    assert explain("-o", "-", images=("-",), stdin=DIGIT.read_bytes()).out == expected
    assert listing(folder) == ["file.png"]
    relevance = np.load(io.BytesIO(explain("-o", "-", "--save", "npy").out))
    np.testing.assert_array_equal(relevance, lenet().explain(DIGIT).relevance[0])


def test_real_pipes(folder: Path) -> None:
    explain("-o", "file.png")
    done = pipe("explain", "-", "-m", "lenet", "-o", "-", stdin=DIGIT.read_bytes(), cwd=folder)
    assert (done.code, done.err) == (0, "")
    assert done.out == (folder / "file.png").read_bytes()
    assert done.out.startswith(b"\x89PNG\r\n\x1a\n")
    done = pipe("explain", "-", "-m", "lenet", "-w", "random:1", "--audit", stdin=DIGIT.read_bytes(), cwd=folder)
    assert done.code == 0
    assert done.text.startswith("-: ")
    assert "stdin_" in done.text
    assert "weights are random" in done.err
    assert "\x1b" not in done.text + done.err


def test_what_is_saved(folder: Path) -> None:
    said = record("-o", "x", "--save", "png,npy,npz,json", "--top", "1")
    names = [f"digit_3_3.{ending}" for ending in ("png", "npy", "npz", "json")]
    assert said["files"] == [f"x/{name}" for name in names]
    assert sorted(listing(folder / "x")) == sorted(names)
    truth = lenet().explain(DIGIT)
    relevance = np.load("x/digit_3_3.npy")
    assert (relevance.dtype, relevance.shape) == (np.float32, (1, 28, 28))
    np.testing.assert_array_equal(relevance, truth.relevance[0])
    with np.load("x/digit_3_3.npz") as arrays:
        assert sorted(arrays) == ["probabilities", "record", "relevance", "scores", "target"]
        np.testing.assert_array_equal(arrays["relevance"], relevance)
        np.testing.assert_array_equal(arrays["scores"], truth.scores[0])
        np.testing.assert_allclose(arrays["probabilities"].sum(), 1, rtol=1e-6)
        assert arrays["target"] == 3
        inside = json.loads(str(arrays["record"]))
    assert json.loads(Path("x/digit_3_3.json").read_text()) == inside == said


def test_facts() -> None:
    said = record()
    keys = "input model sha256 composite start target label synset score probability sums files seconds"
    assert list(said) == keys.split()
    expected = {
        "input": str(DIGIT), "model": "lenet", "sha256": SHA256, "composite": "epsilon-plus-flat",
        "target": 3, "label": "3", "synset": None, "files": ["digit_3_3.png"],
    }  # fmt: skip
    assert {key: said[key] for key in expected} == expected
    truth = lenet().explain(DIGIT)
    assert said["score"] == pytest.approx(float(truth.scores[0, 3]), rel=1e-6)
    odds = np.exp(truth.scores[0].astype(float))
    assert said["probability"] == pytest.approx(odds[3] / odds.sum(), rel=1e-5)
    sums = said["sums"]
    assert sums["start"] == said["score"]
    assert sums["input"] == pytest.approx(truth.relevance.sum(dtype=float), rel=1e-5)
    assert sums["positive"] + sums["negative"] == pytest.approx(sums["input"], rel=1e-5)
    assert sums["negative"] <= 0 < sums["positive"]
    assert said["seconds"] >= 0


def test_the_best_and_the_named_classes(folder: Path) -> None:
    scores = lenet().predict(DIGIT).scores[0]
    best = explain("--top", "3", "--json").records
    assert [one["target"] for one in best] == list(np.argsort(-scores)[:3])
    assert listing(folder) == sorted(f"digit_3_{one['target']}.png" for one in best)
    named = explain("-t", "8", "-t", "top", "-t", "5", "--json", "--force").records
    assert [one["target"] for one in named] == [8, 3, 5]
    assert [one["score"] for one in named] == pytest.approx([float(scores[k]) for k in (8, 3, 5)], rel=1e-6)


def test_the_number_is_the_place_in_the_run(folder: Path) -> None:
    np.save("two.npy", lenet().read([DIGIT, EIGHT]))
    # Batches of 1 and of all: what failed before counts in both.
    for size in (1, 8):
        done = run("explain", "missing.png", DIGIT, "gone.png", "two.npy", EIGHT, "-m", "lenet", "--batch-size", size,
                   "-o", f"{size}/{{number}}.png")  # fmt: skip
        assert done.code == 8
        assert listing(folder / str(size)) == [f"{k:06d}.png" for k in (1, 3, 4, 5)]


def test_classes_of_one_name_get_names_of_their_own(folder: Path) -> None:
    names = ["maillot", "one", "b", "maillot, tank suit", "B", "five", "..", "x" * 300, "a/b", "a b"]
    (folder / "labels.txt").write_text("\n".join(names))
    said = explain("--top", 10, "--labels", "labels.txt", "--json", "-o", "out/{target}.png").records
    assert len(said) == 10
    expected = {
        0: "maillot_0", 1: "one", 2: "b_2", 3: "maillot_3", 4: "B_4", 5: "five", 6: "class", 7: "x" * 80,
        8: "a_b_8", 9: "a_b_9",
    }  # fmt: skip
    assert {one["target"]: one["files"] for one in said} == {k: [f"out/{name}.png"] for k, name in expected.items()}


def test_a_class_is_explained_once(folder: Path) -> None:
    (folder / "labels.txt").write_text("\n".join(NAMES))
    args = ("-t", "3", "-t", "three/drei", "-t", "top", "-t", "8", "-t", "TOP:1", "-t", "3")
    assert [one["target"] for one in explain(*args, "--labels", "labels.txt", "--json").records] == [3, 8]
    explain("-t", "3", "-t", "3", "-o", "x.png")


def test_a_label_that_is_another_class_s_number(folder: Path) -> None:
    (folder / "labels.txt").write_text("\n".join(["five", *"123406789"]))
    said = explain("-t", "five", "-t", "0", "--labels", "labels.txt", "--json").records
    assert [one["target"] for one in said] == [0, 5]


def test_no_more_of_the_best_than_there_are() -> None:
    said = explain("--top", 11, "--json").records
    assert sorted(one["target"] for one in said) == list(range(10))


def test_nothing_is_kept_in_dev_null(folder: Path) -> None:
    done = explain("-o", os.devnull)
    assert listing(folder) == []
    assert done.text == f"{DIGIT}: 3  99.3%  score {float(lenet().predict(DIGIT).scores[0, 3]):.4g}\n"
    assert record("-o", os.devnull, "--save", "npy,json")["files"] == []


def test_a_folder_may_be_called_like_a_picture(folder: Path) -> None:
    (folder / "heat.jpg").mkdir()
    explain("-o", "heat.jpg")
    assert listing(folder) == ["heat.jpg", "heat.jpg/digit_3_3.png"]


def test_odd_names_do_not_break_the_line(folder: Path) -> None:
    for name in ("a\nb.png", "c\x1b[31m.png", "d\udcff.png"):
        (folder / name).write_bytes(DIGIT.read_bytes())
    (folder / "labels.txt").write_text("\n".join([*NAMES[:3], "th\x1b[2J\tree", *NAMES[4:]]))
    names = sorted(path.name for path in folder.glob("*.png"))
    for command in (("explain", "-o", "out"), ("predict",)):
        done = pipe(*command, *names, "-m", "lenet", "--labels", "labels.txt", cwd=folder)
        assert (done.code, done.err) == (0, "")
        lines = done.text.split("\n")
        assert (len(lines), lines[-1], "\x1b" in done.text) == (4, "", False)
        starts = ("a\\nb.png", "c\\x1b[31m.png", "d\\udcff.png")
        assert all(line.startswith(start) for line, start in zip(lines[:3], starts, strict=True))
        assert all("th\\x1b[2J\\tree" in line for line in lines[:3])
    said = pipe("predict", *names, "-m", "lenet", "--json", cwd=folder).records
    assert [one["input"] for one in said] == names


def test_labels_and_their_beginnings(folder: Path) -> None:
    (folder / "labels.txt").write_text("\n".join(NAMES))
    targets = [one["target"] for one in explain("-t", "EIGHT", "-t", "th", "--labels", "labels.txt", "--json").records]
    assert targets == [8, 3]


def test_what_relevance_starts_as() -> None:
    scores = lenet().predict(DIGIT).scores[0].astype(float)
    assert record("--start", "one")["sums"]["start"] == 1
    against = record("--against", "8", "--force")
    assert against["sums"]["start"] == pytest.approx(scores[3] - scores[8], rel=1e-6)
    # The contrast of probabilities sums to nothing: what the target gains the others lose.
    assert record("--start", "contrast", "--force", "--save", "npy")["sums"]["start"] == pytest.approx(0, abs=1e-6)
    assert np.abs(np.load("digit_3_3.npy")).max() > 1e-6


def test_views(folder: Path) -> None:
    explain("-o", "heat.png")
    explain("-o", "over.png", "--overlay")
    explain("-o", "panel.png", "--panel")
    said = record("-o", "both.png", "--overlay", "--panel")
    assert said["files"] == ["both_overlay.png", "both_panel.png"]
    assert (folder / "both_overlay.png").read_bytes() == (folder / "over.png").read_bytes()
    assert (folder / "both_panel.png").read_bytes() == (folder / "panel.png").read_bytes()
    heat, over, panel = (pixels(folder / f"{name}.png") for name in ("heat", "over", "panel"))
    assert heat.shape == over.shape == (224, 224, 3)
    # Three pictures side by side, and words.
    assert panel.shape[1] >= 3 * 224
    assert panel.shape[0] > 224
    assert not np.array_equal(heat, over)


@pytest.mark.parametrize(
    ("colours", "zero", "highest"),
    [
        ("seismic", (255, 255, 255), (0x80, 0, 0)),
        ("hot", (0, 0, 0), (255, 255, 255)),
        ("00f,80:0f0,f80", (0, 255, 0), (255, 0x88, 0)),
    ],
)
def test_colours(folder: Path, colours: str, zero: tuple[int, ...], highest: tuple[int, ...]) -> None:
    # With epsilon everywhere, a black pixel has no relevance at all.
    explain("--cmap", colours, "-c", "epsilon", "-o", "x.png", "--percentile", "100")
    heat = pixels(folder / "x.png")
    relevance = lenet().explain(DIGIT, composite="epsilon").relevance[0, 0]
    assert relevance[0, 0] == 0
    assert tuple(heat[0, 0]) == zero
    row, column = np.unravel_index(np.argmax(relevance), relevance.shape)
    assert relevance.max() > -relevance.min()
    assert tuple(heat[8 * row + 4, 8 * column + 4]) == highest


def test_percentile_saturates(folder: Path) -> None:
    explain("-o", "all.png", "--percentile", "100")
    explain("-o", "half.png", "--percentile", "50")
    assert (pixels(folder / "half.png") == (0x80, 0, 0)).all(axis=2).sum() > 20 * 64
    assert (pixels(folder / "all.png") == (0x80, 0, 0)).all(axis=2).sum() < 20 * 64


def test_the_audit_adds_up() -> None:
    said = record("--audit", "-c", "epsilon-plus")
    rows = said["audit"]
    assert [row["node"] for row in rows] == [node.name for node in reversed(lenet().graph.nodes)]
    assert rows[0]["arrived"] == said["sums"]["start"]
    assert rows[-1]["passed_on"] == pytest.approx(said["sums"]["input"], rel=1e-6)
    for row, after in pairwise(rows):
        assert after["arrived"] == row["passed_on"]
    for row in rows:
        kept = row["bias"] + row["stabiliser"] + row["other"]
        assert row["arrived"] - row["passed_on"] == pytest.approx(kept, abs=2e-6)
        assert row["other"] == pytest.approx(0, abs=1e-5)
    # The last layer's relevance is the score, so its bias takes exactly the class's own.
    assert rows[0]["bias"] == pytest.approx(float(lenet().graph.constants["ip2/bias"][3]), rel=1e-4)


def test_the_audit_as_a_table() -> None:
    lines = explain("--audit").text.splitlines()
    assert " ".join(lines[1].split()) == "node operator rule arrived passed on bias stabiliser other"
    assert [line.split()[0] for line in lines[2:-1]] == [node.name for node in reversed(lenet().graph.nodes)]
    assert lines[-1].startswith(f"relevance {lenet().predict(DIGIT).scores[0, 3]:.6g} at the score, ")
    piped = run("explain", DIGIT, "-m", "lenet", "--audit", "-o", "-")
    assert piped.out.startswith(b"\x89PNG")
    assert piped.err.splitlines() == lines[1:]


def test_how_it_is_computed_changes_nothing(folder: Path) -> None:
    pictures = (DIGIT, EIGHT, SAMPLES / "digit_5.png")
    for k, options in enumerate([(), ("--threads", 1), ("--batch-size", 1), ("--batch-size", 2)]):
        explain("-o", f"{k}", "--save", "npy", *options, images=pictures)
    for name in ("digit_3_3", "digit_8_8", "digit_5_5"):
        first = np.load(f"0/{name}.npy")
        np.testing.assert_array_equal(np.load(f"1/{name}.npy"), first)
        for other in (2, 3):
            np.testing.assert_allclose(np.load(f"{other}/{name}.npy"), first, rtol=0, atol=1e-6 * np.abs(first).max())


def test_arrays_of_several_items(folder: Path) -> None:
    array = lenet().read([DIGIT, EIGHT])
    np.save("two.npy", array)
    np.save("one.npy", array[1:])
    said = explain("--json", "--save", "npy", "-o", "out", images=("two.npy", "one.npy")).records
    assert [one["input"] for one in said] == ["two.npy[0]", "two.npy[1]", "one.npy"]
    assert [one["files"] for one in said] == [["out/two_0_3.npy"], ["out/two_1_8.npy"], ["out/one_8.npy"]]
    np.testing.assert_array_equal(np.load("out/two_1_8.npy"), np.load("out/one_8.npy"))
    # A picture can be drawn of relevance without a photo, too.
    explain("--panel", "-o", "panel.png", images=("one.npy",))
    assert pixels(folder / "panel.png").shape[1] > 3 * 224


def test_a_png_says_what_it_is(folder: Path) -> None:
    explain("-o", "x.png", "-c", "lrp-cmp")
    with Image.open("x.png") as image:
        said = dict(image.info)
    assert said == {
        "Software": f"lrptool {VERSION}",
        "lrptool:model": "lenet",
        "lrptool:sha256": SHA256,
        "lrptool:composite": "lrp-cmp",
        "lrptool:start": "score",
        "lrptool:target": "3",
        "lrptool:label": "3",
        "lrptool:score": f"{lenet().predict(DIGIT).scores[0, 3]:.7g}",
    }


def test_random_weights_are_named_in_every_result(folder: Path) -> None:
    done = run("explain", DIGIT, "-m", LENET / "deploy.prototxt", "-w", "random:5", "--json", "-o", "x.png")
    assert done.code == 0
    assert "weights are random (seed 5)" in done.err
    (said,) = done.records
    assert (said["weights"], said["sha256"]) == ("random:5", None)
    with Image.open("x.png") as image:
        assert image.info["lrptool:weights"] == "random:5"
    quiet = run("explain", DIGIT, "-m", LENET / "deploy.prototxt", "-w", "random:5", "-q", "-o", "y.png")
    assert (quiet.code, quiet.err) == (0, "")


def test_one_rule_everywhere() -> None:
    said = record("--rule", "alpha-beta", "--alpha", "3")
    assert said["composite"] == "alpha-beta(alpha=3, beta=2)"
    assert (
        record("-c", "epsilon", "--epsilon", "0.5", "--audit", "--force")["audit"][0]["rule"] == "epsilon(epsilon=0.5)"
    )


def test_the_first_run_says_why_it_takes_longer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("lrptool.engine.is_compiled", lambda: False)
    for options, expected in (([], "note: compiling kernels (once)\n"), (["-q"], "")):
        with pytest.raises(SystemExit):
            main(["explain", str(DIGIT), "-m", "lenet", "-o", "x.png", "--force", *options])
        assert capsys.readouterr().err == expected
