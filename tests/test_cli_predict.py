"""`lrptool predict` and `lrptool inspect`: classes, accuracy, and the network as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.command import DIGIT, EIGHT, LENET, SAMPLES, lenet, listing, pipe, run

INPUT, PARTIAL = 5, 8


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of scores (classes,), in float64."""
    odds = np.exp(scores.astype(float) - scores.max())
    return odds / odds.sum()


def test_the_best_classes_as_json(folder: Path) -> None:
    done = run("predict", DIGIT, EIGHT, "-m", "lenet", "--top", "4", "--json")
    assert (done.code, done.err, listing(folder)) == (0, "", [])
    scores = lenet().predict([DIGIT, EIGHT]).scores
    for record, row, picture in zip(done.records, scores, (DIGIT, EIGHT), strict=True):
        assert (record["input"], record["model"], record["sha256"]) == (str(picture), "lenet", lenet().sha256)
        best = np.argsort(-row)[:4]
        assert [one["target"] for one in record["predictions"]] == list(best)
        assert [one["label"] for one in record["predictions"]] == [str(k) for k in best]
        assert [one["score"] for one in record["predictions"]] == pytest.approx(row[best].tolist(), abs=1e-6)
        assert [one["probability"] for one in record["predictions"]] == pytest.approx(softmax(row)[best], abs=1e-6)


def test_the_best_classes_as_text() -> None:
    lines = run("predict", DIGIT, "-m", "lenet", "--top", "2").text.splitlines()
    scores = lenet().predict(DIGIT).scores[0]
    second = int(np.argsort(-scores)[1])
    expected = [f"{DIGIT}    99.3%  3 (3)  score {scores[3]:.4g}", f"{second} ({second})  score {scores[second]:.4g}"]
    assert lines[0] == expected[0]
    assert lines[1].startswith(" " * len(str(DIGIT)))
    assert lines[1].endswith(expected[1])
    assert len(lines) == 2
    # No more classes than there are.
    assert len(run("predict", DIGIT, "-m", "lenet", "--top", "99").text.splitlines()) == 10


def test_lines_of_several_pictures_are_aligned(folder: Path) -> None:
    for name in ("a.png", "longer.png"):
        (folder / name).write_bytes(DIGIT.read_bytes())
    first, _, third, _ = run("predict", "a.png", "longer.png", "-m", "lenet", "--top", "2").text.splitlines()
    assert first.index("99.3%") == third.index("99.3%")


def test_a_picture_and_its_array_are_one(folder: Path) -> None:
    np.save("x.npy", lenet().read(DIGIT))
    picture, array = (run("predict", what, "-m", "lenet", "--json").records[0] for what in (DIGIT, "x.npy"))
    assert picture["predictions"] == array["predictions"]


def test_in_a_pipe() -> None:
    done = pipe("predict", "-", "-m", "lenet", stdin=EIGHT.read_bytes())
    assert (done.code, done.err) == (0, "")
    assert done.out == run("predict", "-", "-m", "lenet", stdin=EIGHT.read_bytes()).out
    assert done.text.startswith("-    99.4%  8 (8)  score ")
    assert "\x1b" not in done.text


def test_random_weights_are_talk_on_stderr() -> None:
    args = ("predict", DIGIT, "-m", LENET / "deploy.prototxt", "-w", "random:2")
    assert run(*args).err == "note: weights are random (seed 2): the scores mean nothing\n"
    assert run(*args, "-q").err == ""
    assert run(*args, "-q").out == run(*args).out


TRUTH = [3, 8, 1]
"""Of the digits 3, 8, 5: two are right."""


def expect(folder: Path, form: str, classes: list[int]) -> Path:
    """Write the true classes in one of the forms."""
    if form == "npy":
        np.save(folder / "truth.npy", np.array(classes, np.uint8))
        return folder / "truth.npy"
    words = ["nil", "eins", "zwei", "drei", "vier", "funf", "sechs", "sieben", "acht", "neun"]
    lines = {"numbers": map(str, classes), "names": (words[k] for k in classes)}[form]
    (folder / "labels.txt").write_text("\n".join(words))
    (folder / "truth.txt").write_text("\n".join(lines) + "\n\n")
    return folder / "truth.txt"


PICTURES = (DIGIT, EIGHT, SAMPLES / "digit_5.png")


@pytest.mark.parametrize("form", ["npy", "numbers", "names"])
def test_accuracy(folder: Path, form: str) -> None:
    truth = expect(folder, form, TRUTH)
    labels = ("--labels", "labels.txt") if form == "names" else ()
    done = run("predict", *PICTURES, "-m", "lenet", "--expect", truth, *labels)
    assert done.code == 0
    # Whether 1 is among the five best of the third is for the scores to say.
    five = 2 + int(1 in np.argsort(-lenet().predict(PICTURES[2]).scores[0])[:5])
    assert done.text == f"lenet: top-1 66.67% (2 of 3), top-5 {five / 3:.2%} ({five} of 3)\n"
    *each, total = run("predict", *PICTURES, "-m", "lenet", "--expect", truth, "--json", *labels).records
    assert [(one["expected"], one["hit"]) for one in each] == [(3, True), (8, True), (1, False)]
    assert total == {"model": "lenet", "pictures": 3, "top1": 2 / 3, "top5": five / 3}


def test_true_classes_that_do_not_fit(folder: Path) -> None:
    def said(*pictures: Path, classes: list[int]) -> str:
        done = run("predict", *pictures, "-m", "lenet", "--expect", expect(folder, "npy", classes))
        assert (done.code, done.out) == (INPUT, b"")
        assert done.err.count("lrptool: error: ") == 1
        return done.err

    assert "--expect has 2 classes, but there are more pictures" in said(*PICTURES, classes=[3, 8])
    assert "--expect has 4 classes, but 3 pictures could be read" in said(*PICTURES, classes=[*TRUTH, 0])
    assert "expected classes from 0 to 9, found 10" in said(DIGIT, classes=[10])
    # A picture that cannot be read would shift the others.
    assert "missing.png: no such file" in said(DIGIT, Path("missing.png"), EIGHT, classes=[3, 5, 8])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([3.0]), "expected whole numbers of shape (N,), found float64 (1,)"),
        (np.array([[3]]), "expected whole numbers of shape (N,), found int64 (1, 1)"),
        ("thirteen\n", "target 'thirteen': no class of that name"),
        (b"\xff\xfe\xfa", "not a text file or .npy array"),
        (None, "cannot be read: No such file or directory"),
        ({"a": np.array([3])}, "truth.npy: expected one array, found a .npz archive"),
    ],
    ids=["float", "rank", "word", "binary", "missing", "archive"],
)
def test_files_of_true_classes_that_cannot_be_used(content: object, message: str) -> None:
    if isinstance(content, np.ndarray):
        np.save("truth.npy", content)
    elif isinstance(content, dict):
        with Path("truth.npy").open("wb") as stream:
            np.savez(stream, **content)
    elif content is not None:
        Path("truth.txt").write_bytes(content.encode() if isinstance(content, str) else content)  # type: ignore[arg-type]
    name = "truth.npy" if isinstance(content, (np.ndarray, dict)) else "truth.txt"
    done = run("predict", DIGIT, "-m", "lenet", "--expect", name)
    assert (done.code, done.out) == (INPUT, b"")
    assert message in done.err


def test_a_bad_picture_among_good_ones() -> None:
    done = run("predict", DIGIT, "missing.png", EIGHT, "-m", "lenet", "--json")
    assert done.code == PARTIAL
    assert [one["input"] for one in done.records] == [str(DIGIT), str(EIGHT)]
    assert done.err == "lrptool: error: missing.png: no such file\n"


# Counted by hand from deploy.prototxt: outputs × inputs × kernel + biases; the same × positions without biases.
PARAMETERS = {"conv1": 20 * 25 + 20, "conv2": 50 * 20 * 25 + 50, "ip1": 200 * 800 + 200, "ip2": 10 * 200 + 10}
MACS = {"conv1": 24 * 24 * 20 * 25, "conv2": 8 * 8 * 50 * 20 * 25, "ip1": 200 * 800, "ip2": 10 * 200}
SHAPES = {
    "conv1": [20, 24, 24], "relu1": [20, 24, 24], "pool1": [20, 12, 12], "conv2": [50, 8, 8], "relu2": [50, 8, 8],
    "pool2": [50, 4, 4], "ip1/flatten": [800], "ip1": [200], "relu3": [200], "ip2": [10],
}  # fmt: skip


def test_the_network_as_json() -> None:
    done = run("inspect", "-m", "lenet", "-c", "alpha2-beta1", "--json")
    assert (done.code, done.err) == (0, "")
    (data,) = done.records
    assert {row["node"]: row["shape"] for row in data["nodes"]} == SHAPES
    assert {row["node"]: row["parameters"] for row in data["nodes"] if row["parameters"]} == PARAMETERS
    assert {row["node"]: row["macs"] for row in data["nodes"] if row["macs"]} == MACS
    assert data["parameters"] == sum(PARAMETERS.values()) == 187_780
    assert data["macs"] == sum(MACS.values()) == 2_050_000
    facts = {"model": "lenet", "network": "LeNet", "input": [1, 28, 28], "classes": 10, "head": "softmax"}
    assert {key: data[key] for key in facts} == facts
    assert data["composite"] == "alpha2-beta1"
    weighted = {row["rule"] for row in data["nodes"] if row["node"] in PARAMETERS}
    assert weighted == {"alpha-beta"}
    assert [row["inputs"] for row in data["nodes"][:2]] == [["data"], ["conv1"]]


def test_the_network_as_a_table() -> None:
    lines = run("inspect", "-m", "lenet").text.splitlines()
    assert lines[0] == "lenet: input 1×28×28, 10 classes, softmax"
    assert " ".join(lines[1].split()) == "node operator output parameters MACs rule (epsilon-plus-flat)"
    assert [line.split()[0] for line in lines[2:]] == [*SHAPES, "total"]
    assert lines[2].split() == ["conv1", "Conv", "20×24×24", "520", "288,000", "flat"]
    assert lines[-1].split() == ["total", "187,780", "2,050,000"]
    one_rule = run("inspect", "-m", "lenet", "--rule", "gamma", "--gamma", "0.5").text.splitlines()
    assert one_rule[5].split() == ["conv2", "Conv", "50×8×8", "25,050", "1,600,000", "gamma(gamma=0.5)"]
