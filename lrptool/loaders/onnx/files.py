"""ONNX files: bytes to a model that is whole, and its stored tensors to arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, inliner, numpy_helper

from lrptool.errors import ModelError
from lrptool.loaders.binary import opened
from lrptool.loaders.onnx.wire import DamagedError, without_weights

MOST_NUMBERS = 2**28
"""Twice the weights of the largest published classifiers: beyond it a size is a slip, and memory would run out."""


def read_model(path: Path) -> tuple[ModelProto, str]:
    """Read an ONNX file.

    Parameters
    ----------
    path : Path
        The file; large weights, and those in files beside it, are read later.

    Returns
    -------
    model : ModelProto
        Its own functions written out, every name known to be text.
    sha256 : str
        Hex digest of the file.

    Raises
    ------
    ModelError
        The file cannot be read, is cut off, or holds no network.
    UnsupportedError
        It is a file of another kind.
    """
    model = ModelProto()
    size = 0
    try:
        with opened(path, "an ONNX file") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            with mmap(stream.fileno(), 0, access=ACCESS_READ) as data, memoryview(data) as view:
                size = len(view)
                slim = without_weights(view, path.name)
        model.ParseFromString(slim)
        # proto2 does not check text: damaged names must show here, not in the middle of a translation.
        intact = all(isinstance(name, str) for name in _names(model)) and model.ir_version > 0
    except (DamagedError, DecodeError, UnicodeDecodeError, RecursionError):
        intact = False
    if not intact:
        raise ModelError(
            f"{path}: cut off or not an ONNX file: its {size} bytes cannot be decoded",
            hint="fetch it again and compare its size and checksum with the publisher's",
        )
    for node in model.graph.node:
        # The long name of ONNX's own operators; nobody but a few exporters uses it.
        node.domain = "" if node.domain == "ai.onnx" else node.domain
    if not model.graph.node:
        raise ModelError(f"{path}: expected a network, found an ONNX file without any node")
    return (_without_functions(model, path) if model.functions else model), sha256


def _names(model: ModelProto) -> Iterator[str]:
    """Yield every name a translation will look at; damaged ones raise UnicodeDecodeError."""
    graphs: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    yield from (opset.domain for opset in model.opset_import)
    for graph in graphs:
        for node in graph.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
    for value in (*model.graph.input, *model.graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    yield from (tensor.name for tensor in model.graph.initializer)


def _without_functions(model: ModelProto, path: Path) -> ModelProto:
    """Return the model with the operators it defines itself written out."""
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # onnx's exceptions share no public base
        raise ModelError(f"{path}: its functions cannot be written out: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """The first line of a foreign message."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def array_of(tensor: TensorProto, folder: Path, where: str) -> NDArray[Any]:
    """Return a stored tensor's numbers in the type it is stored in.

    Parameters
    ----------
    tensor : TensorProto
    folder : Path
        Where files that it refers to lie.
    where : str
        The file, for messages.

    Raises
    ------
    ModelError
        Not as many numbers as the shape says, or a file of weights that is missing, too short or elsewhere.
    """
    where = f"{where}: tensor {tensor.name!r}"
    shape = tuple(tensor.dims)
    if min(shape, default=1) < 0 or prod(shape) > MOST_NUMBERS:
        raise ModelError(f"{where}: expected the shape of an array, found {shape}")
    if tensor.data_location == TensorProto.EXTERNAL:
        return _external(tensor, shape, folder, where)
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:  # what onnx raises depends on what is wrong
        raise ModelError(f"{where}: {shape} numbers of type {_type_name(tensor)} cannot be read from it") from error
    if array.shape != shape:
        raise ModelError(f"{where}: expected numbers of shape {shape}, found {array.shape}")
    return array


def _type_name(tensor: TensorProto) -> str:
    """The word for a tensor's type."""
    known = TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(tensor.data_type)) if tensor.data_type in known else str(tensor.data_type)


def _external(tensor: TensorProto, shape: tuple[int, ...], folder: Path, where: str) -> NDArray[Any]:
    """Return the numbers of a tensor that lie in a file of their own."""
    facts = {entry.key: entry.value for entry in tensor.external_data}
    name = facts.get("location", "")
    path = folder / name
    root = folder.resolve()
    if not name or Path(name).is_absolute() or ".." in Path(name).parts or root not in path.resolve().parents:
        raise ModelError(f"{where}: refers to {name!r}, expected a file in the model's own folder")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        offset, length = int(facts.get("offset", 0)), int(facts.get("length", -1))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{where}: its entry for the file {name!r} cannot be understood") from error
    bits = 4 if _type_name(tensor) in ("INT4", "UINT4") else 8 * dtype.itemsize
    needed = -(-prod(shape) * bits // 8)
    if length not in (-1, needed) or offset < 0:
        raise ModelError(f"{where}: {needed} bytes make {shape}, found {length} at {offset} in {name!r}")
    # An array of its own, filled from the file: no copy is made on the way.
    array = np.empty(needed if bits == 4 else shape, np.uint8 if bits == 4 else dtype)
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            found = stream.readinto(array.reshape(-1).view(np.uint8).data)
    except OSError as error:
        raise ModelError(
            f"{where}: its file {path} cannot be read: {error.strerror or error}",
            hint="weights kept beside the .onnx file belong to it: put both into one folder",
        ) from error
    if found != needed:
        raise ModelError(f"{where}: expected {needed} bytes at {offset} in {path}, found {found}")
    if bits == 4:
        return numpy_helper.to_array(TensorProto(data_type=tensor.data_type, dims=shape, raw_data=array.tobytes()))
    return array


def dense_of(tensor: onnx.SparseTensorProto, folder: Path, where: str) -> NDArray[Any]:
    """Return a tensor stored as values and their places."""
    shape = tuple(tensor.dims)
    if min(shape, default=0) < 1 or prod(shape) > MOST_NUMBERS:
        raise ModelError(f"{where}: tensor {tensor.values.name!r}: expected the shape of an array, found {shape}")
    values, indices = array_of(tensor.values, folder, where), array_of(tensor.indices, folder, where)
    dense = np.zeros(shape, values.dtype)
    steps = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    places = indices if indices.ndim == 1 else indices @ np.array(steps, np.int64)
    if values.shape != places.shape or (places.size and not 0 <= places.min() <= places.max() < dense.size):
        raise ModelError(f"{where}: tensor {tensor.values.name!r}: its values and their places do not fit")
    dense.reshape(-1)[places] = values
    return dense
