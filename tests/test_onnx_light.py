"""The nine published classifiers inside the onnx package, whose weights are computed when they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lrptool.engine import Program, canonise, initial_relevance, probabilities_of
from lrptool.loaders.onnx import load_onnx
from tests.onnxnets import Numbers, composite, run, run_graph, save, without_biases

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FILES = sorted(LIGHT.glob("light_*.onnx"))
HEADS = {"light_densenet121": "logits"}
SMALL = ("light_squeezenet", "light_shufflenet", "light_inception_v1", "light_densenet121", "light_resnet50")
"""Those whose weights fit into a test."""


def ramp(*shape: int) -> Numbers:
    """The input the stored outputs belong to."""
    return (np.arange(np.prod(shape), dtype=np.float32) / np.prod(shape)).reshape(shape).astype(np.float32)


def randomised(path: Path, seed: int = 0) -> ModelProto:
    """A light model with weights of its own instead of the same number everywhere."""
    made = onnx.load(path)
    rng = np.random.default_rng(seed)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    roles: dict[str, int] = {}
    for node in made.graph.node:
        if node.op_type == "BatchNormalization":
            roles.update(zip(node.input[1:], (1, 0, 0, 1), strict=True))
    kept = [node for node in made.graph.node if node.op_type != "ConstantOfShape"]
    for node in made.graph.node:
        if node.op_type != "ConstantOfShape":
            continue
        shape = tuple(shapes[node.input[0]])
        if roles.get(node.output[0]) == 1:
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            value = rng.normal(0, 0.1, shape) if shape else np.zeros(shape)
        made.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), node.output[0]))
    del made.graph.node[:]
    made.graph.node.extend(kept)
    names = {value.name for value in made.graph.input}
    made.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in made.graph.initializer
        if t.name not in names
    )
    return made


def test_there_are_nine() -> None:
    assert len(FILES) == 9


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_output(path: Path) -> None:
    """As the onnx package stores it; the batch of 1 in the file is open in the graph."""
    net = load_onnx(path)
    graph = net.graph
    assert graph.input.shape == (None, 3, 224, 224)
    assert graph.head == HEADS.get(path.stem, "softmax")
    assert net.notes == ()
    stored = numpy_helper.to_array(TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes()))
    scores = run_graph(graph, ramp(1, 3, 224, 224)).reshape(1, -1)
    result = probabilities_of(scores, "softmax") if graph.head == "softmax" else scores
    assert result is not None
    np.testing.assert_allclose(result.ravel(), stored.ravel(), rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_scores_with_random_weights(name: str, tmp_path: Path) -> None:
    """With weights that tell channels apart: as onnxruntime computes the file."""
    made = randomised(LIGHT / f"{name}.onnx")
    graph = load_onnx(save(made, tmp_path)).graph
    x = np.random.default_rng(1).normal(size=(1, 3, 224, 224)).astype(np.float32)
    ends = {node.output[0]: node for node in made.graph.node}
    end = ends[made.graph.output[0].name]
    tensor = end.input[0] if end.op_type == "Softmax" else end.output[0]
    wanted = run(made, x, tensor)
    scores = run_graph(graph, x)
    np.testing.assert_allclose(scores.ravel(), wanted.ravel(), rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    assert np.ptp(wanted) > 0


RULES = {"epsilon-plus": "zplus", "epsilon-alpha2-beta1": {"name": "alpha-beta", "alpha": 2, "beta": 1}}


EXPLAINED = [(f"light_{net}", rule) for net in ("squeezenet", "inception_v1") for rule in RULES]


@pytest.mark.parametrize(("name", "rule"), [*EXPLAINED, ("light_resnet50", "epsilon-plus")])
def test_explained(name: str, rule: str, tmp_path: Path) -> None:
    """All relevance of a batch of two reaches the pixels where no bias takes any."""
    graph = load_onnx(save(randomised(LIGHT / f"{name}.onnx"), tmp_path)).graph
    graph = canonise(without_biases(graph))
    program = Program(graph, composite(RULES[rule], {"name": "epsilon", "epsilon": 1e-9}))
    x = np.random.default_rng(2).normal(size=(2, 3, 224, 224)).astype(np.float32)
    activations = program.forward(x)
    start = initial_relevance(activations[graph.output], np.array([3, 7]))
    relevance = program.backward(activations, start)[graph.input.name]
    np.testing.assert_allclose(relevance.sum((1, 2, 3)), start.reshape(2, -1).sum(1), rtol=1e-3)
