"""Bad input: the right exit code, one line that says what and one that says what next, and nothing written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from lrptool.loaders.caffe import write_caffemodel
from tests.command import DIGIT, EIGHT, LENET, SAMPLES, Result, listing, pipe, run

PROTOTXT = LENET / "deploy.prototxt"
SHAPES = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "ip1": (200, 800), "ip2": (10, 200)}
MODEL, INPUT, CONFIG, NUMERIC, PARTIAL, OUTPUT = 3, 5, 6, 7, 8, 9


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(code: int, *args: object, hint: bool = True, command: str = "explain") -> str:
    """Run a command that has to fail with `code` and write nothing; return what it said."""
    before = {name: Path(name).stat().st_mtime_ns for name in listing(Path())}
    done = run(command, *args)
    assert (done.code, done.out) == (code, b""), done.err
    assert {name: Path(name).stat().st_mtime_ns for name in listing(Path())} == before
    _check_form(done, hint=hint)
    return done.err


def _check_form(done: Result, *, hint: bool) -> None:
    """One line of error, one of hint; notes may come before."""
    lines = [line for line in done.err.splitlines() if not line.startswith("note: ")]
    assert lines[0].startswith("lrptool: error: ")
    assert [line[:8] for line in lines[1:]] == ["  hint: "] * hint
    assert "Traceback" not in done.err


def caffemodel(name: str, value: float, **shapes: tuple[int, ...]) -> Path:
    """Weights of the bundled net's layers, all of them one number."""
    blobs = {
        layer: ("Any", [np.full(shape, value, np.float32), np.zeros(shape[0], np.float32)])
        for layer, shape in (SHAPES | shapes).items()
    }
    write_caffemodel(Path(name), "net", blobs)
    return Path(name)


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((LENET / "lenet.caffemodel").read_bytes()[:400_000], "cut off or not a binary Caffe file"),
        (b"", "the file is empty (0 bytes)"),
        (b"what is this", "cut off or not a binary Caffe file"),
    ],
    ids=["truncated", "empty", "text"],
)
def test_damaged_weights(content: bytes, message: str) -> None:
    Path("net.caffemodel").write_bytes(content)
    said = refused(MODEL, DIGIT, "-m", PROTOTXT, "-w", "net.caffemodel")
    assert f"error: net.caffemodel: {message}" in said
    assert message in refused(MODEL, DIGIT, "-m", "net.caffemodel")
    assert message in refused(MODEL, DIGIT, "-m", PROTOTXT, "-w", "net.caffemodel", command="predict")
    assert message in refused(MODEL, "-m", PROTOTXT, "-w", "net.caffemodel", command="inspect")


def test_a_mistake_in_the_prototxt_is_placed() -> None:
    lines = PROTOTXT.read_text().splitlines()
    assert lines[10].count("stride: 2") == 1
    lines[10] = lines[10].replace("stride: 2", "stride 2")
    Path("bad.prototxt").write_text("\n".join(lines))
    column = lines[10].index("stride 2") + len("stride ") + 1
    assert f"bad.prototxt:11:{column}: " in refused(MODEL, DIGIT, "-m", "bad.prototxt", "-w", "random", hint=False)


def test_weights_of_another_net() -> None:
    caffemodel("other.caffemodel", 1, ip1=(500, 800), ip2=(10, 500))
    said = refused(MODEL, DIGIT, "-m", PROTOTXT, "-w", "other.caffemodel", hint=False)
    assert "layer 'ip1' (InnerProduct): expected weights of shape (200, 800), found (500, 800)" in said


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (("lenett",), "unknown model 'lenett'", "did you mean 'lenet'?"),
        (("zzz",), "unknown model 'zzz'", "lrptool models list shows all"),
        (("squeezenett",), "unknown model 'squeezenett'", "did you mean 'squeezenet'?"),
        (("nowhere.prototxt",), "nowhere.prototxt: no such file", ".caffemodel"),
        (("lenet", "-w", "nowhere.caffemodel"), "nowhere.caffemodel: no such file", "random[:SEED]"),
        (("net.onnx",), "net.onnx: no such file", ".prototxt"),
        (("lenet", "-w", "."), ".: expected a file with weights, found a folder", "random[:SEED]"),
    ],
)
def test_models_that_are_not_there(args: tuple[str, ...], message: str, hint: str) -> None:
    said = refused(MODEL, DIGIT, "-m", *args)
    assert f"error: {message}" in said
    assert hint in said


@pytest.mark.parametrize("name", ["n" * 300, "n\0n"], ids=["long", "nul"])
@pytest.mark.parametrize("options", [("-m",), ("-m", "lenet", "-w"), ("-m", "lenet", "--models-dir")])
def test_names_that_no_file_has(name: str, options: tuple[str, ...]) -> None:
    said = refused(MODEL, DIGIT, *options, name, hint=False)
    assert "cannot be opened" in said
    assert "\0" not in said


@pytest.mark.parametrize("weights", ["random:abc", "random:-1", "random:", "random:" + "1" * 19, "random:1:2"])
def test_seeds_that_are_none(weights: str) -> None:
    said = refused(MODEL, DIGIT, "-m", PROTOTXT, "-w", weights, hint=False)
    assert "expected random[:SEED], SEED of up to 18 digits" in said


def test_a_card_with_mistakes_stops_its_own_model_only() -> None:
    Path("models/bad").mkdir(parents=True)
    Path("models/bad/card.yaml").write_text("name: [")
    assert run("predict", DIGIT, "-m", "lenet", "--models-dir", "models").code == 0
    said = refused(CONFIG, DIGIT, "-m", "bad", "--models-dir", "models", hint=False)
    assert "error: models/bad/card.yaml: not YAML" in said
    assert "unknown model 'baad'" in refused(MODEL, DIGIT, "-m", "baad", "--models-dir", "models")


PHOTO = (SAMPLES / "photo_of_a_digit.jpg").read_bytes()
PICTURES = {
    "text.jpg": (b"these are words", "expected a picture"),
    "cut.jpg": (PHOTO[: len(PHOTO) // 2], "expected a complete JPEG picture, found damaged data"),
    "cut.png": (DIGIT.read_bytes()[:200], "expected a complete PNG picture, found damaged data"),
    "empty.png": (b"", "expected a picture or array, found an empty file (0 bytes)"),
    "nothing.png": (png(0, 0), "expected a picture"),
    "bomb.png": (png(50_000, 50_000), "expected at most 178956970 pixels, found 2500000000 pixels"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_damaged_pictures(name: str) -> None:
    content, message = PICTURES[name]
    Path(name).write_bytes(content)
    hint = name != "empty.png"
    assert f"error: {name}: {message}" in refused(INPUT, name, "-m", "lenet", hint=hint)
    assert f"error: {name}: {message}" in refused(INPUT, name, "-m", "lenet", hint=hint, command="predict")
    piped = run("explain", "-", "-m", "lenet", "-o", "-", stdin=content)
    assert (piped.code, piped.out) == (INPUT, b"")
    assert message in piped.err


ARRAYS = {
    "rank": (np.zeros((28, 28), np.float32), "expected shape (N, 1, 28, 28), found (28, 28)"),
    "axes": (np.zeros((2, 28, 28, 1), np.float32), "found (2, 28, 28, 1)"),
    "size": (np.zeros((2, 1, 28, 29), np.float32), "found (2, 1, 28, 29)"),
    "none": (np.zeros((0, 1, 28, 28), np.float32), "found (0, 1, 28, 28)"),
    "complex": (np.zeros((1, 1, 28, 28), complex), "found dtype complex128"),
    "words": (np.full((1, 1, 28, 28), "x"), "found dtype <U1"),
    "objects": (np.full((1, 1, 28, 28), None, object), "expected a .npy array of numbers"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit(name: str) -> None:
    array, message = ARRAYS[name]
    np.save("x.npy", array, allow_pickle=True)
    said = refused(INPUT, "x.npy", "-m", "lenet")
    assert "error: x.npy: expected " in said
    assert message in said


def test_arrays_with_holes() -> None:
    array = np.zeros((3, 1, 28, 28), np.float32)
    array[1, 0, 4, 7], array[2, 0, 0, 0] = np.nan, np.inf
    np.save("x.npy", array)
    said = refused(INPUT, "x.npy", "-m", "lenet", hint=False)
    assert "error: x.npy: expected finite float32 values, found 2 NaN or infinite, first at [1, 0, 4, 7]" in said


@pytest.mark.parametrize(
    ("code", "args", "message", "hint"),
    [
        (INPUT, ("-t", "fivee"), "target 'fivee': no class of that name", "did you mean 'five'?"),
        (INPUT, ("-t", "10"), "target 10: expected a class from 0 to 9", None),
        (INPUT, ("-t", "s"), "target 's' means 2 classes: six (6), seven (7)", "give the number"),
        (INPUT, ("-t", "top:11"), "target top:11: expected a rank from 1 to 10", None),
        (INPUT, ("--against", "ninee"), "target 'ninee': no class of that name", "did you mean 'nine'?"),
        (CONFIG, ("-c", "epsilon-pluss"), "unknown composite 'epsilon-pluss'", "did you mean 'epsilon-plus'?"),
        (CONFIG, ("-c", "mine.yaml"), "mine.yaml: cannot be read: No such file", None),
        (CONFIG, ("-c", "epsilon", "--set", "epsillon=1"), "no parameter 'epsillon' (did you mean 'epsilon'?)", "NAME"),
        (CONFIG, ("--rule", "gama"), "unknown rule 'gama'", "did you mean 'gamma'?"),
        (CONFIG, ("--rule", "gamma", "--set", "gama=1"), "rule 'gamma' has no parameter 'gama'", "mean 'gamma'?"),
        (CONFIG, ("--rule", "epsilon", "--epsilon", "-1"), "expected a number of at least 0, found -1", None),
        (CONFIG, ("--rule", "route"), "rule 'route' does not apply to layers with weights", "composite"),
        (CONFIG, ("--cmap", "seismc"), "colour map 'seismc'", "did you mean 'seismic'?"),
        (CONFIG, ("--mean", "1,2,3"), "mean should be 1 numbers", None),
        (CONFIG, ("--channels", "RGB"), "channels RGB, but the network takes 1", "--channels GRAY"),
    ],
)
def test_words_nobody_knows(code: int, args: tuple[str, ...], message: str, hint: str | None) -> None:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    Path("labels.txt").write_text("\n".join(names))
    said = refused(code, DIGIT, "-m", "lenet", "--labels", "labels.txt", *args, hint=hint is not None)
    assert message in said
    assert (hint or "") in said


def test_a_composite_file_with_several_mistakes_tells_them_all() -> None:
    text = """
        titel: mine
        rows:
          - match: {opp: Conv}
            rule: epsilonn
          - match: {position: middle}
            rule: {name: epsilon, epsilom: 1}
          - rule: epsilon
    """
    Path("mine.yaml").write_text(text)
    said = refused(CONFIG, DIGIT, "-m", "lenet", "-c", "mine.yaml")
    assert "error: mine.yaml: " in said
    for mistake in (
        "unknown key 'titel' (did you mean 'title'?)",
        "row 1.match: unknown key 'opp' (did you mean 'op'?)",
        "row 1: unknown rule 'epsilonn' (did you mean 'epsilon'?)",
        "row 2.match.position: expected 'first' or 'last', found 'middle'",
        "row 2: rule 'epsilon' has no parameter 'epsilom' (did you mean 'epsilon'?)",
        "row 3: expected 'match' and 'rule'",
    ):
        assert mistake in said


def test_outputs_that_cannot_be_written(folder: Path) -> None:
    Path("file").write_bytes(b"mine")
    assert "file/maps: cannot be made" in refused(OUTPUT, DIGIT, "-m", "lenet", "-o", "file/maps")
    assert "file: cannot be made" in refused(OUTPUT, DIGIT, "-m", "lenet", "-o", "file")
    Path("x.png").mkdir()
    assert "x.png: there already" in refused(OUTPUT, DIGIT, "-m", "lenet", "-o", "x.png")
    assert "x.png: cannot be written: Is a dir" in refused(OUTPUT, DIGIT, "-m", "lenet", "-o", "x.png", "--force")


def test_an_input_is_never_replaced(folder: Path) -> None:
    Path("d.png").write_bytes(DIGIT.read_bytes())
    Path("link.png").symlink_to("d.png")
    for output in ("d.png", "./d.png", "link.png", "{stem}.png"):
        said = refused(OUTPUT, "d.png", "-m", "lenet", "-o", output, "--force")
        assert "is one of the inputs" in said
    # Not even that of another picture.
    done = run("explain", EIGHT, "d.png", "-m", "lenet", "-t", "3", "-o", "{index}.png", "--force")
    assert done.code == PARTIAL
    Path("3.png").write_bytes(DIGIT.read_bytes())
    assert "3.png: is one of the inputs" in refused(OUTPUT, "3.png", "-m", "lenet", "-o", "{index}.png", "--force")
    assert Path("d.png").read_bytes() == DIGIT.read_bytes()


def test_what_is_there_already_is_kept() -> None:
    args = (DIGIT, "-m", "lenet", "-o", "{stem}.png")
    Path("digit_3.png").write_bytes(b"mine")
    assert "digit_3.png: there already" in (said := refused(OUTPUT, *args))
    assert "--force replaces it" in said
    assert Path("digit_3.png").read_bytes() == b"mine"
    assert run("explain", *args, "--force").code == 0
    assert Path("digit_3.png").read_bytes().startswith(b"\x89PNG")
    # One of two files being there is enough to write neither.
    Path("digit_3.png").unlink()
    Path("digit_3.npy").write_bytes(b"mine")
    both = (DIGIT, "-m", "lenet", "-o", "{stem}", "--save", "png,npy")
    assert "digit_3.npy: there already" in refused(OUTPUT, *both)


def test_two_results_of_one_name() -> None:
    Path("other").mkdir()
    Path("other/digit_3.png").write_bytes(EIGHT.read_bytes())
    args = ("explain", DIGIT, "other/digit_3.png", "-t", "3", "-m", "lenet", "--force")
    done = run(*args)
    # The first is done, so it is a batch of which some failed; --force does not make one picture replace the other.
    assert done.code == PARTIAL
    assert "digit_3_3.png: two results would get this name" in done.err
    assert "{number}" in done.err
    assert len(done.text.splitlines()) == 1
    first = Path("digit_3_3.png").read_bytes()
    assert run("explain", DIGIT, "-m", "lenet", "-o", "alone").code == 0
    assert first == Path("alone/digit_3_3.png").read_bytes()
    assert run(*args, "-o", "{number}_{stem}.png").code == 0


def test_some_of_several_inputs_are_bad() -> None:
    Path("bad.jpg").write_bytes(b"words")
    done = run("explain", DIGIT, "bad.jpg", "missing.jpg", EIGHT, "-m", "lenet", "--json")
    assert done.code == PARTIAL
    assert [one["input"] for one in done.records] == [str(DIGIT), str(EIGHT)]
    assert listing(Path()) == ["bad.jpg", "digit_3_3.png", "digit_8_8.png"]
    errors = [line for line in done.err.splitlines() if "error" in line]
    assert ["bad.jpg" in errors[0], "missing.jpg" in errors[1], len(errors)] == [True, True, 2]
    assert run("predict", "bad.jpg", EIGHT, "-m", "lenet").code == PARTIAL
    for command in ("explain", "predict"):
        none = run(command, "bad.jpg", "missing.jpg", "-m", "lenet")
        assert (none.code, none.out, none.err.count("lrptool: error: ")) == (INPUT, b"", 2)


def test_relevance_that_is_not_finite_names_node_and_rule() -> None:
    caffemodel("zero.caffemodel", 0)
    said = refused(NUMERIC, DIGIT, "-m", "lenet", "-w", "zero.caffemodel", "--rule", "epsilon", "--epsilon", "0")
    assert "node 'ip2' (Gemm), rule epsilon(epsilon=0): 200 of 200 relevances are not finite" in said


def test_scores_that_are_not_finite() -> None:
    caffemodel("huge.caffemodel", 1e20)
    assert "node 'ip2'" in refused(NUMERIC, DIGIT, "-m", "lenet", "-w", "huge.caffemodel")
    said = refused(NUMERIC, DIGIT, "-m", "lenet", "-w", "huge.caffemodel", command="predict")
    assert "its scores are not finite" in said


def test_in_a_process_of_its_own(folder: Path) -> None:
    Path("bad.jpg").write_bytes(b"words")
    done = pipe("explain", "bad.jpg", "-m", "lenet", cwd=folder)
    assert (done.code, done.out) == (INPUT, b"")
    _check_form(done, hint=True)
    assert listing(folder) == ["bad.jpg"]
