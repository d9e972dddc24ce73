"""The steps from an input to its line in the manifest.

*Fetch* its bytes, *open* them as the network takes them, *explain*, *draw* the bytes of its files, *keep* them. The
first and the last wait for disks and networks; the others need a processor.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrptool.api import Explanation, Model, meant, ranked, record_of, save
from lrptool.batch.items import Item
from lrptool.batch.job import Job
from lrptool.batch.records import DONE, Record
from lrptool.batch.stages import Drawn, Explained, Failed, Fetched, File, Ready, named
from lrptool.batch.store import Store
from lrptool.errors import DiskError, InputError, LrpError, NumericError
from lrptool.files import cannot_write
from lrptool.graph import Array
from lrptool.imaging import load_array, load_image

_BEST = 5
"""Classes whose scores a line of the manifest holds."""
_COMMON = ("model", "sha256", "composite", "weights")
_THUMBNAIL = 160
"""Longest side in pixels of a thumbnail on the contact sheet."""


class Bench:
    """Where inputs are worked on; its steps may run in several threads at a time.

    Parameters
    ----------
    model : Model
    job : Job
    store : Store, optional
        Where the relevance of all inputs goes.
    """

    def __init__(self, model: Model, job: Job, store: Store | None = None) -> None:
        self.model, self.job, self._store = model, job, store
        self._made: set[Path] = set()

    def fetch(self, item: Item) -> Fetched | Failed:
        """Get an input's bytes."""
        began = time.perf_counter()
        try:
            if item.problem is not None or item.origin is None:
                raise InputError(item.problem or f"{item.name}: cannot be read")
            contents = item.origin.read(item.name)
        except LrpError as error:
            return Failed(item, error, time.perf_counter() - began)
        return Fetched(item, contents, time.perf_counter() - began)

    def open(self, fetched: Fetched | Failed) -> Ready | Failed:
        """Make of an input's bytes what the network takes, and find out what is wished of it."""
        if isinstance(fetched, Failed):
            return fetched
        began, item, contents = time.perf_counter() - fetched.seconds, fetched.item, fetched.contents
        try:
            facts = {"input_size": len(contents), "input_sha256": hashlib.sha256(contents).hexdigest()}
            targets, against = self._classes(item)
            values, photo = self._opened(item, contents)
        except LrpError as error:
            return Failed(item, error, time.perf_counter() - began)
        return Ready(item, values, photo, targets, against, facts, time.perf_counter() - began)

    def _classes(self, item: Item) -> tuple[tuple[int | str, ...], int | str | None]:
        """Return the classes that the names in a wish mean; InputError, naming the input, where one means none."""
        wish, labels = item.wish, self.model.labels
        try:
            targets = tuple(dict.fromkeys(meant(target, labels) for target in wish.targets))
            return targets[: labels.count], None if wish.against is None else meant(wish.against, labels)
        except InputError as error:
            raise InputError(f"{item.name}: {error.message}", hint=error.hint) from None

    def _opened(self, item: Item, contents: bytes) -> tuple[Array, Image.Image | None]:
        """Return an input as the network takes it, and the photo it was."""
        if not (item.name.endswith(".npy") or item.row is not None):
            photo = load_image(contents, item.name)
            return self.model.read(photo), photo
        shape = self.model.graph.input.item_shape
        values = load_array(io.BytesIO(contents), shape, item.name)
        if item.row is not None:
            return values[item.row : item.row + 1], None
        if len(values) != 1:
            raise InputError(f"{item.name}: expected one input, found {len(values)}", hint="give the array as a file")
        return values, None

    def explain(self, group: Sequence[Ready]) -> Iterator[Explained | Failed]:
        """Explain inputs together; where one's numbers go wrong, the others get their turn without it.

        Inputs with the same kind of wish go through the network together, in their order.
        """
        for _, same in groupby(sorted(group, key=_kind), key=_kind):
            yield from self._together(list(same))

    def _together(self, group: Sequence[Ready]) -> Iterator[Explained | Failed]:
        """Explain inputs with the same number of targets and the same start."""
        began = time.perf_counter()
        opposed: Any = [ready.against for ready in group] if group[0].against is not None else None
        try:
            explanations = self.model.explain_each(
                np.concatenate([ready.values for ready in group]),
                [list(column) for column in zip(*(ready.targets for ready in group), strict=True)],
                self.job.composite,
                start=group[0].item.wish.start,
                against=opposed,
                batch_size=self.job.batch_size,
            )
        except NumericError as error:
            if len(group) == 1:
                yield Failed(group[0].item, error, time.perf_counter() - began)
                return
            for ready in group:
                yield from self._together([ready])
            return
        seconds = (time.perf_counter() - began) / len(group)
        for place, ready in enumerate(group):
            yield Explained(ready, tuple(explanations), place, seconds)

    def draw(self, outcome: Explained | Failed) -> Drawn | Failed:
        """Make the files of an input, in memory, and its line of the manifest."""
        if isinstance(outcome, Failed):
            return outcome
        began = time.perf_counter()
        try:
            return self._drawn(outcome, began)
        except LrpError as error:
            return Failed(outcome.item, error, outcome.seconds)

    def _drawn(self, outcome: Explained, began: float) -> Drawn:
        """Make the files of an input and its line of the manifest."""
        ready, k = outcome.ready, outcome.place
        # Two targets may mean one class of this picture: the best is also its number.
        distinct = list({int(one.target[k]): one for one in reversed(outcome.explanations)}.values())[::-1]
        first = distinct[0]
        probabilities = None if first.probabilities is None else first.probabilities[k]
        best = ranked(self.model, first.scores[k], probabilities, _BEST)
        facts = [record_of(self.model, one, k) for one in distinct]
        files = [file for one, said in zip(distinct, facts, strict=True) for file in self._files(outcome, one, said)]
        if "html" in self.job.formats:
            files.append(self._thumbnail(ready))
        # The rest is the same for all, and stands in run.json.
        results = [{key: value for key, value in said.items() if key not in _COMMON} for said in facts]
        record = named(ready.item, DONE) | dict(ready.facts) | {"wish": ready.item.wish.facts()}
        record |= {"prediction": best[0], "scores": {str(one["target"]): one["score"] for one in best}} | results[0]
        if len(results) > 1:
            record["others"] = results[1:]
        record["files"] = [file.proof() for file in files]
        return Drawn(outcome, tuple(distinct), tuple(files), record, time.perf_counter() - began)

    def keep(self, outcome: Drawn | Failed) -> Record:
        """Write the files of an input and return its line of the manifest; a full disk is raised."""
        if isinstance(outcome, Failed):
            return outcome.record()
        began = time.perf_counter()
        explained, record = outcome.explained, dict(outcome.record)
        try:
            for file in outcome.files:
                self._write(file)
            if self._store is not None:
                slot, values = outcome.item.slot, explained.ready.values
                record["store"] = self._store.put(slot, outcome.distinct, explained.place, values)
        except DiskError:
            raise
        except LrpError as error:
            return Failed(outcome.item, error, explained.seconds).record()
        record["error"] = None
        seconds = explained.ready.seconds + explained.seconds + outcome.seconds + time.perf_counter() - began
        record["seconds"] = round(seconds, 4)
        return record

    def _files(self, outcome: Explained, explanation: Explanation, facts: Mapping[str, Any]) -> Iterator[File]:
        """Yield the files of one class."""
        ready, k = outcome.ready, outcome.place
        record: Record = {"input": ready.item.name} | dict(facts)
        base = f"{ready.item.path}_{record['target']}"
        for form, view, ending in self.job.endings:
            contents = save.encode(self.model, explanation, k, ready.photo, form, view, self.job.style, record)
            yield File(f"{base}{ending}", view or form, contents)

    def _thumbnail(self, ready: Ready) -> File:
        """Return a small copy of what the network saw."""
        small = self.model.preprocessing.crop(ready.photo) if ready.photo is not None else _grey(ready.values)
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=80)
        return File(f"thumbnails/{ready.item.path}.jpg", "thumbnail", stream.getvalue())

    def _write(self, file: File) -> None:
        """Write one file."""
        path = self.job.folder / file.name
        if path.parent not in self._made:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(path.parent, error) from None
            self._made.add(path.parent)
        save.write(path, file.contents, force=True, workshop=self.job.parts)


def _kind(ready: Ready) -> tuple[int, str, bool]:
    """What inputs must have in common to be explained in one call."""
    return len(ready.targets), ready.item.wish.start or "", ready.against is not None


def _grey(values: Array) -> Image.Image:
    """An array as a picture: its channels' mean, from its smallest to its largest value."""
    plane = values[0].mean(axis=0)
    low, high = float(plane.min()), float(plane.max())
    return Image.fromarray(np.uint8((plane - low) * (255 / (high - low) if high > low else 0))).convert("RGB")
