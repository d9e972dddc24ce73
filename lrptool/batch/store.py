"""Stores: the relevance of a whole batch in one HDF5 file or Zarr group, laid out as CoRelAy and ViRelAy read it.

``attribution`` float32 (rows, C, H, W), ``prediction`` float32 (rows, classes), ``label`` uint32 (rows,) the class
explained, ``index`` uint32 (rows,) the row itself in the input database, and ``done`` uint8 (rows,): 0 where an input
could not be explained. The input database has ``data`` float32 (rows, C, H, W), ``label`` and ``index``.

Source: the database specification in ViRelAy's documentation.
"""

from __future__ import annotations

import hashlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrptool.api import Explanation
from lrptool.errors import ConfigError
from lrptool.files import cannot_write
from lrptool.graph import Array

Layout = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of every dataset."""


def layouts(rows: int, shape: tuple[int, ...], classes: int, *, inputs: bool) -> dict[str, Layout]:
    """Return the datasets of the store, and of that of the inputs where it is wanted, by the names of their files."""
    common = {"label": ((rows,), "<u4"), "index": ((rows,), "<u4")}
    found: dict[str, Layout] = {
        "attribution": {
            "attribution": ((rows, *shape), "<f4"),
            "prediction": ((rows, classes), "<f4"),
            **common,
            "done": ((rows,), "|u1"),
        }
    }
    if inputs:
        found["input"] = {"data": ((rows, *shape), "<f4"), **common}
    return found


class Store(ABC):
    """Rows of relevance; each is written by whoever explained it, and read back to prove it.

    Parameters
    ----------
    files : mapping of Path to Layout
    """

    def __init__(self, files: Mapping[Path, Layout]) -> None:
        self.files = files

    @abstractmethod
    def create(self) -> None:
        """Make the files where they are not there in this layout; what another layout held is lost."""

    @abstractmethod
    def _write(self, path: Path, name: str, row: int, value: NDArray[Any]) -> None:
        """Write one row of a dataset."""

    @abstractmethod
    def _read(self, path: Path, name: str, row: int) -> bytes:
        """Return the bytes of one row of a dataset."""

    def put(self, slot: int, explanations: Sequence[Explanation], k: int, values: Array) -> dict[str, Any]:
        """Write picture `k` of some explanations to the rows from `slot`; return what proves them."""
        rows = list(range(slot, slot + len(explanations)))
        digest = hashlib.sha256()
        for row, explanation in zip(rows, explanations, strict=True):
            content = {
                "attribution": explanation.relevance[k],
                "data": values[0],
                "prediction": explanation.scores[k],
                "label": np.array(explanation.target[k]),
                "index": np.array(row),
                "done": np.array(1),
            }
            for path, layout in self.files.items():
                for name, (_, dtype) in layout.items():
                    value = np.ascontiguousarray(content[name], dtype)
                    digest.update(value.tobytes())
                    try:
                        self._write(path, name, row, value)
                    except OSError as error:
                        raise cannot_write(path, error) from None
        return {"rows": rows, "sha256": digest.hexdigest()}

    def proves(self, slot: int, said: Mapping[str, Any]) -> bool:
        """Whether the rows from `slot` hold what a line of the manifest says of them."""
        rows = said.get("rows")
        if not isinstance(rows, list) or not rows or rows[0] != slot:
            return False
        digest = hashlib.sha256()
        try:
            for row in rows:
                for path, layout in self.files.items():
                    for name in layout:
                        digest.update(self._read(path, name, row))
        except (OSError, IndexError, KeyError, ValueError):
            return False
        return digest.hexdigest() == said.get("sha256")


class Hdf5(Store):
    """A store in HDF5 files whose datasets have their places from the beginning.

    The file's structure is written once and never changes: rows go straight to their bytes. So a crash cannot damage
    the file, several processes may write at a time, and the bytes do not depend on who wrote when.
    """

    _places: Mapping[tuple[Path, str], tuple[int, int]] | None = None

    def create(self) -> None:
        """Make the files, all zeros."""
        h5py = _h5py()
        for path, layout in self.files.items():
            if _fits(h5py, path, layout):
                continue
            unfinished = path.with_name(f".{path.name}.part")
            try:
                with h5py.File(unfinished, "w", libver="earliest") as file:
                    for name, (shape, dtype) in layout.items():
                        _dataset(h5py, file, name, shape, dtype)
                unfinished.replace(path)
            except OSError as error:
                with suppress(OSError):
                    unfinished.unlink()
                raise cannot_write(path, error) from None

    def _place(self, path: Path, name: str) -> tuple[int, int]:
        """Where a dataset begins, and the bytes of a row."""
        if self._places is None:
            h5py = _h5py()
            found = {}
            for one, layout in self.files.items():
                with h5py.File(one, "r") as file:
                    for key, (shape, dtype) in layout.items():
                        found[one, key] = int(file[key].id.get_offset()), prod(shape[1:]) * np.dtype(dtype).itemsize
            self._places = found
        return self._places[path, name]

    def _write(self, path: Path, name: str, row: int, value: NDArray[Any]) -> None:
        begin, size = self._place(path, name)
        with path.open("r+b", buffering=0) as stream:
            stream.seek(begin + row * size)
            if stream.write(value.tobytes()) != size:
                raise OSError(28, "No space left on device")

    def _read(self, path: Path, name: str, row: int) -> bytes:
        begin, size = self._place(path, name)
        with path.open("rb", buffering=0) as stream:
            stream.seek(begin + row * size)
            return stream.read(size)


def _h5py() -> Any:
    """Import h5py."""
    try:
        import h5py  # noqa: PLC0415
    except ImportError:
        raise ConfigError("--save h5 needs h5py", hint="pip install 'lrptool[store]'") from None
    return h5py


def _dataset(h5py: Any, file: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Make a dataset that has its bytes at once, without writing them: zeros until somebody does."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_layout(h5py.h5d.CONTIGUOUS)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    how.set_obj_track_times(False)
    kind = h5py.h5t.py_create(np.dtype(dtype))
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), how)


def _fits(h5py: Any, path: Path, layout: Layout) -> bool:
    """Whether a file is there with these datasets."""
    try:
        with h5py.File(path, "r") as file:
            return all(
                name in file and file[name].shape == shape and file[name].dtype == np.dtype(dtype)
                for name, (shape, dtype) in layout.items()
            )
    except OSError:
        return False


class Zarr(Store):
    """A store in Zarr groups: a chunk per row of relevance, small datasets in chunks of a row as well."""

    _open: dict[Path, Any] | None = None

    def create(self) -> None:
        """Make the groups, all zeros."""
        zarr = _zarr()
        for path, layout in self.files.items():
            if self._fits(zarr, path, layout):
                continue
            try:
                shutil.rmtree(path, ignore_errors=True)
                group = zarr.open_group(path, mode="w", zarr_format=3)
                for name, (shape, dtype) in layout.items():
                    group.create_array(name, shape=shape, chunks=(1, *shape[1:]), dtype=dtype, fill_value=0)
            except OSError as error:
                raise cannot_write(path, error) from None

    def _fits(self, zarr: Any, path: Path, layout: Layout) -> bool:
        """Whether a group is there with these arrays."""
        try:
            group = zarr.open_group(path, mode="r")
            return all(name in group and group[name].shape == shape for name, (shape, _) in layout.items())
        except (OSError, ValueError, KeyError):
            return False

    def _array(self, path: Path, name: str) -> Any:
        """An open array."""
        if self._open is None:
            self._open = {}
        if path not in self._open:
            self._open[path] = _zarr().open_group(path, mode="r+")
        return self._open[path][name]

    def _write(self, path: Path, name: str, row: int, value: NDArray[Any]) -> None:
        self._array(path, name)[row] = value

    def _read(self, path: Path, name: str, row: int) -> bytes:
        return np.ascontiguousarray(self._array(path, name)[row]).tobytes()


def _zarr() -> Any:
    """Import zarr."""
    try:
        import zarr  # noqa: PLC0415
    except ImportError:
        raise ConfigError("--save zarr needs zarr", hint="pip install 'lrptool[store]'") from None
    return zarr


_KINDS: dict[str, type[Store]] = {"h5": Hdf5, "zarr": Zarr}


def store_of(kind: str, files: Mapping[Path, Layout]) -> Store:
    """Return a store of a kind (``h5``, ``zarr``)."""
    return _KINDS[kind](files)


def check_store(kind: str) -> None:
    """Raise ConfigError where the library for a kind of store is missing."""
    {"h5": _h5py, "zarr": _zarr}[kind]()


def open_store(path: Path, stack: ExitStack) -> Any:
    """Return the datasets of a store by their names, open until the stack ends."""
    if path.suffix == ".h5":
        return stack.enter_context(_h5py().File(path, "r"))
    return _zarr().open_group(path, mode="r")
