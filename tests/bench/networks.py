"""From what was named on the command line to files that every process of the bench can load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lrptool import Model, load
from lrptool.loaders.caffe import load_caffe, write_caffemodel
from lrptool.loaders.caffe.fillers import RandomWeights
from tests.bench.architectures import ARCHITECTURES

SEED = "random:0"


@dataclass(frozen=True)
class Network:
    """A model and its weights, as `lrptool.load` and the command line take them."""

    name: str
    model: str
    weights: str | None

    def load(self, threads: int) -> Model:
        return load(self.model, weights=self.weights, threads=threads)

    @property
    def options(self) -> list[str]:
        """The same for the command line."""
        return ["--model", self.model, *(["--weights", self.weights] if self.weights else [])]


def prepare(name: str, folder: Path) -> Network:
    """Return the network of that name, path or zoo entry; a prototxt without weights beside it gets seeded ones."""
    if name in ARCHITECTURES:
        path = folder / f"{name}.prototxt"
        path.write_text(str(ARCHITECTURES[name]()))
        return _with_drawn_weights(name, path, folder)
    path = Path(name)
    if path.suffix == ".prototxt" and not list(path.parent.glob("*.caffemodel")):
        return _with_drawn_weights(path.stem, path.resolve(), folder)
    return Network(
        path.stem if path.suffix == ".prototxt" else name, str(path.resolve()) if path.exists() else name, None
    )


def _with_drawn_weights(name: str, prototxt: Path, folder: Path) -> Network:
    """Write seeded weights as a caffemodel: a process that draws them would need memory that reading does not."""
    path = folder / f"{name}.caffemodel"
    store_drawn_weights(prototxt, path)
    return Network(name, str(prototxt), str(path))


def store_drawn_weights(prototxt: Path, caffemodel: Path) -> None:
    """Load an architecture with seeded weights and keep every blob that was drawn."""
    blobs: dict[str, tuple[str, Sequence[Any]]] = {}
    draw = RandomWeights.take

    def recorded(source: RandomWeights, item: Any, wanted: Sequence[Any], spread: float) -> tuple[Any, ...]:
        arrays = draw(source, item, wanted, spread)
        if arrays:
            blobs[item.layer.name] = (item.layer.type, arrays)
        return arrays

    with patch.object(RandomWeights, "take", recorded):
        load_caffe(prototxt, SEED)
    write_caffemodel(caffemodel, prototxt.stem, blobs)
