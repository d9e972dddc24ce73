"""Published architectures with seeded weights: the same scores as OpenCV's reader computes from the same two files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.caffe_nets import draw, run
from tests.conftest import SHARED

cv2 = pytest.importorskip("cv2", reason="opencv-python-headless below 5 is not installed")

TEXTS = sorted((SHARED / "zoo" / "prototxt").glob("*.prototxt"))
SIZES = {"cifar10_full_sigmoid_bn.train_test": (3, 32, 32)}
"""Where a text does not say it."""

pytestmark = [
    pytest.mark.skipif(not TEXTS, reason="reference data (../shared) is not here"),
    pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromCaffe"), reason="this OpenCV reads no Caffe files"),
]


def layers_of(text: str) -> list[str]:
    """Cut a text before every layer; the first piece is what stands in front of them."""
    return re.split(r"(?m)^(?=layers?\s*\{)", text)


def without_phases(text: str, size: tuple[int, int, int]) -> str:
    """OpenCV keeps the layers of both phases and trips over the second data layer: leave out what only trains."""
    head, *layers = layers_of(text)
    training = re.compile(r'type: "(Data|Accuracy|SoftmaxWithLoss)"|name: "loss[12]/')
    kept = [layer for layer in layers if not training.search(layer)]
    dims = " ".join(f"dim: {value}" for value in (1, *size))
    return f'{head} input: "data" input_shape {{ {dims} }}\n' + "".join(kept)


def with_plain_gates(text: str) -> str:
    """OpenCV's Axpy takes the batch axis of a gate (N, C, 1, 1) for its channels: spell gate · x + y in two layers."""
    pieces = []
    for layer in layers_of(text):
        if 'type: "Axpy"' not in layer:
            pieces.append(layer)
            continue
        gate, x, y = re.findall(r'bottom: "(.*?)"', layer)
        (top,) = re.findall(r'top: "(.*?)"', layer)
        pieces.append(
            f'layer {{ name: "{top}/flat" type: "Flatten" bottom: "{gate}" top: "{top}/flat" }}\n'
            f'layer {{ name: "{top}/gated" type: "Scale" bottom: "{x}" bottom: "{top}/flat" top: "{top}/gated"'
            f" scale_param {{ axis: 0 }} }}\n"
            f'layer {{ name: "{top}" type: "Eltwise" bottom: "{top}/gated" bottom: "{y}" top: "{top}" }}\n'
        )
    return "".join(pieces)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_published_architectures_score_as_in_opencv(tmp_path: Path, path: Path) -> None:
    weights = tmp_path / "net.caffemodel"
    graph = draw(path, weights, input_shape=SIZES.get(path.stem)).graph
    size = graph.input.item_shape
    text = path.read_text()
    if "train" in path.stem:
        text = without_phases(text, (size[0], size[1], size[2]))
    prototxt = tmp_path / "deploy.prototxt"
    prototxt.write_text(with_plain_gates(text))

    x = np.random.default_rng(0).uniform(-128, 127, (1, *size)).astype(np.float32)
    found = run(graph, x)[graph.output]
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
    net.setInput(x, graph.input.name)
    expected = net.forward(graph.producers[graph.output].name)
    assert found.shape == expected.shape
    assert found.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
