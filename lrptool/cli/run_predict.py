"""What ``lrptool predict`` does once the model is there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lrptool.cli.sources import Failure, Source, in_batches, read_sources
from lrptool.cli.talk import complain
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
    for group in in_batches(read_sources(model, images), _BATCH):
        readable = [one for one in group if isinstance(one, Source)]
        prediction = model.predict(np.concatenate([one.values for one in readable])) if readable else None
        place = 0
        for one in group:
            if isinstance(one, Failure):
                if truth is not None:
                    # Whatever follows would be compared with the class of the picture before it.
                    raise one.error
                complain(one.error, one.name)
                errors.append(one.error)
            elif prediction is not None:
                record = _record(model, one, prediction, place, top)
                if truth is not None:
                    record |= _compare(record, prediction, place, truth, len(hits))
                    hits.append((record["hit"], record["hit5"]))
                    del record["hit5"]
                _tell(record, as_json=as_json, silent=truth is not None and not as_json)
                place += 1
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
    classes = []
    for index in prediction.top(top)[k]:
        entry: dict[str, Any] = {
            "target": int(index),
            "label": model.labels.name(int(index)),
            "score": round(float(prediction.scores[k, index]), 6),
        }
        if prediction.probabilities is not None:
            entry["probability"] = round(float(prediction.probabilities[k, index]), 6)
        if synset := model.labels.synset(int(index)):
            entry["synset"] = synset
        classes.append(entry)
    return {"input": source.name, "model": model.name, "sha256": model.sha256, "predictions": classes}


def _tell(record: dict[str, Any], *, as_json: bool, silent: bool) -> None:
    """Print one picture's result."""
    if silent:
        return
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
        return
    for k, entry in enumerate(record["predictions"]):
        probability = f"{entry['probability']:7.1%}" if "probability" in entry else ""
        name = record["input"] if k == 0 else " " * len(record["input"])
        label = click.style(entry["label"], bold=k == 0)
        click.echo(f"{name}  {probability}  {label} ({entry['target']})  score {entry['score']:.4g}")


def _expected(file: str, model: Model) -> list[int]:
    """Read the true classes: numbers from .npy, or one number or name per line."""
    try:
        if file.endswith(".npy"):
            values = np.load(file, allow_pickle=False)
            if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
                raise InputError(f"{file}: expected whole numbers of shape (N,), found {values.dtype} {values.shape}")
            if wrong := [int(value) for value in values if not 0 <= value < model.labels.count]:
                raise InputError(f"{file}: expected classes from 0 to {model.labels.count - 1}, found {wrong[0]}")
            return [int(value) for value in values]
        lines = Path(file).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file or .npy array"
        raise InputError(f"{file}: cannot be read: {reason}") from None
    return [model.labels.find(line) for line in lines if line.strip()]


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
        click.echo(json.dumps(record))
        return
    shares = (f"top-{k} {count / len(hits):.2%} ({count} of {len(hits)})" for k, count in ((1, first), (5, five)))
    click.echo(f"{model.name}: {', '.join(shares)}")
