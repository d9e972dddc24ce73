"""Going from node to node: what is constant is computed, what is not is translated."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper

from lrptool.errors import LrpError, UnsupportedError, did_you_mean
from lrptool.loaders.onnx.expansion import expand
from lrptool.loaders.onnx.files import array_of, dense_of
from lrptool.loaders.onnx.folding import Folding
from lrptool.loaders.onnx.layout import Known, NotBatchFirst, Tensor, Unit
from lrptool.loaders.onnx.network import Network, called, in_order, opsets, reads
from lrptool.loaders.onnx.translate.elementwise import NUMPY_BROADCASTING, operands
from lrptool.loaders.onnx.translate.quantised import scale_by_unit
from lrptool.loaders.onnx.translate.registry import TAKES_WHOLE, TRANSLATORS, Step
from lrptool.loaders.onnx.translate.state import Translation, Value
from lrptool.loaders.onnx.translate.verdict import complaint

_DECIDES = "export the network without decisions on values of the image"
_WHY = {
    **dict.fromkeys(("Loop", "Scan"), "export the network with its loops written out"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent layers cannot be explained"),
    **dict.fromkeys(("NonMaxSuppression", "RoiAlign", "MaxRoiPool"), "detectors cannot be explained, classifiers can"),
    **dict.fromkeys(("NonZero", "Unique", "Compress", "Equal", "Greater", "Less", "Not", "Sign", "If"), _DECIDES),
}
"""What to do about operators that cannot be translated, where a similar name would not help."""
_FIRST_COMPUTED = {"DequantizeLinear": 19, "Dropout": 7, "Clip": 6, "Reshape": 5}
"""The first version that onnx itself can compute, where that is not the first; it means the same."""
Versions = Mapping[str, int]


class Walk:
    """What a translation needs of a model, whichever way the batch is read.

    Parameters
    ----------
    model : ModelProto
    folder : Path
        Where files that it refers to lie.
    where : str
        The file, for messages.
    """

    def __init__(self, model: ModelProto, folder: Path, where: str) -> None:
        self.where = where
        self._folder, self._graph = folder, model.graph
        self._versions = opsets(model)
        self.version = self._versions[""]
        self._stored: dict[str, Value] | None = None
        self._folding = Folding(where)

    def names(self, network: Network) -> set[str]:
        """Return every name of a tensor, so that helpers do not take one."""
        names = {network.input.name, *(tensor.name for tensor in self._graph.initializer)}
        for node in network.nodes:
            names.update(node.input, node.output)
        return names

    def stored(self, network: Network) -> Mapping[str, Value]:
        """Return the stored tensors that a network needs, read once."""
        if self._stored is None:
            wanted = {name for node in network.nodes for name in reads(node)}
            self._stored = self._read(self._graph, wanted)
        return self._stored

    def _read(self, graph: GraphProto, wanted: Container[str]) -> dict[str, Value]:
        """Return stored tensors as values."""
        found: dict[str, Value] = {}
        for tensor in graph.initializer:
            if tensor.name in wanted:
                found[tensor.name] = Known((array_of(tensor, self._folder, self.where),), tensor.name)
        for thin in graph.sparse_initializer:
            if thin.values.name in wanted:
                found[thin.values.name] = Known((dense_of(thin, self._folder, self.where),), thin.values.name)
        return found

    def __call__(self, nodes: Iterable[NodeProto], translation: Translation, versions: Versions | None = None) -> None:
        """Take nodes, in order, into a graph in the making; versions are the model's own unless said otherwise."""
        for node in nodes:
            spoken = self._versions if versions is None else versions
            domain = "" if node.domain == "ai.onnx" else node.domain
            step = Step(node, translation, spoken.get(domain, 1))
            try:
                self._take(step, domain, spoken)
            except NotBatchFirst as error:
                raise error.at(f"{self.where}: {called(node)}") from None
            except LrpError:
                raise
            except Exception as error:
                wrong = complaint(step, domain)
                if wrong is None:  # a defect of our own
                    raise
                raise step.malformed(wrong) from error

    def _take(self, step: Step, domain: str, versions: Versions) -> None:
        """Take one node: compute it, translate it, or go into what it is made of."""
        node, translation = step.proto, step.translation
        values = [translation.values.get(name) for name in node.input if name]
        tensors = [value for value in values if isinstance(value, Tensor)]
        if (domain, node.op_type) == ("", "If") and isinstance(step.value(0), Known):
            self._branch(step, versions)
        elif node.op_type == "Mul" and any(isinstance(value, Unit) for value in values):
            scale_by_unit(step)
        elif not tensors and not any(attribute.type == AttributeProto.GRAPH for attribute in node.attribute):
            self._fold(step, domain)
        elif any(tensor.whole for tensor in tensors) and (domain, node.op_type) not in TAKES_WHOLE:
            raise step.unsupported("computes in whole numbers", "give the network from before it was quantised")
        elif (domain, node.op_type) in TRANSLATORS:
            TRANSLATORS[domain, node.op_type](step)
        else:
            body = expand(step, domain)
            if body is None:
                raise self._unknown(step, domain)
            self(body.nodes, translation, {**versions, **body.versions})

    def _fold(self, step: Step, domain: str) -> None:
        """Compute a node, for every size of the batch where its inputs depend on it."""
        node, version = step.proto, step.version
        if (domain, node.op_type) == ("", "Constant") and node.attribute[:1] and node.attribute[0].name == "value":
            step.put(Known((array_of(node.attribute[0].t, self._folder, self.where),), node.output[0]))
            return
        values = [step.known(index) if step.has(index) else None for index in range(len(node.input))]
        if not domain:
            version = max(version, _FIRST_COMPUTED.get(node.op_type, 1))
        if not domain and version < NUMPY_BROADCASTING and step.given("broadcast"):
            values = [value if isinstance(value, Known) else None for value in operands(step)]
            node = helper.make_node(node.op_type, node.input, node.output, node.name)
            version = NUMPY_BROADCASTING
        elif (domain, node.op_type) == ("", "Reshape") and step.given("shape"):
            values.append(Known((np.array(step.list("shape")),)))
            node = helper.make_node("Reshape", [node.input[0], "shape"], node.output, node.name)
        same = all(value is None or len(value.values) == 1 for value in values)
        count = 1 if same else len(step.mode.sizes)
        turns = [[None if v is None else v.each(count)[turn] for v in values] for turn in range(count)]
        results = [self._folding(node, arrays, version) for arrays in turns]
        for output, arrays in enumerate(zip(*results, strict=True)):
            step.put(Known.of(arrays, node.output[output]), output)

    def _branch(self, step: Step, versions: Versions) -> None:
        """Go into the branch that a constant condition chooses."""
        chosen = "then_branch" if bool(step.array(0).reshape(-1)[0]) else "else_branch"
        graph = next((attribute.g for attribute in step.proto.attribute if attribute.name == chosen), None)
        if graph is None:
            raise step.malformed(f"expected a {chosen}")
        translation = step.translation
        inner = {name for node in graph.node for name in (*node.input, *node.output)}
        translation.taken.update(inner)
        translation.values.update(self._read(graph, inner))
        self(in_order(graph.node, translation.values, self.where), translation, versions)
        for index, value in enumerate(graph.output):
            step.put(translation.values[value.name], index)

    def _unknown(self, step: Step, domain: str) -> UnsupportedError:
        """Return the error for an operator nobody translates."""
        op = step.proto.op_type
        hint = _WHY.get(op) if not domain else None
        known = [name for space, name in TRANSLATORS if space in ("", domain)]
        return step.unsupported("this operator is not supported", hint or did_you_mean(op, known))
