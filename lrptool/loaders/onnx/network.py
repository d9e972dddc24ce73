"""Which part of an ONNX graph leads from the image to the scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from lrptool.errors import ModelError, UnsupportedError, did_you_mean
from lrptool.graph import Head

_CARRIERS = frozenset({"Identity", "Cast", "CastLike", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""What may stand behind the last operator that makes probabilities or labels of scores."""
_PROBABILITIES = frozenset({"Softmax", "LogSoftmax"})
_READINGS = frozenset({"Sigmoid", "HardSigmoid", "ArgMax", "ArgMin", "TopK", "Hardmax", "Exp", "ZipMap", "Normalizer"})
"""What only says the same scores in another form."""
_FLOATS = frozenset(
    {TensorProto.UNDEFINED, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)


@dataclass(frozen=True, slots=True)
class Network:
    """The part of a model that leads from the image to the scores.

    Parameters
    ----------
    input : ValueInfoProto
        The image tensor.
    nodes : tuple of NodeProto
        In topological order, only those the scores need.
    output : str
        The tensor with the scores.
    head : {"softmax", "logits"}
    softmax : NodeProto or None
        The operator the scores were cut from, where it was one that makes probabilities.
    notes : tuple of str
    """

    input: ValueInfoProto
    nodes: tuple[NodeProto, ...]
    output: str
    head: Head
    softmax: NodeProto | None
    notes: tuple[str, ...]


def opsets(model: ModelProto) -> dict[str, int]:
    """Return the version of each set of operators a model speaks."""
    versions = {"" if opset.domain == "ai.onnx" else opset.domain: opset.version for opset in model.opset_import}
    versions.setdefault("", 1)
    return versions


def reads(node: NodeProto) -> Iterator[str]:
    """Yield the tensors a node reads, those that its inner graphs take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            yield from _free(inner)


def _free(graph: GraphProto) -> Iterator[str]:
    """Yield the tensors an inner graph takes from outside."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own.update(name for node in graph.node for name in node.output)
    for node in graph.node:
        yield from (name for name in reads(node) if name not in own)
    yield from (value.name for value in graph.output if value.name not in own)


def in_order(nodes: Sequence[NodeProto], known: Iterable[str], where: str) -> tuple[NodeProto, ...]:
    """Return nodes in an order in which each reads only what is there.

    Parameters
    ----------
    nodes : sequence of NodeProto
        In any order.
    known : iterable of str
        Tensors that are there from the start.
    where : str
        The file, for messages.

    Raises
    ------
    ModelError
        A node reads what nothing writes, two write one tensor, or nodes wait for each other in a circle.
    """
    there = set(known)
    writers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in writers or name in there:
                raise ModelError(f"{where}: {called(node)} writes {name!r}, which is there already")
            writers[name] = index
    waiting = [{name for name in reads(node) if name not in there} for node in nodes]
    readers: dict[str, list[int]] = {}
    for index, names in enumerate(waiting):
        for name in names:
            if name not in writers:
                raise ModelError(
                    f"{where}: {called(nodes[index])} reads {name!r}, which nothing writes",
                    hint=did_you_mean(name, {*there, *writers}),
                )
            readers.setdefault(name, []).append(index)
    # Of those that are ready, the first in the file: what is in order stays as it is.
    ready = [index for index, names in enumerate(waiting) if not names]
    order: list[int] = []
    while ready:
        index = heappop(ready)
        order.append(index)
        for name in filter(None, nodes[index].output):
            for reader in readers.get(name, ()):
                waiting[reader].discard(name)
                if not waiting[reader]:
                    heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(node for node, names in zip(nodes, waiting, strict=True) if names)
        raise ModelError(f"{where}: {called(stuck)} waits for its own output: the graph has a circle")
    return tuple(nodes[index] for index in order)


def called(node: NodeProto) -> str:
    """A node, for messages."""
    name = node.name or next(iter(node.output), "")
    return f"node {name!r} ({f'{node.domain}.' if node.domain not in ('', 'ai.onnx') else ''}{node.op_type})"


def select(model: ModelProto, output: str | None, where: str) -> Network:
    """Find the image and the scores, and keep what leads from one to the other.

    Parameters
    ----------
    model : ModelProto
    output : str or None
        The tensor that holds the scores or what is made of them; None: the output that most operators lead to.
    where : str
        The file, for messages.

    Raises
    ------
    ModelError
        Nodes that do not fit each other, no output, or no node between an input and an output.
    UnsupportedError
        The scores depend on several inputs.
    """
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = {value.name: value for value in graph.input if value.name not in stored}
    nodes = in_order(graph.node, stored | set(inputs), where)
    writers = {name: node for node in nodes for name in node.output}
    end = _chosen(graph, nodes, output, writers, where)
    tensor, head, softmax = _below(end, writers)
    kept = _needed(nodes, tensor)
    used = [name for name in inputs if any(name in reads(node) for node in kept)]
    if not kept or not used:
        raise ModelError(f"{where}: expected operators between an input and the scores {tensor!r}, found none")
    if len(used) > 1:
        raise UnsupportedError(
            f"{where}: the scores {tensor!r} depend on {len(used)} inputs: {', '.join(used)}; expected one, the image",
            hint="export the network with everything but the image as a constant",
        )
    notes = _notes(graph, end, tensor, writers)
    return Network(inputs[used[0]], kept, tensor, head, softmax, notes)


def _needed(nodes: Sequence[NodeProto], tensor: str) -> tuple[NodeProto, ...]:
    """Return the nodes a tensor depends on, in their order."""
    wanted, kept = {tensor}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(reads(node))
            kept.append(node)
    return tuple(reversed(kept))


def _chosen(
    graph: GraphProto, nodes: Sequence[NodeProto], wanted: str | None, writers: Mapping[str, NodeProto], where: str
) -> str:
    """Return the tensor that holds the scores or what is made of them."""
    if wanted is not None:
        if wanted not in writers:
            names = [value.name for value in graph.output]
            raise ModelError(
                f"{where}: has no tensor {wanted!r}", hint=f"outputs: {', '.join(names)}" if names else None
            )
        return wanted
    outputs = [value for value in graph.output if value.name in writers]
    if not outputs:
        raise ModelError(f"{where}: expected an output that a node writes, found none: is the file cut off?")
    depth: dict[str, int] = {}
    for node in nodes:
        level = 1 + max((depth.get(name, 0) for name in reads(node)), default=0)
        depth.update(dict.fromkeys(node.output, level))
    numbers = [value for value in outputs if value.type.tensor_type.elem_type in _FLOATS]
    return max(numbers or outputs, key=lambda value: depth[value.name]).name


def _below(end: str, writers: Mapping[str, NodeProto]) -> tuple[str, Head, NodeProto | None]:
    """Return the scores below what was made of them, the head, and the operator that made probabilities."""
    cut, head, softmax = end, "logits", None
    tensor = end
    while tensor in writers:
        node = writers[tensor]
        if node.op_type in _PROBABILITIES | _READINGS:
            cut = node.input[0]
            if node.op_type in _PROBABILITIES:
                head, softmax = "softmax", node
        elif node.op_type not in _CARRIERS:
            break
        if softmax is not None or not node.input:
            break
        tensor = node.input[0]
    return cut, "softmax" if head == "softmax" else "logits", softmax


def _notes(graph: GraphProto, end: str, tensor: str, writers: Mapping[str, NodeProto]) -> tuple[str, ...]:
    """Say what was cut and which outputs were left out."""
    notes = []
    if tensor != end:
        made = [op for op in _chain(end, tensor, writers) if op not in _CARRIERS and op not in _PROBABILITIES]
        if made:
            notes.append(f"the scores are {tensor!r}, below the last {' and '.join(dict.fromkeys(reversed(made)))}")
    others = [value.name for value in graph.output if value.name not in (end, tensor)]
    if others:
        notes.append(
            f"the scores are {tensor!r}; other outputs were left out: {', '.join(others)} (--head NAME takes one)"
        )
    return tuple(notes)


def _chain(end: str, tensor: str, writers: Mapping[str, NodeProto]) -> Iterator[str]:
    """Yield the operators between a tensor and what is made of it, the last one first."""
    while end != tensor:
        yield writers[end].op_type
        end = writers[end].input[0]
