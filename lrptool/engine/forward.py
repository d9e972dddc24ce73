"""The forward pass: the graph spelled in ONNX and run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lrptool.engine.denominators import Beside
from lrptool.errors import ModelError
from lrptool.graph import Array, Graph, TensorSpec
from lrptool.kernels import MEMORY
from lrptool.ops import OnnxNode, operator
from lrptool.version import VERSION

OPSET = 17
IR_VERSION = 8
_FATAL = 4


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
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, NDArray[Any]] = dict(graph.constants)
    for node in graph.nodes:
        spelling = operator(node.op, node.name).spell(node, graph)
        nodes += [_node_proto(part) for part in spelling.nodes]
        constants.update(spelling.constants)
    nodes += [_node_proto(part) for part in beside.nodes.values()]
    constants.update(beside.constants)
    proto = helper.make_graph(
        nodes,
        graph.name or "network",
        [_value_info(graph.input)],
        [_value_info(replace(graph.tensors[beside.like.get(name, name)], name=name)) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lrptool",
        producer_version=VERSION,
    )


class Forward:
    """An onnxruntime session that hands out chosen tensors of a graph.

    Parameters
    ----------
    graph : Graph
    outputs : sequence of str
    threads : int
        Threads of the session; 0 lets onnxruntime choose.
    beside : Beside, optional
        What is computed along with the network; its results can be among the outputs.
    """

    def __init__(self, graph: Graph, outputs: Sequence[str], threads: int = 0, beside: Beside | None = None) -> None:
        beside = beside or Beside()
        self._input = graph.input.name
        # An output that is the graph's input needs no session to compute it.
        names = [name for name in dict.fromkeys(outputs) if name != graph.input.name]
        self._items = {name: graph.tensors[beside.like.get(name, name)].item_shape for name in names}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _FATAL
        # onnxruntime's threads go on spinning after a run; the kernels of the way back need the cores at once.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                emit(graph, names, beside).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise ModelError(f"model '{graph.name}': onnxruntime refuses it: {_first_line(error)}") from error

    def __call__(self, x: Array) -> Mapping[str, Array]:
        """Return the chosen tensors for a batch, float32 (N, C, H, W)."""
        x = np.ascontiguousarray(x, np.float32)
        # Results are written into memory that is used again, not into fresh pages.
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, x)
        values = {name: MEMORY.take((len(x), *shape), np.float32) for name, shape in self._items.items()}
        for name, value in values.items():
            binding.bind_output(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
        self._session.run_with_iobinding(binding)
        return values | {self._input: x}


def _first_line(error: Exception) -> str:
    """The first line of a foreign message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
