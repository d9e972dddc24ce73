"""Make the networks in tests/fixtures/onnx: classifiers of plain PyTorch modules, narrow, exported by both exporters.

    python tests/make_torch_fixtures.py [NAME...]

Needs torch and onnxscript; the tests need neither. Beside each pair of files stands one .npz: two pictures, the scores,
and relevance of one class per picture, computed in float64 by automatic differentiation. Relevance is input × gradient
of a twin network in which every operator that LRP does not differentiate is replaced by one whose gradient is its
rule: an activation f(x) by x · [f(x) / x], a gated product s · g by s · [g], a product of two activations by half of
each with the other held, a layer norm by one with its deviation held; [·] is held constant (Achtibat et al. 2024,
https://arxiv.org/abs/2402.05602, section 3). That is LRP-ε with ε → 0.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

HERE = Path(__file__).parent / "fixtures" / "onnx"
CLASSES = 5


class Twin:
    """Whether networks compute as they are, or as the twin whose gradient is relevance."""

    on = False


def passed(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An activation; relevance passes it unchanged."""
    if not Twin.on:
        return f(x)
    ratio = torch.where(x == 0, torch.zeros_like(x), f(x) / torch.where(x == 0, torch.ones_like(x), x))
    return x * ratio.detach()


def gated(signal: Tensor, gate: Tensor) -> Tensor:
    """A product; all relevance goes to the signal."""
    return signal * (gate.detach() if Twin.on else gate)


def product(a: Tensor, b: Tensor) -> Tensor:
    """A matrix product of two activations; half of the relevance goes to each."""
    return (a.detach() @ b + a @ b.detach()) / 2 if Twin.on else a @ b


class Norm(nn.LayerNorm):
    """Layer normalisation; its deviation is held."""

    def forward(self, x: Tensor) -> Tensor:
        if not Twin.on:
            return super().forward(x)
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + self.eps).sqrt().detach()
        return centred / deviation * self.weight + self.bias


class Act(nn.Module):
    """An activation by name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.f = {
            "relu": F.relu,
            "relu6": F.relu6,
            "hardswish": F.hardswish,
            "silu": F.silu,
            "gelu": F.gelu,
            "hardsigmoid": F.hardsigmoid,
        }[name]

    def forward(self, x: Tensor) -> Tensor:
        return passed(self.f, x)


def conv(i: int, o: int, k: int, s: int = 1, groups: int = 1, act: str | None = "relu") -> nn.Sequential:
    """Convolution, batch norm and activation."""
    parts = [nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*parts, *([Act(act)] if act else []))


class Basic(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, i: int, o: int, s: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(i, o, 3, s), conv(o, o, 3, act=None))
        self.short = conv(i, o, 1, s, act=None) if s != 1 or i != o else nn.Identity()
        self.act = Act("relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.short(x))


class Head(nn.Module):
    """Global average and one layer."""

    def __init__(self, i: int) -> None:
        super().__init__()
        self.fc = nn.Linear(i, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def resnet() -> nn.Module:
    """Residual blocks as in ResNet-18."""
    stem = [conv(3, 4, 7, 2), nn.MaxPool2d(3, 2, 1)]
    stages = [Basic(4, 4, 1), Basic(4, 4, 1), Basic(4, 6, 2), Basic(6, 6, 1), Basic(6, 8, 2), Basic(8, 8, 1)]
    return nn.Sequential(*stem, *stages, Head(8))


class Squeeze(nn.Module):
    """A gate per channel."""

    def __init__(self, i: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(i, 3, 1), nn.Conv2d(3, i, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.hardsigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        return gated(x, gate)


class Inverted(nn.Module):
    """Wide inside, with a depthwise convolution, perhaps a gate, and a sum around it."""

    def __init__(self, i: int, o: int, s: int, act: str, *, gate: bool) -> None:
        super().__init__()
        wide = 3 * i
        parts = [conv(i, wide, 1, act=act), conv(wide, wide, 3, s, groups=wide, act=act)]
        self.body = nn.Sequential(*parts, *([Squeeze(wide)] if gate else []), conv(wide, o, 1, act=None))
        self.same = s == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.same else y


def mobilenet_v2() -> nn.Module:
    """Inverted residuals with ReLU6."""
    blocks = [Inverted(6, 6, 1, "relu6", gate=False), Inverted(6, 8, 2, "relu6", gate=False)]
    return nn.Sequential(conv(3, 6, 3, 2, act="relu6"), *blocks, conv(8, 12, 1, act="relu6"), nn.Dropout(0.2), Head(12))


def mobilenet_v3() -> nn.Module:
    """Inverted residuals with hard swish and gates, and swish at the end as in EfficientNet."""
    blocks = [Inverted(6, 6, 1, "hardswish", gate=True), Inverted(6, 8, 2, "hardswish", gate=True)]
    return nn.Sequential(conv(3, 6, 3, 2, act="hardswish"), *blocks, conv(8, 12, 1, act="silu"), Head(12))


class DenseLayer(nn.Module):
    """Normalisation first; the result beside the input."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.n1, self.c1 = nn.BatchNorm2d(i), nn.Conv2d(i, 6, 1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(6), nn.Conv2d(6, o, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.c2(passed(F.relu, self.n2(self.c1(passed(F.relu, self.n1(x))))))
        return torch.cat([x, y], 1)


def densenet() -> nn.Module:
    """Dense blocks with a transition between them."""
    first = [conv(3, 6, 3, 2), DenseLayer(6, 4), DenseLayer(10, 4)]
    between = [nn.BatchNorm2d(14), Act("relu"), nn.Conv2d(14, 7, 1, bias=False), nn.AvgPool2d(2)]
    last = [DenseLayer(7, 4), DenseLayer(11, 4), nn.BatchNorm2d(15), Act("relu"), Head(15)]
    return nn.Sequential(*first, *between, *last)


class Attention(nn.Module):
    """Self-attention with one layer for query, key and value."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        parts = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        weights = (product(q, k.transpose(-2, -1)) * (d // self.heads) ** -0.5).softmax(-1)
        return self.out(product(weights, v).transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    """Attention and two layers, each behind a normalisation and within a sum."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.n1, self.attention, self.n2 = Norm(dim), Attention(dim, heads), Norm(dim)
        self.up, self.down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.n1(x))
        return x + self.down(passed(F.gelu, self.up(self.n2(x))))


class Vit(nn.Module):
    """Patches, a class token, positions and transformer blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 6, 6)
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 12)), nn.Parameter(torch.randn(1, 13, 12) / 4)
        self.blocks = nn.Sequential(Block(12, 3), Block(12, 3))
        self.norm, self.fc = Norm(12), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.place
        return self.fc(self.norm(self.blocks(x))[:, 0])


class TorchVit(nn.Module):
    """The same with PyTorch's own attention, which keeps the batch on the second axis and joins it with the heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.place = nn.Conv2d(3, 12, 6, 6), nn.Parameter(torch.randn(1, 12, 12) / 4)
        self.norm, self.fc = Norm(12), nn.Linear(12, CLASSES)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)

    def attend(self, x: Tensor) -> Tensor:
        """Attention, by hand in the twin."""
        if not Twin.on:
            return self.attention(x, x, x, need_weights=True)[0]
        own = self.attention
        b, n, d = x.shape
        q, k, v = F.linear(x, own.in_proj_weight, own.in_proj_bias).reshape(b, n, 3, 3, d // 3).permute(2, 0, 3, 1, 4)
        weights = (product(q, k.transpose(-2, -1)) * (d // 3) ** -0.5).softmax(-1)
        return own.out_proj(product(weights, v).transpose(1, 2).reshape(b, n, d))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.place
        return self.fc((x + self.attend(self.norm(x))).mean(1))


class Swin(nn.Module):
    """Attention within windows, which join the batch; shifted by a roll."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm, self.fc = nn.Conv2d(3, 8, 3, 3), Norm(8), nn.Linear(8, CLASSES)
        self.attention = Attention(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        y = torch.roll(self.norm(x), (-1, -1), (1, 2))
        windows = y.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        y = self.attention(windows).reshape(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return self.fc((x + torch.roll(y, (1, 1), (1, 2))).mean((1, 2)))


class ConvNext(nn.Module):
    """Channels last inside, group normalisation, a scale per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm, self.up, self.down = Norm(8), nn.Linear(8, 24), nn.Linear(24, 8)
        self.scale, self.head = nn.Parameter(torch.rand(8) + 0.5), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.down(passed(F.gelu, self.up(y))) * self.scale
        return self.head(x + y.permute(0, 3, 1, 2))


class Shuffle(nn.Module):
    """Half of the channels pass, half are convolved; then they are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = conv(3, 8, 3, 2), conv(4, 4, 3, groups=2), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = self.stem(x) if x.shape[1] == 3 else x
            first, second = x.chunk(2, 1)
            x = torch.cat([first, self.body(second)], 1)
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(x)


NETS: dict[str, tuple[Callable[[], nn.Module], int, bool]] = {
    "resnet": (resnet, 9, False),
    "mobilenet_v2": (mobilenet_v2, 10, True),
    "mobilenet_v3": (mobilenet_v3, 13, True),
    "densenet": (densenet, 11, False),
    "vit": (Vit, 14, True),
    "torch_vit": (TorchVit, 13, True),
    "swin": (Swin, 16, True),
    "convnext": (ConvNext, 17, False),
    "shuffle": (Shuffle, 12, True),
}
"""Maker, opset of the older exporter, and whether the batch is left open in its file."""


def settled(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a network in float64 with statistics and shifts that are not the trivial ones."""
    torch.manual_seed(7)
    net = make().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.1)
    # What the files hold is what the oracle computes with.
    return net.float().double()


def relevance(net: nn.Module, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores, and input × gradient of the twin."""
    Twin.on = True
    x = x.clone().requires_grad_()
    scores = net(x)
    scores.gather(1, targets[:, None]).sum().backward()
    Twin.on = False
    return scores.detach(), (x * x.grad).detach()


def make(name: str) -> None:
    """Write the files of one network."""
    maker, opset, is_open = NETS[name]
    net = settled(maker)
    torch.manual_seed(11)
    x = torch.randn(2, 3, 24, 18).float().double()
    with torch.no_grad():
        scores = net(x)
    targets = scores.argmax(1)
    twin_scores, shares = relevance(net, x, targets)
    if not torch.allclose(scores, twin_scores, rtol=1e-9, atol=1e-9):
        raise AssertionError(f"{name}: the twin computes something else")
    single, one = net.float(), x[:1].float()
    axes = {"x": {0: "batch"}, "scores": {0: "batch"}} if is_open else None
    names = {"input_names": ["x"], "output_names": ["scores"]}
    torch.onnx.export(
        single, (one,), HERE / f"{name}_old.onnx", dynamo=False, opset_version=opset, dynamic_axes=axes, **names
    )
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(
        single, (x.float(),), dynamo=True, dynamic_shapes=batch, verbose=False, external_data=False, **names
    )
    slim(program.model_proto, HERE / f"{name}_new.onnx")
    np.savez_compressed(
        HERE / f"{name}.npz",
        x=x.numpy().astype(np.float32),
        scores=scores.numpy(),
        targets=targets.numpy(),
        relevance=shares.numpy(),
    )


def slim(model: onnx.ModelProto, path: Path) -> None:
    """Write a model without the exporter's notes on its own code."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    onnx.save(model, path)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    HERE.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[1:] or NETS:
        make(wanted)
