"""The same network in torch: every node of a graph as the module a user of torch would write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from lrptool.graph import Graph, Node

Tensor = torch.Tensor
Constants = Mapping[str, Tensor]
Layer = Callable[..., Tensor]


class NotPossible(Exception):
    """Why a library cannot explain a network."""


class _PassingNorm(torch.autograd.Function):
    """Local response normalisation that hands relevance on as it comes."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        return nn.functional.local_response_norm(x, size, alpha, beta, k)

    @staticmethod
    def backward(_ctx: Any, r: Tensor) -> tuple[Tensor | None, ...]:
        return r, None, None, None, None


class TorchNet(nn.Module):
    """A graph as a module: float32 (N, C, H, W) → scores (N, classes).

    Parameters
    ----------
    graph : Graph
        As the engine works on it, batch normalisation folded where that is exact.
    constants : mapping of str to Tensor
        Its weights; several nets may share them.
    add : callable
        Makes the module that adds two tensors: each library has its own.
    """

    def __init__(self, graph: Graph, constants: Constants, add: Callable[[], nn.Module]) -> None:
        super().__init__()
        self._input, self._output = graph.input.name, graph.output
        self._plan: list[tuple[Layer, tuple[str, ...], str]] = []
        self.layers = nn.ModuleList()
        for node in graph.nodes:
            layer = _sum(node, graph, add) if node.op == "Sum" else _layer(node, constants)
            if isinstance(layer, nn.Module):
                self.layers.append(layer)
            inputs = tuple(name for name in node.inputs if name in graph.tensors)
            self._plan.append((layer, inputs, node.outputs[0]))
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        values = {self._input: x}
        for layer, inputs, output in self._plan:
            values[output] = layer(*(values[name] for name in inputs))
        return torch.flatten(values[self._output], 1)


def constants_of(graph: Graph) -> Constants:
    """Return a graph's weights as tensors."""
    return {name: torch.from_numpy(array.copy()) for name, array in graph.constants.items()}


def _sum(node: Node, graph: Graph, add: Callable[[], nn.Module]) -> nn.Module:
    """Return the library's addition, where a Sum adds two tensors as they are."""
    plain = set(node.attributes.get("coefficients", (1.0,))) == {1.0}
    if not plain or len(node.inputs) != 2 or any(name not in graph.tensors for name in node.inputs):
        raise NotPossible(f"{node.name} is more than a sum of two tensors")
    return add()


def _layer(node: Node, constants: Constants) -> Layer:
    """Return a module, or a function where a module would be one more thing for a library to stumble over."""
    if node.op not in _LAYERS:
        raise NotPossible(f"{node.op} has no counterpart")
    weights = [nn.Parameter(constants[name]) for name in node.inputs[1:] if name in constants]
    return _LAYERS[node.op](node, weights)


def _conv(node: Node, weights: list[nn.Parameter]) -> nn.Module:
    out, per_group, *kernel = weights[0].shape
    group = node.integer("group")
    geometry = {"stride": node.ints("strides"), "dilation": node.ints("dilations"), "padding": _padding(node)}
    module = nn.Conv2d(per_group * group, out, tuple(kernel), groups=group, **geometry, bias=False, device="meta")
    return _with(module, weights)


def _dense(node: Node, weights: list[nn.Parameter]) -> nn.Module:
    out, inside = weights[0].shape
    return _with(nn.Linear(inside, out, bias=False, device="meta"), weights)


def _with(module: nn.Module, weights: list[nn.Parameter]) -> nn.Module:
    """Give a module that holds no memory yet its weights."""
    module.weight = weights[0]
    module.bias = weights[1] if len(weights) > 1 else None
    return module


def _batch_norm(node: Node, weights: list[nn.Parameter]) -> nn.Module:
    scale, shift, mean, variance = weights
    module = _with(nn.BatchNorm2d(len(scale), eps=node.number("epsilon")), [scale, shift])
    module.running_mean, module.running_var = mean.data, variance.data
    return module


def _padding(node: Node) -> tuple[int, int]:
    top, left, bottom, right = node.ints("pads")
    if (top, left) != (bottom, right):
        raise NotPossible(f"{node.name} pads unevenly")
    return top, left


def _window(node: Node) -> dict[str, Any]:
    geometry = {"kernel_size": node.ints("kernel_shape"), "stride": node.ints("strides"), "padding": _padding(node)}
    return {**geometry, "ceil_mode": bool(node.integer("ceil_mode"))}


def _average(node: Node, weights: list[nn.Parameter]) -> nn.Module:
    return nn.AvgPool2d(**_window(node), count_include_pad=bool(node.integer("count_include_pad")))


def _norm(node: Node, weights: list[nn.Parameter]) -> Layer:
    options = (node.integer("size"), node.number("alpha"), node.number("beta"), node.number("bias"))
    return lambda x: _PassingNorm.apply(x, *options)


_LAYERS: dict[str, Callable[[Node, list[nn.Parameter]], Layer]] = {
    "Conv": _conv,
    "Gemm": _dense,
    "Relu": lambda _node, _weights: nn.ReLU(),
    "MaxPool": lambda node, _weights: nn.MaxPool2d(**_window(node)),
    "AveragePool": _average,
    "GlobalAveragePool": lambda _node, _weights: nn.AdaptiveAvgPool2d(1),
    "BatchNormalization": _batch_norm,
    "LRN": _norm,
    "Concat": lambda _node, _weights: lambda *xs: torch.cat(xs, 1),
    "Flatten": lambda _node, _weights: lambda x: torch.flatten(x, 1),
}
