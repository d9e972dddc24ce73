"""One network with one number of threads: forward pass, explanations, sgemm and other libraries taking turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime

from lrptool import Model
from lrptool.engine import emit
from tests.bench.partner import Partner
from tests.bench.peak import OPERATIONS
from tests.bench.timing import Clock, Rounds, Spread, Task, interleaved, timed
from tests.bench.work import backward_operations

FORWARD, PEAK = "forward", "peak"


@dataclass(frozen=True)
class Row:
    """What was measured of a composite; all seconds are per call, with `batch` pictures in it."""

    network: str
    composite: str
    batch: int
    threads: int
    forward: list[float]
    explain: list[float]
    backward: list[float]
    operations: float
    """Floating-point operations of the backward pass of the whole batch."""
    peak: float
    """Operations per second of sgemm in the same rounds."""
    peers: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return Spread.of(self.explain).median / Spread.of(self.forward).median

    @property
    def speed(self) -> float:
        """Operations per second of the backward pass alone."""
        return self.operations / Spread.of(self.backward).median


def pictures(model: Model, batch: int) -> np.ndarray:
    """Return seeded noise of about the range of mean-subtracted pixels, float32 (N, C, H, W)."""
    noise = np.random.default_rng(0).standard_normal((batch, *model.graph.input.item_shape), np.float32)
    return noise * np.float32(50)


def plain_session(model: Model) -> onnxruntime.InferenceSession:
    """Return onnxruntime on the network alone, with nothing set but the threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = model.threads
    graph = emit(model.graph, [model.graph.output]).SerializeToString()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def explain_task(model: Model, x: np.ndarray, composite: str) -> Task:
    """Return the task that explains the best class and says how much of it the walk back took."""
    program: Any = model.program(composite)
    if not isinstance(program.backward, Clock):
        program.backward = Clock(program.backward)

    def task() -> Mapping[str, float]:
        whole = timed(composite, lambda: model.explain(x, "top", composite))()
        return {**whole, f"{composite}/backward": program.backward.read()}

    return task


def measure(
    network: str,
    model: Model,
    session: onnxruntime.InferenceSession,
    composites: Sequence[str],
    batch: int,
    rounds: Rounds,
    sgemm: Partner,
    peers: Mapping[str, Task],
) -> list[Row]:
    """Return one row per composite.

    Parameters
    ----------
    session : InferenceSession
        The plain forward pass.
    peers : mapping of str to Task
        Tasks of other libraries, by ``library/composite``.
    """
    x = pictures(model, batch)
    tasks = [
        timed(FORWARD, lambda: session.run(None, {model.graph.input.name: x})),
        *(explain_task(model, x, composite) for composite in composites),
        *peers.values(),
        lambda: {PEAK: sgemm.ask(do="measure")["seconds"]},
    ]
    seconds = interleaved(tasks, rounds)
    return [
        Row(
            network,
            composite,
            batch,
            model.threads,
            seconds[FORWARD],
            seconds[composite],
            seconds[f"{composite}/backward"],
            batch * backward_operations(model.graph, model.program(composite).steps),
            OPERATIONS / Spread.of(seconds[PEAK]).median,
            {name: seconds[name] for name in peers if name.endswith(f"/{composite}")},
        )
        for composite in composites
    ]
