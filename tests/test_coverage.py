"""docs/coverage.md says what is so: it is what the tests' cases come to now, and the tests it names exist."""

from __future__ import annotations

import subprocess
import sys

import onnx
import pytest

from lrptool.loaders.caffe import known_layer_types
from lrptool.ops import known_operators, operator
from tests import coverage
from tests.conftest import ROOT

written = coverage.TARGET.read_text(encoding="utf-8")


def test_it_is_up_to_date() -> None:
    version = ".".join(onnx.__version__.split(".")[:2])
    if f"with onnx {version};" not in written:
        pytest.skip(f"it was written with another onnx than {version}, whose own tests it names")
    assert coverage.contents()[0] == written, "python -m tests.coverage writes it anew"


def test_every_test_it_names_exists() -> None:
    ids = coverage.contents()[1]
    files = sorted({f"tests/{name.split('::')[0]}" for name in ids})
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:xdist", "--collect-only", "-q", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    found = {line.removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line}
    assert len(found) > 500
    assert [name for name in ids if name not in found] == []


def test_every_operator_and_layer_is_in_it() -> None:
    for op in known_operators():
        (row,) = (line for line in written.splitlines() if line.startswith(f"| **{op}** |"))
        rules = row.split("|")[4]
        assert (operator(op).default or "as the composite says") in rules
        assert "test_forward_under_onnxruntime[" in row
    assert all(kind in written for kind in known_layer_types())
