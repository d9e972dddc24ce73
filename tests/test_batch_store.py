"""Stores: the relevance of a whole batch in one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.batches import batch, digits, manifest, outputs
from tests.command import DIGIT, EIGHT, lenet


def opened(path: Path) -> Any:
    """The datasets of a store."""
    if path.suffix == ".h5":
        return pytest.importorskip("h5py", reason="h5py is not installed").File(path, "r")
    return pytest.importorskip("zarr", reason="zarr is not installed").open_group(path, mode="r")


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_rows_are_those_of_the_inputs(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("h5py" if kind == "h5" else "zarr", reason="the library for this store is not installed")
    (tmp_path / "broken.png").write_bytes(b"broken")
    out = tmp_path / "out"
    done = batch(DIGIT, tmp_path / "broken.png", EIGHT, "-o", out, "--save", f"{kind},input", "--top", 2)
    assert done.code == 8
    group, inputs = opened(out / f"attribution.{kind}"), opened(out / f"input.{kind}")
    expected = lenet().explain([DIGIT, EIGHT])
    # The layout that CoRelAy and ViRelAy read; nothing else is needed to open it.
    assert group["attribution"].shape == (6, 1, 28, 28)
    assert group["attribution"].dtype == group["prediction"].dtype == np.float32
    assert np.array_equal(np.asarray(group["attribution"])[[0, 4]], expected.relevance)
    assert np.array_equal(np.asarray(group["prediction"])[[0, 4]], expected.scores)
    assert np.asarray(group["done"]).tolist() == [1, 1, 0, 0, 1, 1]
    assert np.asarray(group["label"])[[0, 4]].tolist() == [3, 8]
    assert np.asarray(group["index"])[[0, 1, 4, 5]].tolist() == [0, 1, 4, 5]
    values = lenet().read([DIGIT, EIGHT])
    assert np.array_equal(np.asarray(inputs["data"])[[0, 1, 4, 5]], values[[0, 0, 1, 1]])
    assert np.array_equal(np.asarray(inputs["label"]), np.asarray(group["label"]))
    assert [line.get("store", {}).get("rows") for line in manifest(out)] == [[0, 1], None, [4, 5]]


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_a_row_that_is_damaged_is_done_again(tmp_path: Path, kind: str) -> None:
    library = pytest.importorskip("h5py" if kind == "h5" else "zarr", reason="the library is not installed")
    photos, out = digits(tmp_path / "photos", 10), tmp_path / "out"
    batch(photos, "-o", out, "--save", kind)
    before = outputs(out)
    path = out / f"attribution.{kind}"
    if kind == "h5":
        with library.File(path, "r+") as file:
            file["attribution"][3, 0, 5, 5] += 1
    else:
        array = library.open_group(path, mode="r+")["attribution"]
        array[3] = array[3] + 1
    assert outputs(out) != before
    done = batch(photos, "-o", out, "--save", kind)
    assert (done.code, done.err) == (0, "9 of 10 inputs are done already\n")
    assert outputs(out) == before
    assert "10 of 10" in batch(photos, "-o", out, "--save", kind).err


@pytest.mark.parametrize(("kind", "library"), [("h5", "h5py"), ("zarr", "zarr")])
def test_stores_need_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    done = batch(DIGIT, "-o", tmp_path / "out", "--save", kind)
    assert done.code == 6
    assert "pip install 'lrptool[store]'" in done.err
    assert not (tmp_path / "out").exists()
