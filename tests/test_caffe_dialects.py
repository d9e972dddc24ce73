"""Texts as people publish them: each loads, has the scores it should have, and passes its check."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrptool import load
from lrptool.api import check
from lrptool.errors import UnsupportedError
from tests.caffe_dialects import DIALECTS, plain
from tests.caffe_families import FAMILIES
from tests.caffe_nets import layer


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_understood(tmp_path: Path, name: str) -> None:
    dialect, path = DIALECTS[name], tmp_path / "net.prototxt"
    text = dialect.text if isinstance(dialect.text, bytes) else dialect.text.encode()
    path.write_bytes(text)
    model = load(path, "random:0", input_shape=dialect.input_shape)
    assert (model.source.output, model.source.head) == (dialect.output, dialect.head)
    assert model.labels.count == dialect.classes
    report = check(model)
    assert report.ok, report.problems
    assert all(made.start for _, made in report.balances)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_passes_its_check(tmp_path: Path, name: str) -> None:
    family, path = FAMILIES[name], tmp_path / "deploy.prototxt"
    path.write_text(family.text)
    report = check(load(path, "random:0", input_shape=family.input_shape))
    assert report.ok, report.problems
    assert max(made.error for _, made in report.balances) < 1e-4


@pytest.mark.parametrize(
    ("kind", "options"),
    [("Python", 'python_param { module: "m" layer: "L" }'), ("LSTM", ""), ("RNN", ""), ("Recurrent", "")],
)
def test_layers_nobody_can_explain_are_refused_by_name(tmp_path: Path, kind: str, options: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        plain().replace(layer("prob", "Softmax", "scores", "prob"), layer("own", kind, "scores", "own", options))
    )
    with pytest.raises(UnsupportedError, match=f"'own'.*{kind}") as caught:
        load(path, "random:0")
    assert caught.value.hint
