"""The bundled model: it is what its card says, and as good as its card says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrptool import load
from lrptool.zoo import read_card
from tests.command import LENET, SAMPLES, lenet, run

CARD = read_card(LENET / "card.yaml")
PHOTO_SHOWS = 5


@pytest.fixture(scope="module")
def digits(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 10 000 test digits as the network takes them, float32 (N, 1, 28, 28), and what they are."""
    path = shared / "datasets" / "mnist.npz"
    if not path.is_file():
        pytest.skip("the test digits are not here")
    with np.load(path) as data:
        images, labels = data["test_images"], data["test_labels"]
    assert images.shape == (10_000, 28, 28)
    return (images[:, None] / 256).astype(np.float32), labels.astype(np.int64)


def stated() -> tuple[int, int, float]:
    """Right ones, all, and per cent, as the card has it."""
    found = re.match(r"(\d+) of the (\d+) MNIST test digits \((\d+\.\d+) %\)", CARD.accuracy)
    assert found
    return int(found[1]), int(found[2]), float(found[3])


def test_files_are_those_of_the_card() -> None:
    for file in CARD.files:
        contents = (LENET / file.name).read_bytes()
        assert (len(contents), hashlib.sha256(contents).hexdigest()) == (file.size, file.digests["sha256"])
    assert lenet().sha256 == CARD.file(CARD.weights).digests["sha256"]
    assert (LENET / CARD.weights).stat().st_size < 2_000_000
    assert lenet().notes == ()


def test_the_card_agrees_with_itself() -> None:
    right, count, share = stated()
    assert count == 10_000
    assert right / count >= 0.99
    assert f"{right / count:.2%}" == f"{share:.2f}%"


def test_all_samples_are_right() -> None:
    paths = sorted(SAMPLES.glob("*.png"))
    assert [int(path.stem[-1]) for path in paths] == list(range(10))
    prediction = lenet().predict(paths)
    assert list(prediction.top(1)[:, 0]) == list(range(10))
    assert prediction.probabilities is not None
    assert prediction.probabilities.max(axis=1).min() > 0.9
    (photo,) = SAMPLES.glob("*.jpg")
    assert list(lenet().predict(photo).top(1)[:, 0]) == [PHOTO_SHOWS]
    with Image.open(photo) as image:
        assert min(image.size) > 224


def test_a_digit_is_read_dark_on_light_and_at_any_size() -> None:
    with Image.open(SAMPLES / "digit_4.png") as image:
        white_on_black = image.convert("L")
    truth = lenet().predict(white_on_black).probabilities
    assert truth is not None
    black_on_white = white_on_black.point(lambda value: 255 - value)
    large = black_on_white.resize((300, 300), Image.Resampling.BICUBIC)
    sheet = Image.new("L", (600, 400), 255)
    sheet.paste(large, (250, 40))
    for picture in (black_on_white, large, sheet):
        odds = lenet().predict(picture).probabilities
        assert odds is not None
        assert odds[0].argmax() == 4
        assert odds[0, 4] > 0.9


def test_the_stated_accuracy_is_the_measured_one(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    found = lenet().predict(images, batch_size=100).top(1)[:, 0]
    assert (int((found == labels).sum()), len(labels)) == stated()[:2]


def test_the_command_line_measures_the_same(digits: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    for name, array in zip(("digits.npy", "labels.npy"), digits, strict=True):
        np.save(tmp_path / name, array)
    done = run("predict", tmp_path / "digits.npy", "-m", "lenet", "--expect", tmp_path / "labels.npy")
    right, count, share = stated()
    assert (done.code, done.err) == (0, "")
    assert done.text.startswith(f"lenet: top-1 {share:.2f}% ({right} of {count}), top-5 ")
    assert int(re.findall(r"\((\d+) of", done.text)[1]) > right


def test_relevance_lies_on_the_digit() -> None:
    for path in sorted(SAMPLES.glob("*.png")):
        x = lenet().read(path)
        stroke = x[0, 0] > 0
        for composite in ("epsilon", "alpha1-beta0"):
            heatmap = lenet().explain(path, composite=composite).heatmap[0]
            # These rules hand relevance to inputs in proportion to their values: black pixels get none.
            assert not heatmap[~stroke].any()
            assert heatmap[stroke].sum() > 0


def test_random_weights_say_so_everywhere() -> None:
    model = load("lenet", "random:11")
    assert model.notes == ("weights are random (seed 11): the scores mean nothing",)
    again, other = (load("lenet", f"random:{seed}") for seed in (11, 12))
    x = lenet().read(SAMPLES / "digit_1.png")
    np.testing.assert_array_equal(again.predict(x).scores, model.predict(x).scores)
    assert not np.array_equal(other.predict(x).scores, model.predict(x).scores)
