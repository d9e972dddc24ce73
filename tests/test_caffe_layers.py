"""Every layer type: what onnxruntime computes of its translation against its definition, in numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrptool.loaders.caffe import known_layer_types
from lrptool.loaders.caffe.translate.registry import TRANSLATORS
from tests.caffe_cases import PLAIN, Case, X
from tests.caffe_cases_joined import JOINED
from tests.caffe_nets import INPUT, layer, load_text, run

CASES = [*PLAIN, *JOINED]
NOT_COMPUTED = {"Parameter", "DummyData", "Split"}
"""Tested as the surroundings of another layer."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_layer_computes_its_definition(tmp_path: Path, case: Case) -> None:
    text = INPUT + case.before + layer("x", case.kind, case.bottoms, case.tops, case.options) + case.after
    if case.after:
        text = text.replace('layer { name: "x"', 'layer { name: "first"', 1)
    loaded = load_text(tmp_path, text, {**case.more, ("first" if case.after else "x"): case.blobs})
    found = run(loaded.graph, X)[loaded.graph.output]
    expected = case.expected(X.astype(np.float32).astype(np.float64), *case.blobs)
    assert found.shape == expected.shape
    assert loaded.graph.tensors[loaded.graph.output].item_shape == expected.shape[1:]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


def test_every_layer_type_has_a_case() -> None:
    tried = {case.kind for case in CASES}
    assert set(known_layer_types()) - NOT_COMPUTED <= tried
    assert set(TRANSLATORS) >= NOT_COMPUTED


@pytest.mark.parametrize("case", [case for case in CASES if case.blobs], ids=str)
def test_every_layer_with_weights_takes_random_ones(tmp_path: Path, case: Case) -> None:
    text = INPUT + case.before + layer("x", case.kind, case.bottoms, case.tops, case.options) + case.after
    loaded = load_text(tmp_path, text)
    found = run(loaded.graph, 64 * X)[loaded.graph.output]
    assert np.isfinite(found).all()
    assert 1e-2 < found.std() < 1e4
