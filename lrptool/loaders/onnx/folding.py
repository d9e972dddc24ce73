"""Operators whose inputs do not depend on the image, computed while the model is read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod

import numpy as np
from onnx import NodeProto, TypeProto, defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from lrptool.errors import ModelError, UnsupportedError
from lrptool.loaders.onnx.files import MOST_NUMBERS, one_line
from lrptool.loaders.onnx.layout import Numbers
from lrptool.loaders.onnx.network import called

_DRAWN = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_FEW = 64
"""Only arrays of so few numbers can say how large a result becomes."""


class Folding:
    """Computes nodes, one after the other.

    Parameters
    ----------
    where : str
        The file, for messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._left = 2 * MOST_NUMBERS

    def __call__(self, node: NodeProto, inputs: Sequence[Numbers | None], version: int) -> tuple[Numbers, ...]:
        """Return a node's outputs.

        Parameters
        ----------
        node : NodeProto
        inputs : sequence of array or None
            None for an input that is left out.
        version : int
            Of the set of operators.

        Raises
        ------
        ModelError
            Inputs that do not fit, or a result too large for memory.
        UnsupportedError
            An operator that cannot be computed ahead.
        """
        where = f"{self._where}: {called(node)}"
        if node.op_type in _DRAWN:
            raise UnsupportedError(f"{where}: draws at random", hint="export the network in evaluation mode")
        self._reserve(node, inputs, version, where)
        given = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None and name}
        wanted = [name for name in node.output if name]
        graph = helper.make_graph(
            [node],
            "folded",
            [helper.make_value_info(name, TypeProto()) for name in given],
            [helper.make_value_info(name, TypeProto()) for name in wanted],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                results = ReferenceEvaluator(model).run(wanted, given)
        except NotImplementedError as error:
            raise UnsupportedError(f"{where}: cannot be computed ahead: {one_line(error)}") from error
        except Exception as error:  # numpy and onnx raise what they like for inputs that do not fit
            raise ModelError(f"{where}: cannot be computed from its constants: {one_line(error)}") from error
        if any(isinstance(result, (list, dict)) or result is None for result in results):
            raise UnsupportedError(f"{where}: makes something other than an array")
        by_name = dict(zip(wanted, results, strict=True))
        return tuple(np.asarray(by_name[name]) if name else np.zeros(0) for name in node.output)

    def _reserve(self, node: NodeProto, inputs: Sequence[Numbers | None], version: int, where: str) -> None:
        """Refuse a result that would not fit into memory, before it is computed."""
        types, data = {}, {}
        for name, value in zip(node.input, inputs, strict=True):
            if value is not None and value.dtype.kind in "fiub":
                kind = helper.np_dtype_to_tensor_dtype(value.dtype)
                types[name] = helper.make_tensor_type_proto(kind, value.shape)
                if value.size <= _FEW:
                    data[name] = numpy_helper.from_array(value, name)
        try:
            schema = defs.get_schema(node.op_type, version, node.domain)
            found = shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=[helper.make_opsetid(node.domain, version)]
            )
        except Exception:  # an operator nobody knows, or inputs that do not fit: computing it will tell
            return
        for result in found.values():
            dims = result.tensor_type.shape.dim
            count = prod(dim.dim_value for dim in dims if dim.HasField("dim_value"))
            self._left -= count
            if count > MOST_NUMBERS or self._left < 0:
                raise ModelError(f"{where}: makes {count} numbers of its constants: more than any network has")
