"""A model as an ONNX file that others can run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx.checker import ValidationError

from lrptool.api.checking import random_image
from lrptool.api.model import Model
from lrptool.api.stored import describe, unsaid
from lrptool.engine import allowed, difference, export, run_outside
from lrptool.errors import ModelError, NumericError, OutputError
from lrptool.files import refuse_existing

LARGEST = 2_000_000_000
"""Bytes of weights from which on they go into a file of their own: protobuf takes no messages beyond 2 GB."""
_DEFAULT = "probabilities"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A file that was written.

    Parameters
    ----------
    files : tuple of Path
        The model, and its weights where they are in a file of their own.
    bytes : int
        Of all files.
    opset : int
    output : str
        What the model hands out.
    difference : float
        The largest difference of scores between the model and the file under onnxruntime, relative to the largest
        score, for a random image.
    notes : tuple of str
        What the file does not say.
    """

    files: tuple[Path, ...]
    bytes: int
    opset: int
    output: str
    difference: float
    notes: tuple[str, ...] = ()


def convert(model: Model, path: str | Path, *, force: bool = False, softmax: bool = True) -> Conversion:
    """Write a model as an ONNX file.

    The file holds the network as it was read, with its names, an open batch, and what lrptool knows of its pictures and
    classes; `lrptool.load` reads that back, and explains as before. ONNX's checker has seen it and onnxruntime has run
    it before it takes its name.

    Parameters
    ----------
    model : Model
    path : str or Path
        Should end in ``.onnx``. Weights of 2 GB and more go into a file called like it with ``.data`` behind.
    force : bool
        Whether files that are there may be replaced.
    softmax : bool
        Whether the output are probabilities where the network makes them; scores otherwise.

    Raises
    ------
    OutputError
        A file is there already or cannot be written.
    ModelError
        The checker or onnxruntime refuses the result.
    NumericError
        Its scores are not those of the model.
    """
    path = Path(path)
    check_place(path, force=force)
    weights = path.with_name(f"{path.name}.data")
    wanted = (model.probabilities or _DEFAULT) if softmax and model.graph.head == "softmax" else None
    source = model.source
    made = export(source, probabilities=wanted, metadata=describe(model))
    apart = sum(len(tensor.raw_data) for tensor in made.graph.initializer) >= LARGEST
    targets = (path, weights) if apart else (path,)
    output, opset = made.graph.output[0].name, made.opset_import[0].version
    _refuse_existing(targets, force=force)
    with _unfinished(path.parent, path) as folder:
        part = folder / path.name
        _save(made, part, weights.name if apart else None)
        del made
        found = _compared(model, source.output, part)
        size = sum(file.stat().st_size for file in folder.iterdir())
        _refuse_existing(targets, force=force)
        # Weights first: a model without its weights is never there.
        for target in reversed(targets):
            (folder / target.name).replace(target)
    return Conversion(targets, size, opset, output, found, unsaid(model))


def check_place(path: Path, *, force: bool) -> None:
    """Raise OutputError where no model can be written; worth knowing before one is fetched and read."""
    if path.suffix != ".onnx":
        raise OutputError(f"{path}: expected a name that ends in .onnx")
    _refuse_existing([path], force=force)
    if not os.path.isdir(path.parent):  # noqa: PTH112  (a name too long is no folder either)
        raise OutputError(f"{path}: cannot be written: no folder {path.parent}", hint=f"mkdir -p {path.parent}")


def _refuse_existing(paths: Sequence[Path], *, force: bool) -> None:
    """Raise OutputError where one of some files is there and may not be replaced."""
    for path in paths:
        refuse_existing(path, force=force, elsewhere="another name for OUT.onnx keeps it")


@contextmanager
def _unfinished(parent: Path, path: Path) -> Iterator[Path]:
    """Make a folder for what is being written, and take it away in the end."""
    folder = parent / f".{path.name[:32]}.{secrets.token_hex(8)}.part"
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}", hint="choose another place"
        ) from None
    finally:
        with suppress(OSError):
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


def _save(made: onnx.ModelProto, part: Path, weights: str | None) -> None:
    """Write a model and let the checker see it."""
    onnx.save_model(made, part, save_as_external_data=weights is not None, location=weights, size_threshold=1024)
    try:
        onnx.checker.check_model(part, full_check=True)
    except (ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{part.name}: onnx refuses what was written: {reason}") from error


def _compared(model: Model, scores: str, part: Path) -> float:
    """Return how far the file's scores are from the model's; NumericError where that is too far.

    Probabilities would be 0 and 1 for about any scores of a random image: a copy of the file hands out the scores.
    """
    twin = part.with_name("twin.onnx")
    made = onnx.load(part, load_external_data=False)
    made.graph.output.insert(0, onnx.ValueInfoProto(name=scores))
    twin.write_bytes(made.SerializeToString())
    x = random_image(model)
    found = difference(model.output(x), run_outside(twin, {model.graph.input.name: x}, model.threads))
    twin.unlink()
    if not found <= allowed(model.output, x, found, f"model '{model.name}'"):
        raise NumericError(f"{part.name}: its scores differ from the model's by {found:.1e} of the largest")
    return found
