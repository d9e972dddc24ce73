"""A graph spelled in ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lrptool.engine.denominators import Beside
from lrptool.graph import Graph, TensorSpec
from lrptool.ops import OnnxNode, operator
from lrptool.version import VERSION

OPSET = 17
IR_VERSION = 8

_FED = {"Gemm": 1, "MatMul": 1}
"""Operators whose weights onnxruntime reads as they are given; which input these are."""
_LARGE = 1 << 20
_SMALL = 1 << 14
"""Bytes from which on constants are fed, and below which they stand in the model."""

Constants = dict[str, NDArray[Any]]


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    """Describe a float32 tensor; the batch stays open."""
    shape = ["N" if size is None else size for size in spec.shape]
    return helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, shape)


def _node_proto(node: OnnxNode) -> onnx.NodeProto:
    """Return the protobuf of one node."""
    proto = helper.make_node(node.op, list(node.inputs), list(node.outputs))
    for key, value in node.attributes.items():
        proto.attribute.append(helper.make_attribute(key, list(value) if isinstance(value, tuple) else value))
    return proto


@dataclass(frozen=True, slots=True)
class Lean:
    """A model without its large constants, which stay where they are.

    Parameters
    ----------
    model : onnx.ModelProto
    fed : dict of str to array
        Constants that are inputs of the model: never copied.
    outside : dict of str to array
        Initializers whose values the session is handed.
    """

    model: onnx.ModelProto
    fed: Constants = field(default_factory=dict)
    outside: Constants = field(default_factory=dict)


def emit(graph: Graph, outputs: Sequence[str], beside: Beside | None = None) -> onnx.ModelProto:
    """Return the ONNX model that computes the tensors `outputs` of a graph.

    Parameters
    ----------
    graph : Graph
    outputs : sequence of str
        Tensors of the graph, or results of `beside`, to hand out, in this order.
    beside : Beside, optional
        What is computed along with the network.
    """
    beside = beside or Beside()
    nodes, constants = _spelled(graph, beside)
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return _model(graph, outputs, beside, nodes, initializers, [_value_info(graph.input)])


def emit_lean(graph: Graph, outputs: Sequence[str], beside: Beside) -> Lean:
    """Return the same with its large constants left out."""
    return _lean(graph, outputs, beside, *_spelled(graph, beside), [graph.input])


def emit_beside(graph: Graph, beside: Beside) -> Lean:
    """Return what computes the results of `beside` alone, given the tensors of the network that it reads."""
    nodes = [_node_proto(part) for part in beside.nodes.values()]
    read = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in beside.constants.items() if name in read}
    constants |= {name: graph.constants[name] for name in graph.constants if name in read}
    inputs = [spec for name, spec in graph.tensors.items() if name in read]
    return _lean(graph, list(beside.like), beside, nodes, constants, inputs)


def _lean(
    graph: Graph,
    outputs: Sequence[str],
    beside: Beside,
    nodes: Sequence[onnx.NodeProto],
    constants: Constants,
    given: Iterable[TensorSpec],
) -> Lean:
    """Return the model of some nodes without its large constants."""
    uses = [(node.op_type, k, name) for node in nodes for k, name in enumerate(node.input)]
    elsewhere = {name for op, k, name in uses if _FED.get(op) != k}
    weights = {name for op, k, name in uses if _FED.get(op) == k} - elsewhere
    fed = {name: constants[name] for name in weights & constants.keys() if constants[name].nbytes >= _LARGE}
    rest = {name: value for name, value in constants.items() if name not in fed}
    outside = {name: value for name, value in rest.items() if value.nbytes >= _SMALL}
    initializers = [
        _absent(name, value) if name in outside else numpy_helper.from_array(np.asarray(value), name)
        for name, value in rest.items()
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in fed.items()]
    inputs = [*map(_value_info, given), *inputs]
    return Lean(_model(graph, outputs, beside, nodes, initializers, inputs), fed, outside)


def _spelled(graph: Graph, beside: Beside) -> tuple[list[onnx.NodeProto], Constants]:
    """Return all nodes and the constants they need."""
    nodes: list[onnx.NodeProto] = []
    constants: Constants = dict(graph.constants)
    for node in graph.nodes:
        spelling = operator(node.op, node.name).spell(node, graph)
        nodes += [_node_proto(part) for part in spelling.nodes]
        constants.update(spelling.constants)
    nodes += [_node_proto(part) for part in beside.nodes.values()]
    constants.update(beside.constants)
    return nodes, constants


def _absent(name: str, value: NDArray[Any]) -> TensorProto:
    """Return an initializer without its values."""
    proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape, data_location=TensorProto.EXTERNAL)
    for key, entry in (("location", "memory"), ("offset", "0"), ("length", str(value.nbytes))):
        proto.external_data.add(key=key, value=entry)
    return proto


def _model(
    graph: Graph,
    outputs: Sequence[str],
    beside: Beside,
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[TensorProto],
    inputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """Put a model together."""
    proto = helper.make_graph(
        nodes,
        graph.name or "network",
        inputs,
        [_value_info(replace(graph.tensors[beside.like.get(name, name)], name=name)) for name in outputs],
        initializers,
    )
    return helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lrptool",
        producer_version=VERSION,
    )
