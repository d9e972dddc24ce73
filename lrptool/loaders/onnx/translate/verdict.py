"""What onnx itself says of a node: asked when a translation fails, to tell a bad file from a defect of our own."""

from __future__ import annotations

from onnx import TensorProto, TypeProto, checker, defs, helper, numpy_helper, shape_inference

from lrptool.loaders.onnx.files import one_line
from lrptool.loaders.onnx.layout import Known, Tensor
from lrptool.loaders.onnx.translate.registry import Step

_IR_VERSION = 8
_FEW = 4096
"""Only arrays of so few numbers can be axes, sizes and the like."""


def input_types(step: Step) -> list[TypeProto | None]:
    """Return the type of every input of a node, for the first size of the batch; None for one that is left out."""
    types: list[TypeProto | None] = []
    for index in range(len(step.proto.input)):
        value = step.entry(index) if step.has(index) else None
        if isinstance(value, Tensor):
            types.append(helper.make_tensor_type_proto(TensorProto.FLOAT, value.shape(step.mode.sizes[0])))
        elif isinstance(value, Known):
            array = value.values[0]
            types.append(helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
        else:
            types.append(None)
    return types


def complaint(step: Step, domain: str) -> str | None:
    """Return what is wrong with a node by onnx's own definition of its operator; None where nothing is."""
    opsets = [helper.make_opsetid(domain, step.version)]
    context = checker.C.CheckerContext()
    context.ir_version = _IR_VERSION
    context.opset_imports = {domain: step.version}
    try:
        checker.check_node(step.proto, context)
        schema = defs.get_schema(step.proto.op_type, step.version, domain)
        types = dict(zip(step.proto.input, input_types(step), strict=True))
        data = {}
        for index, name in enumerate(step.proto.input):
            value = step.entry(index) if step.has(index) else None
            if isinstance(value, Known) and value.values[0].size <= _FEW:
                data[name] = numpy_helper.from_array(value.values[0], name)
        known = {name: kind for name, kind in types.items() if kind is not None}
        shape_inference.infer_node_outputs(schema, step.proto, known, data, opset_imports=opsets)
    except Exception as error:  # onnx's exceptions share no public base
        return one_line(error).removeprefix("[ShapeInferenceError] ")
    return None
