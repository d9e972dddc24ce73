"""How fast each backward convolution of a network runs within the walk."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lrptool import Model
from lrptool.engine import Program, Step, initial_relevance, scores_of, set_threads
from tests.bench.partner import Partner, cores
from tests.bench.peak import OPERATIONS
from tests.bench.rows import PEAK, pictures
from tests.bench.timing import Clock, Rounds, Spread, interleaved
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


def measure_convolutions(model: Model, composite: str, rounds: Rounds, sgemm: Partner) -> Convolutions:
    """Walk one picture back again and again, with a clock on every convolution."""
    program = Program(
        model.graph, model.composite(composite), bounds=model.preprocessing.bounds(), threads=model.threads
    )
    clocks = {step.node.name: Clock(step.redistribute) for step in program.steps if step.node.op == "Conv"}
    program.steps = tuple(
        replace(step, redistribute=clocks.get(step.node.name, step.redistribute)) for step in program.steps
    )
    activations = program.forward(pictures(model, 1))
    output = activations[program.graph.output]
    relevance = initial_relevance(output, scores_of(output).argmax(axis=1))
    set_threads(model.threads or cores())

    def walk() -> dict[str, float]:
        program.backward(activations, relevance)
        return {name: clock.read() for name, clock in clocks.items()}

    seconds = interleaved([walk, lambda: {PEAK: sgemm.ask(do="measure")["seconds"]}], rounds)
    layers = [
        Layer(step.node.name, _shapes(program, step), operations(program.graph, step), seconds[step.node.name])
        for step in reversed(program.steps)
        if step.node.name in clocks
    ]
    return Convolutions(composite, model.threads, layers, OPERATIONS / Spread.of(seconds[PEAK]).median)


def _shapes(program: Program, step: Step) -> tuple[tuple[int, ...], tuple[int, ...]]:
    tensors = program.graph.tensors
    return tensors[step.node.inputs[0]].item_shape, tensors[step.node.outputs[0]].item_shape
