"""ONNX models for the tests: small ones from a few lines, and ways to run them beside the graphs they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lrptool.engine import emit
from lrptool.graph import Graph, TensorSpec
from lrptool.loaders.onnx import load_onnx
from lrptool.loaders.onnx.layout import Known, Mode, Tensor
from lrptool.loaders.onnx.network import Network, in_order
from lrptool.loaders.onnx.translate.state import Translation
from lrptool.loaders.onnx.translate.walk import Walk
from lrptool.ops import GraphBuilder
from lrptool.rules import Composite

Numbers = NDArray[Any]
FIXTURES = Path(__file__).parent / "fixtures" / "onnx"
node = helper.make_node
LINEAR = ["Conv", "ConvTranspose", "Gemm", "MatMul"]


def composite(rule: object, dense: object = None, *first: dict[str, object]) -> Composite:
    """One rule on everything with weights (another one on dense layers), ε next to nothing elsewhere."""
    proportion, epsilon = {"name": "proportion", "epsilon": 1e-9}, {"name": "epsilon", "epsilon": 1e-9}
    rows = [
        *first,
        {"match": {"op": "BatchNormalization"}, "rule": epsilon},
        {"match": {"op": ["Gemm", "MatMul"]}, "rule": dense or rule},
        {"match": {"op": LINEAR}, "rule": rule},
        {"match": {"op": ["Sum", "AveragePool", "GlobalAveragePool", "ReduceMean"]}, "rule": proportion},
    ]
    return Composite.from_data({"name": "test", "rows": rows})


def model(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str],
    stored: Mapping[str, Numbers] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    kind: int = TensorProto.FLOAT,
    domains: Mapping[str, int] | None = None,
    listed: bool = False,
) -> ModelProto:
    """A model that reads ``x`` of a shape and writes ``y``; stored tensors are listed as inputs, too, where asked."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (stored or {}).items()]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    if listed:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    graph = helper.make_graph(
        nodes, "net", inputs, [helper.make_value_info(name, onnx.TypeProto()) for name in outputs], tensors
    )
    # A float is what outputs are unless an operator says otherwise; a rank is never stated.
    for value in graph.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    sets = [helper.make_opsetid("", opset)]
    sets += [helper.make_opsetid(name, version) for name, version in (domains or {}).items()]
    return helper.make_model(graph, opset_imports=sets, ir_version=3 if listed else 8)


def save(made: ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    """Write a model; return the path."""
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def load(made: ModelProto, folder: Path, **options: Any) -> Graph:
    """The graph a model becomes."""
    return load_onnx(save(made, folder), **options).graph


def session(made: ModelProto) -> onnxruntime.InferenceSession:
    """A session that says nothing and computes what is written, without fusing it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(made: ModelProto, x: Numbers, output: str | None = None) -> Numbers:
    """What onnxruntime makes of a model as it is."""
    if output is not None and output not in {value.name for value in made.graph.output}:
        made = ModelProto.FromString(made.SerializeToString())
        made.graph.output.append(helper.make_value_info(output, onnx.TypeProto()))
    made_session = session(made)
    (result,) = made_session.run([output] if output else None, {made_session.get_inputs()[0].name: x})[:1]
    return result


def run_graph(graph: Graph, x: Numbers) -> Numbers:
    """What onnxruntime makes of a graph of ours."""
    return run(emit(graph, [graph.output]), np.asarray(x, np.float32))


def without_biases(graph: Graph) -> Graph:
    """The network without anything that takes up relevance: biases, shifts, means and constant summands are zero."""
    zero: set[str] = set()
    for step in graph.nodes:
        constants = [name for name in step.inputs if name in graph.constants]
        if step.op in LINEAR:
            zero.update(step.inputs[2:])
        elif step.op == "BatchNormalization":
            zero.update(step.inputs[2:4])
        elif step.op in ("LayerNormalization", "GroupNormalization", "InstanceNormalization"):
            zero.update(step.inputs[2:])
        elif step.op in ("Sum", "Concat"):
            zero.update(constants)
    constants = {name: np.zeros_like(v) if name in zero else v for name, v in graph.constants.items()}
    return replace(graph, constants=constants)


def in_file(value: Numbers, tensor: Tensor) -> Numbers:
    """A tensor of the graph as the file lays it out."""
    if tensor.batch is None:
        return value
    moved = np.moveaxis(value, 0, tensor.batch + tensor.joined[0])
    end = tensor.batch + sum(tensor.joined) + 1
    return moved.reshape(*moved.shape[: tensor.batch], -1, *moved.shape[end:])


def through_graph(made: ModelProto, feeds: Mapping[str, Numbers], image: str, *, sizes: tuple[int, ...]) -> Numbers:
    """The first output of a model, all inputs but one taken as constants, computed by the graph it becomes.

    Shapes are computed for `sizes` of the batch, which is the image's first axis; without sizes the image is one item.
    """
    whole = ModelProto.FromString(made.SerializeToString())
    whole.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in feeds.items() if name != image
    )
    x, output = feeds[image], whole.graph.output[0].name
    known = {image, *(tensor.name for tensor in whole.graph.initializer)}
    (value,) = (value for value in whole.graph.input if value.name == image)
    network = Network(value, in_order(whole.graph.node, known, "test"), output, "logits", None, ())
    walk = Walk(whole, Path(), "test")
    item = x.shape[1:] if sizes else x.shape
    builder = GraphBuilder("g", TensorSpec(image, (None, *item)))
    translation = Translation(builder, Mode(sizes or (1,)), "test", walk.names(network))
    translation.values.update(walk.stored(network))
    translation.values[image] = Tensor(image, item, joined=(0, int(not sizes)))
    x = x if sizes else x[None]
    walk(network.nodes, translation)
    tensor = translation.values[output]
    if isinstance(tensor, Known):
        return tensor.array
    assert isinstance(tensor, Tensor)
    y = x if tensor.name == image else run_graph(translation.builder.finish(tensor.name, "logits"), x)
    return in_file(y, tensor)
