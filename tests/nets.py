"""Small networks to try things on: a builder with short words for layers, and three seeded architectures."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrptool.engine import canonise
from lrptool.graph import Graph, TensorSpec
from lrptool.ops import GraphBuilder

Array = np.ndarray


class Net:
    """A graph in the making; every method adds a node and returns the name of its output.

    Weights are given as arrays, or by their number of outputs, which draws them He-scaled from the net's own seed.
    """

    def __init__(
        self, shape: tuple[int, ...] = (3, 7, 6), *, seed: int = 0, bias: bool = False, activation: str = "Relu"
    ) -> None:
        self.builder = GraphBuilder("net", TensorSpec("x", (None, *shape)))
        self._random, self._bias, self._activation = np.random.default_rng(seed), bias, activation

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        return self.builder.add(op, name, inputs, **attributes)[0]

    def _constants(self, name: str, weight: Array | int, bias: Array | None, inside: tuple[int, ...]) -> list[str]:
        """Weight and, where there is one, bias of a layer, as constants."""
        if not isinstance(weight, np.ndarray):
            scale = np.sqrt(2 / np.prod(inside))
            bias = self._random.normal(size=weight) * 0.2 if self._bias else None
            weight = self._random.normal(size=(weight, *inside)) * scale
        named = {"weight": weight, "bias": bias}
        return [self.builder.constant(f"{name}/{key}", array) for key, array in named.items() if array is not None]

    def conv(
        self,
        name: str,
        x: str,
        weight: Array | int,
        bias: Array | None = None,
        *,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (1, 1, 1, 1),
        dilations: tuple[int, int] = (1, 1),
        group: int = 1,
    ) -> str:
        if isinstance(weight, np.ndarray):
            kernel = weight.shape[2:]
        channels = self.builder.shape(x)[1] or 0
        constants = self._constants(name, weight, bias, (channels // group, *kernel))
        geometry = {"kernel_shape": tuple(kernel), "strides": strides, "pads": pads, "dilations": dilations}
        return self.add("Conv", name, x, *constants, **geometry, group=group)

    def dense(self, name: str, x: str, weight: Array | int, bias: Array | None = None) -> str:
        return self.add("Gemm", name, x, *self._constants(name, weight, bias, (self.builder.shape(x)[1] or 0,)))

    def relu(self, name: str, x: str) -> str:
        """A ReLU, or the activation the net was made with."""
        return self.add(self._activation, name, x)

    def flatten(self, name: str, x: str) -> str:
        return self.add("Flatten", name, x, axis=1)

    def max_pool(
        self,
        name: str,
        x: str,
        kernel: tuple[int, int] = (2, 2),
        strides: tuple[int, int] = (2, 2),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        *,
        ceil: bool = False,
    ) -> str:
        return self.add("MaxPool", name, x, kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=int(ceil))

    def batch_norm(self, name: str, x: str, scale: Array, bias: Array, mean: Array, variance: Array, **eps: Any) -> str:
        named = {"scale": scale, "shift": bias, "mean": mean, "variance": variance}
        constants = [self.builder.constant(f"{name}/{key}", array) for key, array in named.items()]
        return self.add("BatchNormalization", name, x, *constants, **{"epsilon": 1e-5, **eps})

    def random_norm(self, name: str, x: str) -> str:
        """A batch normalisation with statistics drawn from the net's seed."""
        size = self.builder.shape(x)[1] or 0
        scale, variance = self._random.uniform(0.5, 2, (2, size))
        return self.batch_norm(name, x, scale, *self._random.normal(size=(2, size)), variance)

    def finish(self, output: str) -> Graph:
        return self.builder.finish(output, "logits")


def vgg(seed: int = 0, **options: Any) -> Graph:
    """Convolutions, pooling, two dense layers; dropout between them."""
    net = Net(seed=seed, **options)
    h = net.relu("relu1", net.conv("conv1", "x", 8))
    h = net.relu("relu2", net.conv("conv2", h, 10, kernel=(3, 2), pads=(1, 1, 1, 0)))
    h = net.flatten("flat", net.max_pool("pool", h, (3, 2), ceil=True))
    h = net.add("Dropout", "drop", net.relu("relu3", net.dense("fc1", h, 14)))
    return canonise(net.finish(net.dense("fc2", h, 5)))


def inception(seed: int = 0, **options: Any) -> Graph:
    """Normalised across channels; two branches, one through max pooling, side by side; the mean of each map."""
    net = Net(seed=seed, **options)
    h = net.relu("relu1", net.conv("conv1", "x", 8, strides=(1, 2)))
    h = net.add("LRN", "norm", h, size=3, alpha=0.5, beta=0.75, bias=1.0)
    left = net.relu("left/relu", net.conv("left", h, 6, kernel=(1, 1), pads=(0, 0, 0, 0)))
    right = net.max_pool("right/pool", h, (3, 3), (1, 1), (1, 1, 1, 1))
    right = net.relu("right/relu", net.conv("right", right, 7, group=1))
    h = net.add("Concat", "concat", left, right, axis=1)
    h = net.flatten("flat", net.add("GlobalAveragePool", "mean", h))
    return canonise(net.finish(net.dense("fc", h, 5)))


def residual(seed: int = 0, **options: Any) -> Graph:
    """A block with a shortcut; with bias=True, its convolutions are normalised."""
    net = Net(seed=seed, **options)

    def layer(name: str, x: str, out: int) -> str:
        made = net.conv(name, x, out)
        return net.random_norm(f"{name}/norm", made) if options.get("bias") else made

    h = net.relu("relu1", layer("conv1", "x", 8))
    block = layer("conv3", net.relu("relu2", layer("conv2", h, 9)), 8)
    h = net.relu("relu3", net.add("Sum", "add", h, block))
    window = {"kernel_shape": (3, 3), "strides": (2, 3), "pads": (0, 0, 0, 0), "ceil_mode": 0, "count_include_pad": 1}
    h = net.flatten("flat", net.add("AveragePool", "mean", h, **window))
    return canonise(net.finish(net.dense("fc", h, 5)))


NETS = {"vgg": vgg, "inception": inception, "residual": residual}


def image(batch: int = 2, seed: int = 1) -> Array:
    """Pixels between -1 and 1 for the nets above, float32 (N, 3, 7, 6)."""
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 3, 7, 6)).astype(np.float32)
