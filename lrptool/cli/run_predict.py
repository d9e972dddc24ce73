"""What ``lrptool predict`` does once the model is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import click
import numpy as np

from lrptool.cli.sources import Failure, Source, in_batches, read_sources
from lrptool.cli.talk import complain, echo_json, plain
from lrptool.errors import ExitCode, InputError, LrpError

if TYPE_CHECKING:
    from lrptool.api import Model, Prediction

_BATCH = 16


def run(model: Model, images: Sequence[str], *, top: int, expect: str | None, as_json: bool) -> int:
    """Predict every picture; return the exit code."""
    truth = None if expect is None else _expected(expect, model)
    errors: list[LrpError] = []
    hits: list[tuple[bool, bool]] = []
    done = 0
    width = max(len(plain(name)) for name in images)
    for group in in_batches(read_sources(model, images), _BATCH):
        if isinstance(group, Failure):
            if truth is not None:
                # Whatever follows would be compared with the class of the picture before it.
                raise group.error
            complain(group.error, group.name)
            errors.append(group.error)
            continue
        prediction = model.predict(np.concatenate([source.values for source in group]))
        for k, source in enumerate(group):
            record = _record(model, source, prediction, k, top)
            if truth is not None:
                record |= _compare(record, prediction, k, truth, len(hits))
                hits.append((record["hit"], record["hit5"]))
                del record["hit5"]
            _tell(record, width, as_json=as_json, silent=truth is not None and not as_json)
            done += 1
    if truth is not None:
        _accuracy(hits, len(truth), model, as_json=as_json)
    return _exit_code(errors, done)


def _exit_code(errors: Sequence[LrpError], done: int) -> int:
    """0, 8 when some failed, the error's own when all did."""
    if not errors:
        return ExitCode.OK
    return ExitCode.PARTIAL if done else errors[0].exit_code


def _record(model: Model, source: Source, prediction: Prediction, k: int, top: int) -> dict[str, Any]:
    """Return one picture's result in plain values."""
    from lrptool.api import ranked

    probabilities = None if prediction.probabilities is None else prediction.probabilities[k]
    classes = ranked(model, prediction.scores[k], probabilities, top)
    return {"input": source.name, "model": model.name, "sha256": model.sha256, "predictions": classes}


def _tell(record: dict[str, Any], width: int, *, as_json: bool, silent: bool) -> None:
    """Print one picture's result, its name in at least `width` letters."""
    if silent:
        return
    if as_json:
        echo_json(record)
        return
    name = plain(record["input"])
    width = max(width, len(name))
    for k, entry in enumerate(record["predictions"]):
        probability = f"{entry['probability']:7.1%}" if "probability" in entry else ""
        shown = name if k == 0 else ""
        label = click.style(plain(entry["label"]), bold=k == 0)
        click.echo(f"{shown:{width}}  {probability}  {label} ({entry['target']})  score {entry['score']:.4g}")


def _expected(file: str, model: Model) -> list[int]:
    """Read the true classes: numbers from .npy, or one number or name per line."""
    try:
        if file.endswith(".npy"):
            return _expected_numbers(file, model)
        lines = Path(file).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a text file or .npy array"
        raise InputError(f"{file}: cannot be read: {reason}") from None
    return [model.labels.find(line) for line in lines if line.strip()]


def _expected_numbers(file: str, model: Model) -> list[int]:
    """Read the true classes from a .npy array."""
    values = np.load(file, allow_pickle=False)
    if not isinstance(values, np.ndarray):
        values.close()
        raise InputError(f"{file}: expected one array, found a .npz archive", hint="write it with numpy.save")
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"{file}: expected whole numbers of shape (N,), found {values.dtype} {values.shape}")
    if wrong := [int(value) for value in values if not 0 <= value < model.labels.count]:
        raise InputError(f"{file}: expected classes from 0 to {model.labels.count - 1}, found {wrong[0]}")
    return [int(value) for value in values]


def _compare(record: dict[str, Any], prediction: Prediction, k: int, truth: Sequence[int], done: int) -> dict[str, Any]:
    """Return the true class and whether it was found."""
    if done >= len(truth):
        raise InputError(f"--expect has {len(truth)} classes, but there are more pictures")
    five = prediction.top(5)[k]
    return {
        "expected": truth[done],
        "hit": record["predictions"][0]["target"] == truth[done],
        "hit5": bool(truth[done] in five),
    }


def _accuracy(hits: Sequence[tuple[bool, bool]], expected: int, model: Model, *, as_json: bool) -> None:
    """Print the share of right predictions."""
    if len(hits) != expected:
        raise InputError(f"--expect has {expected} classes, but {len(hits)} pictures could be read")
    first, five = (sum(column) for column in zip(*hits, strict=True))
    record = {"model": model.name, "pictures": len(hits), "top1": first / len(hits), "top5": five / len(hits)}
    if as_json:
        echo_json(record)
        return
    shares = (f"top-{k} {count / len(hits):.2%} ({count} of {len(hits)})" for k, count in ((1, first), (5, five)))
    click.echo(plain(f"{model.name}: {', '.join(shares)}"))
