"""Relevance that was kept: arrays of one input, and stores of a whole batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from lrptool.batch.records import records_in
from lrptool.batch.store import open_store
from lrptool.errors import InputError
from lrptool.graph import Array

ENDINGS = (".npy", ".npz", ".h5", ".zarr")


@dataclass(frozen=True, slots=True)
class Stored:
    """Relevance of one input for one class.

    Parameters
    ----------
    name : str
        Where it was kept.
    stem : str
        For names of files; may hold folders.
    relevance : float32 (C, H, W)
    record : mapping
        What is known of it, as `lrptool.api.record_of` says it; may be empty.
    """

    name: str
    stem: str
    relevance: Array
    record: Mapping[str, Any] = field(default_factory=dict)


def read_stored(name: str) -> Iterator[Stored]:
    """Yield all relevance in a file.

    Parameters
    ----------
    name : str
        A ``.npy`` array (C, H, W), a ``.npz`` archive or a ``.h5`` or ``.zarr`` store, as explain and batch write them.

    Raises
    ------
    InputError
        None of these, or damaged.
    """
    path = Path(name)
    if path.suffix not in ENDINGS:
        raise InputError(
            f"{name}: expected stored relevance ({', '.join(ENDINGS)}), found something else",
            hint="keep it with --save npy, npz, h5 or zarr",
        )
    if not path.exists():
        raise InputError(f"{name}: no such file")
    # Damaged files raise OSError, EOFError, KeyError, ValueError, BadZipFile …
    try:
        yield from _rows(path) if path.suffix in (".h5", ".zarr") else [_array(path)]
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"{name}: cannot be read: {' '.join(str(error).split())}") from None


def _array(path: Path) -> Stored:
    """Read what was kept of one input."""
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return Stored(str(path), path.stem, _checked(path, loaded))
    with loaded:
        record = json.loads(str(loaded["record"])) if "record" in loaded else {}
        return Stored(str(path), path.stem, _checked(path, loaded["relevance"]), record)


def _rows(path: Path) -> Iterator[Stored]:
    """Read a store row by row; its manifest and its run.json, where they lie beside it, say what the rows are."""
    tag = path.name.removeprefix("attribution").removesuffix(path.suffix)
    known = dict(_known(path.with_name(f"manifest{tag}.jsonl"), path.with_name(f"run{tag}.json")))
    with ExitStack() as stack:
        group = open_store(path, stack)
        count = len(group["attribution"])
        done = np.asarray(group["done"]) if "done" in group else np.ones(count)
        labels = np.asarray(group["label"])
        for row in map(int, np.flatnonzero(done)):
            record = known.get(row, {"target": int(labels[row]), "label": str(labels[row])})
            stem = f"{record['output']}_{record['target']}" if "output" in record else f"{path.stem}_{row:06d}"
            yield Stored(f"{path}[{row}]", stem, _checked(path, np.asarray(group["attribution"][row])), record)


def _known(manifest: Path, run: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what a manifest says of every row."""
    if not (manifest.exists() and run.exists()):
        return
    told = json.loads(run.read_text(encoding="utf-8"))
    common = {"model": told["model"]["name"], "sha256": told["model"]["sha256"], "composite": told["composite"]}
    for record in records_in(manifest):
        whole = {"input": record["input"], "output": record["output"]}
        results = [record, *record.get("others", [])]
        for row, result in zip(record.get("store", {}).get("rows", []), results, strict=False):
            yield row, result | common | whole


def _checked(path: Path, array: Any) -> Array:
    """Return relevance as float32 (C, H, W)."""
    if array.dtype.kind != "f" or array.ndim != 3 or 0 in array.shape:
        raise InputError(f"{path}: expected relevance float32 (C, H, W), found {array.dtype} {array.shape}")
    return np.asarray(array, np.float32)
