"""Relevance that is not finite in one picture of several: the others are done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lrptool.loaders.caffe import write_caffemodel
from tests.command import run

PROTOTXT = """
input: "data" input_shape { dim: 1 dim: 1 dim: 2 dim: 2 }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
"""


def test_one_picture_without_numbers_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(PROTOTXT)
    weights = np.array([[1, 1, 1, 1], [1, -1, 1, -1]], np.float32)
    write_caffemodel(Path("net.caffemodel"), "net", {"fc": ("InnerProduct", [weights, np.zeros(2, np.float32)])})
    # The second picture cancels: its score is exactly 0, and without ε its relevance is 0 / 0.
    np.save("a.npy", np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 2, 2))
    np.save("b.npy", np.array([1, -1, 2, -2], np.float32).reshape(1, 1, 2, 2))
    np.save("c.npy", np.array([4, 3, 2, 1], np.float32).reshape(1, 1, 2, 2))
    outcome = run(
        "explain", "a.npy", "b.npy", "c.npy", "-m", "net.prototxt", "-t", "0", "--rule", "epsilon", "--epsilon", "0",
        "--save", "npy", "--json",
    )  # fmt: skip
    assert outcome.code == 8
    assert [json.loads(line)["input"] for line in outcome.text.splitlines()] == ["a.npy", "c.npy"]
    assert "b.npy" in outcome.err
    assert "node 'fc' (Gemm), rule epsilon(epsilon=0): 4 of 4 relevances are not finite" in outcome.err
    assert sorted(path.name for path in tmp_path.glob("*_0.npy")) == ["a_0.npy", "c_0.npy"]
