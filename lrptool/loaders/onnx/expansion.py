"""Operators that ONNX itself defines by simpler ones, written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx import AttributeProto, FunctionProto, NodeProto, defs

from lrptool.loaders.onnx.translate.registry import Step
from lrptool.loaders.onnx.translate.verdict import input_types


@dataclass(frozen=True, slots=True)
class Body:
    """What an operator is made of.

    Parameters
    ----------
    nodes : tuple of NodeProto
        They read and write the operator's own tensors.
    versions : dict of str to int
        Of the sets of operators they belong to.
    """

    nodes: tuple[NodeProto, ...]
    versions: dict[str, int]


def expand(step: Step, domain: str) -> Body | None:
    """Return what an operator is made of; None where ONNX does not define it by others."""
    try:
        schema: Any = defs.get_schema(step.proto.op_type, step.version, domain)
    except defs.SchemaError:
        return None
    function = _function(step, schema)
    if function is None:
        return None
    own = step.proto
    names = dict(zip(function.input, own.input, strict=False)) | dict(zip(function.output, own.output, strict=False))
    given = {name: value.default_value for name, value in schema.attributes.items() if value.default_value.name}
    given.update({attribute.name: attribute for attribute in (*function.attribute_proto, *own.attribute)})
    for name in (name for node in function.node for name in (*node.input, *node.output) if name):
        if name not in names:
            names[name] = "" if name in function.input else step.translation.tensor(f"{step.name}/{name}")
    nodes = tuple(_bound(node, names, given, f"{step.name}/{index}") for index, node in enumerate(function.node))
    return Body(nodes, {opset.domain: opset.version for opset in function.opset_import})


def _function(step: Step, schema: Any) -> FunctionProto | None:
    """Return an operator's definition, which may depend on the types of its inputs."""
    if schema.has_function:
        body: FunctionProto = schema.function_body
        return body
    if not schema.has_context_dependent_function:
        return None
    types = [b"" if kind is None else kind.SerializeToString() for kind in input_types(step)]
    version = max((v for v in schema.context_dependent_function_opset_versions if v <= step.version), default=0)
    if not version:
        return None
    function = FunctionProto()
    function.ParseFromString(
        schema.get_context_dependent_function_with_opset_version(version, step.proto.SerializeToString(), types)
    )
    return function if function.node else None


def _bound(node: NodeProto, names: Mapping[str, str], given: Mapping[str, AttributeProto], label: str) -> NodeProto:
    """Return a node of a definition, its inner graphs included, with the operator's own tensors and attributes."""
    made = NodeProto()
    made.CopyFrom(node)
    made.name = label
    made.input[:] = [names.get(name, name) for name in node.input]
    made.output[:] = [names.get(name, name) for name in node.output]
    del made.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name and attribute.ref_attr_name not in given:
            continue
        kept = made.attribute.add()
        kept.CopyFrom(given[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
        kept.name = attribute.name
        if kept.type == AttributeProto.GRAPH:
            inner = [_bound(part, names, given, f"{label}/{k}") for k, part in enumerate(attribute.g.node)]
            del kept.g.node[:]
            kept.g.node.extend(inner)
    return made
