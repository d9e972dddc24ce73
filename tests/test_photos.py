"""Photos through a published network: the object is named, and the heatmap lies on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrptool import Model, load
from tests.command import run

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the photo's width and height."""


@dataclass(frozen=True)
class Photo:
    """What a photo shows, and boxes drawn around it by hand."""

    label: str
    boxes: tuple[Box, ...]


PHOTOS = {
    "scooter10": Photo("motor scooter", ((0, 0.55, 0.42, 0.97), (0.54, 0.45, 0.82, 0.8))),
    "goldfish2": Photo("goldfish", ((0.03, 0.55, 0.56, 0.89), (0.35, 0.15, 0.86, 0.62))),
    "ladybug1": Photo("ladybug", ((0.28, 0.3, 0.76, 0.69),)),
    "volcano2": Photo("volcano", ((0.1, 0.13, 0.9, 0.48),)),
    "espresso1": Photo("espresso", ((0.33, 0.09, 0.9, 0.69),)),
}
COMPOSITES = ("lrp-cmp", "epsilon", "epsilon-plus", "alpha2-beta1")
CLEARLY = 1.3
"""Share of positive relevance in the boxes, over their share of the area."""


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    """Where the photos are."""
    if not (shared / "images" / "photos").is_dir() or not (shared / "models" / "squeezenet_v1.0").is_dir():
        pytest.skip("photos or SqueezeNet are not here")
    return shared / "images" / "photos"


@pytest.fixture(scope="module")
def squeezenet(shared: Path, folder: Path) -> Model:
    return load("squeezenet_v1.0", models_dir=shared / "models")


def inside(model: Model, path: Path, boxes: tuple[Box, ...]) -> np.ndarray:
    """Which of the network's pixels show the object, bool (H, W)."""
    with Image.open(path) as image:
        width, height = image.size
        left, top, right, bottom = model.preprocessing.crop_box(image.convert("RGB"))
    rows, columns = model.graph.input.item_shape[1:]
    y = (top + (np.arange(rows) + 0.5) / rows * (bottom - top))[:, None] / height
    x = (left + (np.arange(columns) + 0.5) / columns * (right - left))[None] / width
    return np.any([(x >= a) & (x <= c) & (y >= b) & (y <= d) for a, b, c, d in boxes], axis=0)


def on_object(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """Share of the positive relevance within the mask, over the mask's share of the area."""
    positive = np.maximum(heatmap, 0)
    return float(positive[mask].sum() / positive.sum() / mask.mean())


@pytest.mark.parametrize("name", PHOTOS)
def test_the_object_is_named_and_the_heatmap_lies_on_it(squeezenet: Model, folder: Path, name: str) -> None:
    path, photo = folder / f"{name}.jpg", PHOTOS[name]
    mask = inside(squeezenet, path, photo.boxes)
    # Boxes that cover everything would prove nothing.
    assert mask.mean() < 0.55
    for composite in COMPOSITES:
        result = squeezenet.explain(path, composite=composite)
        assert squeezenet.labels.name(int(result.target[0])) == photo.label
        assert on_object(result.heatmap[0], mask) > CLEARLY, composite


def test_a_map_upside_down_is_not_on_the_object(squeezenet: Model, folder: Path) -> None:
    # What the test above asks for is not met by just any map of a network.
    mask = inside(squeezenet, folder / "scooter10.jpg", PHOTOS["scooter10"].boxes)
    for composite in COMPOSITES:
        heatmap = squeezenet.explain(folder / "scooter10.jpg", composite=composite).heatmap[0]
        assert on_object(heatmap[::-1], mask) < 1, composite


def test_another_class_is_somewhere_else(squeezenet: Model, folder: Path) -> None:
    targets = ["motor scooter", "flagpole"]
    maps = [one.heatmap.ravel() for one in squeezenet.explain_each(folder / "scooter10.jpg", targets, "lrp-cmp")]
    correlation = np.corrcoef(maps)[0, 1]
    assert correlation < 0.5


def test_on_the_command_line(shared: Path, folder: Path, tmp_path: Path) -> None:
    photos = [folder / f"{name}.jpg" for name in PHOTOS]
    model = ("--models-dir", shared / "models", "--model", "squeezenet_v1.0")
    done = run("explain", *photos, *model, "--panel", "-o", tmp_path, "--json")
    assert done.code == 0
    said = done.records
    assert [one["label"] for one in said] == [photo.label for photo in PHOTOS.values()]
    assert said[0]["synset"] == "n03791053"
    assert Path(said[0]["files"][0]).name == "scooter10_motor_scooter.png"
    for one in said:
        with Image.open(one["files"][0]) as image:
            assert image.info["lrptool:label"] == one["label"]
            assert image.width > image.height
    words = run("explain", photos[0], *model, "-t", "n03791053", "-t", "moped", "-o", tmp_path / "x", "--json").records
    assert [one["label"] for one in words] == ["motor scooter", "moped"]
