"""Families of published classifiers in miniature: they load, have the sizes of their papers, and score as in OpenCV."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lrptool.loaders.caffe import load_caffe
from tests.caffe_families import FAMILIES
from tests.caffe_nets import draw, run


def pixels(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).uniform(-128, 127, (2, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_loads_and_runs(tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    prototxt, weights = tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(family.text)
    drawn = draw(prototxt, weights, input_shape=family.input_shape)
    loaded = load_caffe(prototxt, weights, input_shape=family.input_shape)
    assert (loaded.graph.head, len(loaded.notes)) == (family.head, family.notes)
    for tensor, shape in family.shapes.items():
        assert loaded.graph.tensors[tensor].item_shape == shape
    ops = Counter(node.op for node in loaded.graph.nodes)
    assert {op: ops[op] for op in family.seen} == family.seen

    x = pixels(loaded.graph.input.item_shape)
    found = run(loaded.graph, x)[loaded.graph.output]
    assert np.isfinite(found).all()
    assert found.std() > 1e-3
    assert np.abs(found).max() < 1e6
    np.testing.assert_array_equal(run(drawn.graph, x)[drawn.graph.output], found)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.opencv])
def test_a_family_scores_as_in_opencv(tmp_path: Path, name: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless below 5 is not installed")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV reads no Caffe files")
    prototxt, weights = tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(FAMILIES[name].text)
    graph = draw(prototxt, weights).graph
    x = pixels(graph.input.item_shape)
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
    net.setInput(x, graph.input.name)
    expected = net.forward(graph.producers[graph.output].name)
    found = run(graph, x)[graph.output]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
