"""How fast each backward convolution of a network runs, on the relevance and activations of a real walk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from lrptool import Model
from lrptool.engine import Program, Step, initial_relevance, scores_of, set_threads
from lrptool.graph import Graph
from lrptool.kernels import Place, Schedule
from tests.bench.partner import Partner, cores
from tests.bench.peak import OPERATIONS
from tests.bench.rows import PEAK, pictures
from tests.bench.timing import Rounds, Spread, interleaved
from tests.bench.work import operations


@dataclass(frozen=True)
class Layer:
    """Name, shapes in and out, floating-point operations, and seconds."""

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    operations: float
    seconds: list[float]

    @property
    def speed(self) -> float:
        return self.operations / Spread.of(self.seconds).median


@dataclass(frozen=True)
class Convolutions:
    """All convolutions of a network with one composite and one number of threads, and the peak in the same rounds."""

    composite: str
    threads: int
    layers: list[Layer]
    peak: float

    @property
    def speed(self) -> float:
        """Of all layers together."""
        seconds = sum(Spread.of(layer.seconds).median for layer in self.layers)
        return sum(layer.operations for layer in self.layers) / seconds


class Alone:
    """One step's tasks as a schedule of their own, on relevance and activations of a real walk.

    It answers what a step asks of the plan of a whole walk: where things lie.
    """

    def __init__(self, step: Step, graph: Graph, arrays: Mapping[str, np.ndarray]) -> None:
        self._graph, self.schedule = graph, Schedule(1, np.float32)
        arriving = self.schedule.named("/arriving", self.values(step.node.outputs[0]))
        step.add_to(self, [arriving])
        self._arrays = {name: np.ascontiguousarray(arrays[name]) for name in self.schedule.names & arrays.keys()}
        out = np.empty(self.values(step.inputs[0]), np.float32)
        self._arrays |= {"/arriving": np.ascontiguousarray(arrays["/arriving"]), "/out": out}

    def activation(self, name: str) -> Place:
        return self.schedule.named(name, self.values(name))

    def into(self, name: str) -> tuple[Place, bool]:
        return self.schedule.named("/out", self.values(name)), False

    def values(self, name: str) -> int:
        return prod(self._graph.tensors[name].item_shape)

    def __call__(self) -> float:
        began = time.perf_counter()
        self.schedule.run(self._arrays)
        return time.perf_counter() - began


def measure_convolutions(model: Model, composite: str, rounds: Rounds, sgemm: Partner) -> Convolutions:
    """Carry out every convolution of one picture's way back by itself, again and again."""
    program = Program(
        model.graph, model.composite(composite), bounds=model.preprocessing.bounds(), threads=model.threads
    )
    steps = [step for step in reversed(program.steps) if step.node.op == "Conv"]
    activations = program.forward(pictures(model, 1))
    output = activations[program.graph.output]
    start = initial_relevance(output, scores_of(output).argmax(axis=1))
    kept = program.backward(activations, start, keep=[step.node.outputs[0] for step in steps])
    set_threads(model.threads or cores())
    alone = {
        step.node.name: Alone(step, program.graph, {**activations, "/arriving": kept[step.node.outputs[0]]})
        for step in steps
    }
    walk = [lambda: {name: layer() for name, layer in alone.items()}]
    seconds = interleaved([*walk, lambda: {PEAK: sgemm.ask(do="measure")["seconds"]}], rounds)
    layers = [
        Layer(step.node.name, _shapes(program, step), operations(program.graph, step), seconds[step.node.name])
        for step in steps
    ]
    return Convolutions(composite, model.threads, layers, OPERATIONS / Spread.of(seconds[PEAK]).median)


def _shapes(program: Program, step: Step) -> tuple[tuple[int, ...], tuple[int, ...]]:
    tensors = program.graph.tensors
    return tensors[step.node.inputs[0]].item_shape, tensors[step.node.outputs[0]].item_shape
