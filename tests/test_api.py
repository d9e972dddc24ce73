"""The library's face: loading, what may be handed in, which class is meant, and that nothing is changed by it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lrptool
from lrptool.api import save
from lrptool.errors import ConfigError, InputError, LrpError, ModelError, NumericError
from lrptool.kernels import get_threads
from lrptool.loaders.caffe import write_binaryproto
from lrptool.rules.composite import preset_names
from tests.command import DIGIT, EIGHT, LENET, SAMPLES, lenet

PICTURES = [SAMPLES / f"digit_{k}.png" for k in range(10)]
RNG = np.random.default_rng(4)


def test_as_the_documentation_shows_it() -> None:
    model = lrptool.load("lenet")
    x = model.read(PICTURES[:2])
    result = model.explain(x, target=7, composite="epsilon")
    assert isinstance(model, lrptool.Model)
    assert isinstance(result, lrptool.Explanation)
    assert (result.relevance.dtype, result.relevance.shape) == (np.float32, (2, 1, 28, 28))
    assert (result.scores.dtype, result.scores.shape) == (np.float32, (2, 10))
    assert (result.target.dtype, list(result.target)) == (np.int64, [7, 7])
    assert (len(result), result.model, result.composite) == (2, "lenet", "epsilon")
    np.testing.assert_array_equal(result.heatmap, result.relevance[:, 0])
    np.testing.assert_array_equal(result.score, result.scores[:, 7])
    np.testing.assert_array_equal(result.start, result.scores[:, 7].astype(np.float64))
    odds = np.exp(result.scores.astype(float))
    np.testing.assert_allclose(result.probability, (odds / odds.sum(1, keepdims=True))[:, 7], rtol=1e-5)
    uniform = lrptool.Composite.uniform(rule="alpha-beta", alpha=2, beta=1)
    assert model.explain(x, composite=uniform).composite == "alpha-beta"
    preset = lrptool.Composite.load("alpha2-beta1")
    np.testing.assert_array_equal(
        model.explain(x, composite=preset).relevance, model.explain(x, composite="alpha2-beta1").relevance
    )


def test_public_names_come_when_they_are_asked_for() -> None:
    names = {"Composite", "Explanation", "LrpError", "Model", "__version__", "check", "convert", "load"}
    assert set(lrptool.__all__) == set(dir(lrptool)) == names
    assert all(getattr(lrptool, name) for name in names)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = lrptool.laod  # type: ignore[attr-defined]
    code = "import lrptool, sys; sys.exit(bool({'numpy', 'numba', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("given", ["path", "text", "image", "paths", "images", "array", "npy", "doubles", "mixed"])
def test_whatever_is_handed_in(given: str, tmp_path: Path) -> None:
    truth = lenet().explain(DIGIT).relevance
    array = lenet().read(DIGIT)
    np.save(tmp_path / "x.npy", array)
    with Image.open(DIGIT) as opened:
        image = opened.copy()
    several = [str(DIGIT), image, tmp_path / "x.npy"]
    inputs: dict[str, Any] = {
        "path": DIGIT, "text": str(DIGIT), "image": image, "paths": [DIGIT], "images": (image,), "array": array,
        "npy": tmp_path / "x.npy", "doubles": array.astype(np.float64), "mixed": several,
    }  # fmt: skip
    result = lenet().explain(inputs[given]).relevance
    assert len(result) == (3 if given == "mixed" else 1)
    for one in result:
        np.testing.assert_allclose(one, truth[0], rtol=0, atol=1e-6 * np.abs(truth).max())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([], "at least one picture"),
        (np.zeros((1, 28, 28), np.float32), r"\(N, 1, 28, 28\), found \(1, 28, 28\)"),
        (np.zeros((2, 1, 28, 27)), r"found \(2, 1, 28, 27\)"),
        (np.zeros((0, 1, 28, 28)), r"found \(0, 1, 28, 28\)"),
        (np.zeros((1, 1, 28, 28), bool), "found bool"),
        (np.full((1, 1, 28, 28), np.nan), "found 784 NaN or infinite"),
        ("missing.png", "missing.png: no such file"),
    ],
)
def test_what_cannot_be_an_input(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lenet().explain(x)
    with pytest.raises(InputError, match=message):
        lenet().predict(x)


def names_model(tmp_path: Path) -> lrptool.Model:
    """The bundled network with classes called as in ImageNet's list."""
    words = ["tabby, tabby cat", "tiger cat", "tiger", "goldfish, Carassius auratus", "7", "e", "f", "g", "h", "crane"]
    lines = [f"n0000000{k} {word}" for k, word in enumerate(words)]
    (tmp_path / "words.txt").write_text("\n".join(lines))
    return lrptool.load("lenet", labels=tmp_path / "words.txt")


def test_which_class_is_meant(tmp_path: Path) -> None:
    model, scores = names_model(tmp_path), lenet().predict(DIGIT).scores[0]
    order = [int(k) for k in np.argsort(-scores)]
    meant = {
        "top": order[0], "top:1": order[0], "top:4": order[3], "TOP:10": order[9], 6: 6, "6": 6, np.int64(8): 8,
        "tabby": 0, "Tabby Cat": 0, "tiger": 2, "tiger c": 1, "gold": 3, "carassius": 3, " crane ": 9, "n00000001": 1,
        "7": 4,  # a name goes before a number
    }  # fmt: skip
    for target, index in meant.items():
        assert list(model.explain(DIGIT, target).target) == [index], target


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("t", r"means 3 classes: tabby \(0\), tiger cat \(1\), tiger \(2\)", "give the number"),
        ("goldfisch", "no class of that name", "did you mean 'goldfish'?"),
        ("n12345678", "no class of that name", "known: "),
        ("", "no class of that name", "known: "),
        ("10", "expected a class from 0 to 9", None),
        (10, "expected a class from 0 to 9", None),
        (-1, "expected a class from 0 to 9", None),
        ("top:0", "expected a rank from 1 to 10", None),
        (True, "expected an index or a name, found True", None),
        (1.5, "expected an index or a name, found 1.5", None),
        ([1.5], "expected an index or a name, found 1.5", None),
        ([1, 2], r"expected one target per picture \(1\), found 2", None),
    ],
)
def test_classes_that_are_not_there(tmp_path: Path, target: Any, message: str, hint: str | None) -> None:
    with pytest.raises(InputError, match=message) as caught:
        names_model(tmp_path).explain(DIGIT, target)
    assert (caught.value.hint is None) == (hint is None)
    assert (hint or "") in (caught.value.hint or "")


def test_a_class_per_picture() -> None:
    x = lenet().read(PICTURES[:5])
    targets = ["top", 4, "3", "top:2", np.int64(0)]
    result = lenet().explain(x, targets, batch_size=2)
    second = int(np.argsort(-result.scores[3])[1])
    assert list(result.target) == [0, 4, 3, second, 0]
    for k, target in enumerate(targets):
        one = lenet().explain(x[k : k + 1], target)
        np.testing.assert_allclose(result.relevance[k], one.relevance[0], rtol=0, atol=1e-6)
    array = lenet().explain(x, np.array([1, 2, 3, 4, 5]), batch_size=2)
    assert list(array.target) == [1, 2, 3, 4, 5]


def test_one_class_against_another() -> None:
    x = lenet().read(PICTURES[:3])
    result = lenet().explain(x, 3, "epsilon", against=[8, 5, "1"], batch_size=2)
    np.testing.assert_allclose(result.start, result.scores[:, 3] - result.scores[[0, 1, 2], [8, 5, 1]], rtol=1e-6)
    # Relevance is linear in where it starts.
    apart = [lenet().explain(x, target, "epsilon").relevance for target in (3, [8, 5, 1])]
    np.testing.assert_allclose(result.relevance, apart[0] - apart[1], rtol=0, atol=2e-5)


def test_several_targets_cost_one_forward_pass_and_are_the_same() -> None:
    targets: list[Any] = ["top", 8, "top:3"]
    for together, target in zip(lenet().explain_each(DIGIT, targets), targets, strict=True):
        np.testing.assert_array_equal(together.relevance, lenet().explain(DIGIT, target).relevance)


@pytest.mark.parametrize(
    ("room", "most", "runs"),
    [
        (2.5, 2.5, [2, 2, 2, 2, 2]),
        (2.5, 3.5, [3, 3, 3, 1]),
        (2.5, 1000, [4, 4, 2]),
        (0.5, 0.5, [1] * 10),
        (1000, 1000, [8, 2]),
    ],
)
def test_large_activations_are_worked_on_in_smaller_runs(
    monkeypatch: pytest.MonkeyPatch, room: float, most: float, runs: list[int]
) -> None:
    model = lenet().with_threads(1)
    program = model.program("epsilon")
    handed = [v for name, v in program.forward(model.read(DIGIT)).items() if name != program.graph.input.name]
    for name, pictures in (("_BLOCK", room), ("_MOST", most)):
        monkeypatch.setattr(f"lrptool.engine.program.{name}", int(pictures * sum(v.nbytes for v in handed)))
    found, forward = [], program.forward
    monkeypatch.setattr(program, "forward", lambda x: (found.append(len(x)), forward(x))[1])
    x = model.read(PICTURES)
    np.testing.assert_array_equal(model.explain(x, 3, "epsilon").target, 3)
    assert found == runs
    model.explain(x, 3, "epsilon", batch_size=10)
    assert found[len(runs) :] == [10]


@pytest.mark.parametrize("composite", preset_names())
def test_every_preset_explains(composite: str) -> None:
    found = lenet().explain(DIGIT, composite=composite)
    assert found.relevance.any()
    assert np.isfinite(found.relevance).all()


@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus-flat", "lrp-cmp", "deep-taylor"])
def test_a_batch_equals_its_items(composite: str) -> None:
    x = lenet().read(PICTURES)
    whole = lenet().explain(x, composite=composite, audit=True, keep=["pool1"], batch_size=10)
    parts = lenet().explain(x, composite=composite, audit=True, keep=["pool1"], batch_size=4)
    assert whole.tensors is not None
    assert parts.tensors is not None
    assert whole.tensors["pool1"].shape == (10, 20, 12, 12)
    scale = 1e-5 * np.abs(whole.relevance).max()
    np.testing.assert_allclose(parts.relevance, whole.relevance, rtol=0, atol=scale)
    np.testing.assert_allclose(parts.tensors["pool1"], whole.tensors["pool1"], rtol=0, atol=1e-5)
    for one, other in zip(parts.audit, whole.audit, strict=True):
        assert (one.node, one.rule) == (other.node, other.rule)
        np.testing.assert_allclose(one.arrived, other.arrived, rtol=1e-5, atol=1e-5)
    for k in (0, 7):
        single = lenet().explain(x[k : k + 1], composite=composite)
        np.testing.assert_allclose(single.relevance[0], whole.relevance[k], rtol=0, atol=scale)


def test_nothing_is_changed() -> None:
    model = lenet()
    x = model.read(PICTURES[:3])
    before = x.copy()
    constants = {name: value.copy() for name, value in model.graph.constants.items()}
    first = model.explain(x, composite="epsilon")
    kept = first.relevance.copy()
    second = model.explain(x, composite="epsilon")
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(first.relevance, kept)
    np.testing.assert_array_equal(second.relevance, kept)
    for name, value in constants.items():
        np.testing.assert_array_equal(model.graph.constants[name], value)
        assert not model.graph.constants[name].flags.writeable
    for value, name in ((model, "name"), (first, "target"), (model.graph, "output"), (model.labels, "count")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)
    assert model.program("epsilon") is model.program(lrptool.Composite.load("epsilon"))


def test_two_threads_at_once_get_what_one_gets() -> None:
    model = lrptool.load("lenet")
    x = RNG.random((6, 1, 28, 28)).astype(np.float32)
    jobs = {name: model.explain(x, composite=name).relevance for name in ("epsilon", "lrp-cmp")}
    right: list[bool] = []

    def work(name: str) -> None:
        right.extend(np.array_equal(model.explain(x, composite=name).relevance, jobs[name]) for _ in range(15))

    threads = [threading.Thread(target=work, args=(name,)) for name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert right == [True] * 30


def test_one_thread_equals_all_to_the_bit() -> None:
    x = lenet().read(PICTURES[:3])
    alone = lrptool.load("lenet", threads=1)
    for name in ("epsilon", "alpha2-beta1"):
        one = alone.explain(x, composite=name).relevance
        assert get_threads() == 1
        np.testing.assert_array_equal(one, lenet().explain(x, composite=name).relevance)
        assert get_threads() == len(os.sched_getaffinity(0))


def test_every_way_to_name_the_files() -> None:
    sha256 = hashlib.sha256((LENET / "lenet.caffemodel").read_bytes()).hexdigest()
    scores = lenet().predict(DIGIT).scores
    for model, weights in (
        (LENET, None), (str(LENET), None), (LENET / "deploy.prototxt", None), (LENET / "lenet.caffemodel", None),
        (LENET / "deploy.prototxt", LENET / "lenet.caffemodel"), ("mnist", None), ("lenet", LENET / "lenet.caffemodel"),
    ):  # fmt: skip
        loaded = lrptool.load(model, weights)
        assert (loaded.name, loaded.sha256, loaded.notes) == ("lenet", sha256, ())
        np.testing.assert_array_equal(loaded.predict(DIGIT).scores, scores)
    drawn = lrptool.load("lenet", "random:3")
    assert (drawn.sha256, drawn.random_weights) == (None, "random:3")
    assert "random (seed 3)" in " ".join(drawn.notes)


def test_preprocessing_that_is_said_goes_before_the_card(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8))
    pixels = np.asarray(image, np.float32)
    options: dict[str, Any] = {"fit": None, "invert": False}
    np.testing.assert_allclose(lrptool.load("lenet", **options).read(image)[0, 0], pixels / 256, rtol=1e-6)
    read = lrptool.load("lenet", **options, mean=[20], scale=0.5).read(image)
    np.testing.assert_allclose(read[0, 0], (pixels - 20) / 2, rtol=1e-6)
    read = lrptool.load("lenet", fit=None, invert=True, raw_scale=1, scale=1).read(image)
    np.testing.assert_allclose(read[0, 0], (255 - pixels) / 255, rtol=0, atol=1e-6)
    mean = RNG.random((1, 28, 28)).astype(np.float32)
    write_binaryproto(tmp_path / "mean.binaryproto", mean)
    read = lrptool.load("lenet", **options, mean=tmp_path / "mean.binaryproto", scale=1).read(image)
    np.testing.assert_allclose(read[0, 0], pixels - mean[0], rtol=1e-6)


def test_loading_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown model 'lennet'") as caught:
        lrptool.load("lennet")
    assert caught.value.hint == "did you mean 'lenet'?"
    with pytest.raises(ConfigError, match="unknown option 'raw_scal'") as caught_option:
        lrptool.load("lenet", raw_scal=1)
    assert caught_option.value.hint == "did you mean 'raw_scale'?"
    with pytest.raises(ConfigError, match=r"words\.txt: cannot be read"):
        lrptool.load("lenet", labels=tmp_path / "words.txt")
    with pytest.raises(LrpError, match="channels BGR, but the network takes 1"):
        lrptool.load("lenet", channels="BGR")
    (tmp_path / "two.txt").write_text("a\nb\n")
    model = lrptool.load("lenet", labels=tmp_path / "two.txt")
    assert model.notes == ("2 class names for 10 classes: names are left out",)
    with pytest.raises(InputError, match="the model's class names are not known"):
        model.explain(DIGIT, "a")


def test_explaining_that_fails() -> None:
    with pytest.raises(ConfigError, match="unknown start 'probability'"):
        lenet().explain(DIGIT, start="probability")
    with pytest.raises(ConfigError, match="unknown composite 'epsilonn'"):
        lenet().explain(DIGIT, composite="epsilonn")
    with pytest.raises(InputError, match="has no tensor 'pool9'"):
        lenet().explain(DIGIT, keep=["pool9"])
    with pytest.raises(NumericError, match="its scores are not finite"):
        lenet().predict(np.full((1, 1, 28, 28), 3e38, np.float32))


def test_scores_in_falling_order() -> None:
    prediction = lenet().predict([DIGIT, EIGHT], batch_size=1)
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities.sum(axis=1), 1, rtol=1e-6)
    top = prediction.top(3)
    assert (top.shape, list(top[:, 0])) == ((2, 3), [3, 8])
    assert (np.diff(np.take_along_axis(prediction.scores, top, 1), axis=1) <= 0).all()


def test_a_slim_strip_is_not_enlarged_beyond_reason() -> None:
    model = lenet()
    strip = Image.new("RGB", (2, 3000), "white")
    explanation = model.explain(np.ones((1, 1, 28, 28), np.float32))
    plain = dataclasses.replace(model, preprocessing=dataclasses.replace(model.preprocessing, fit=None))
    picture = save.picture(plain, explanation, 0, strip, "heatmap", save.Style())
    assert max(picture.size) <= 3000


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.ones((1, 1, 28, 28), np.complex64), "expected real numbers, found complex64"),
        (np.full((1, 1, 28, 28), 1e300), "expected finite float32 values"),
        (np.ones((1, 28, 28), np.float32), "expected shape"),
    ],
)
def test_an_array_is_checked_before_it_is_taken(array: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        lenet().explain(array)


def test_the_callers_mean_file_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("deploy.prototxt", "lenet.caffemodel"):
        (folder / name).write_bytes((LENET / name).read_bytes())
    card = (LENET / "card.yaml").read_text().replace("mean: [0]", "mean: mean.npy").replace("fit: mnist", "fit: null")
    (folder / "card.yaml").write_text(card)
    np.save(folder / "mean.npy", np.array([10], np.float32))
    np.save("mean.npy", np.array([200], np.float32))
    own, given = lrptool.load(folder), lrptool.load(folder, mean="mean.npy")
    np.testing.assert_allclose(given.read(DIGIT) - own.read(DIGIT), -190 * 0.00390625, atol=1e-5)
    (folder / "mean.npy").unlink()
    with pytest.raises(LrpError, match=r"mean\.npy"):
        lrptool.load(folder)
