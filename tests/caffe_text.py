"""A net as text in the making, and what it must come to."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.caffe_nets import layer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """A net, what it must come to, and (C, H, W) of its image where the text does not say."""

    text: str
    shapes: dict[str, Shape]
    input_shape: Shape | None = None
    head: str = "softmax"
    notes: int = 0
    opencv: bool = True
    """Whether OpenCV's reader knows all of it, and reads it as Caffe does."""
    seen: dict[str, int] = field(default_factory=dict)
    """Operators that must occur, and how often."""


class Net:
    """Text in the making; every method adds a layer and returns its top."""

    def __init__(self, shape: Shape = (3, 32, 32), source: str | None = None) -> None:
        dims = " ".join(f"input_dim: {size}" for size in (1, *shape))
        self.text = f'input: "data" {dims}\n' if source is None else source
        self.count = 0

    def add(self, kind: str, bottoms: str, options: str = "", top: str = "") -> str:
        self.count += 1
        name = top or f"{kind.lower()}{self.count}"
        self.text += layer(name, kind, bottoms, name, options)
        return name

    def inplace(self, kind: str, bottom: str, options: str = "") -> str:
        self.count += 1
        self.text += layer(f"{bottom}/{kind}{self.count}", kind, bottom, bottom, options)
        return bottom

    def conv(self, bottom: str, out: int, k: int = 3, s: int = 1, p: int = 0, more: str = "", top: str = "") -> str:
        options = f"num_output: {out} kernel_size: {k} stride: {s} pad: {p} {more}"
        return self.add("Convolution", bottom, f"convolution_param {{ {options} }}", top)

    def norm(self, bottom: str, eps: float = 1e-5) -> str:
        self.inplace("BatchNorm", bottom, f"batch_norm_param {{ use_global_stats: true eps: {eps} }}")
        return self.inplace("Scale", bottom, "scale_param { bias_term: true }")

    def ready(self, bottom: str) -> str:
        """Normalised and rectified in front of a convolution."""
        normed = self.inplace("Scale", self.add("BatchNorm", bottom), "scale_param { bias_term: true }")
        return self.inplace("ReLU", normed)

    def unit(self, bottom: str, out: int, k: int = 3, s: int = 1, p: int = 0, more: str = "") -> str:
        """Convolution without bias, normalised, rectified."""
        return self.inplace("ReLU", self.norm(self.conv(bottom, out, k, s, p, f"bias_term: false {more}")))

    def pool(
        self, bottom: str, k: int = 2, s: int = 2, p: int = 0, method: str = "MAX", more: str = "", top: str = ""
    ) -> str:
        options = f"pool: {method} kernel_size: {k} stride: {s} pad: {p} {more}"
        return self.add("Pooling", bottom, f"pooling_param {{ {options} }}", top)

    def mean(self, bottom: str, top: str = "") -> str:
        return self.add("Pooling", bottom, "pooling_param { pool: AVE global_pooling: true }", top)

    def dense(self, bottom: str, out: int, top: str = "") -> str:
        return self.add("InnerProduct", bottom, f"inner_product_param {{ num_output: {out} }}", top)

    def sum(self, *bottoms: str, options: str = "operation: SUM") -> str:
        return self.add("Eltwise", " ".join(bottoms), f"eltwise_param {{ {options} }}")

    def join(self, *bottoms: str) -> str:
        return self.add("Concat", " ".join(bottoms))

    def cut(self, bottom: str, tops: str, options: str = "") -> None:
        """Slice the channels."""
        self.text += layer(f"cut_{bottom}", "Slice", bottom, tops, f"slice_param {{ {options} }}")

    def classify(self, bottom: str, classes: int = 10) -> str:
        self.dense(bottom, classes, "scores")
        self.add("Softmax", "scores", top="prob")
        return self.text


def old(text: str, words: dict[str, str]) -> str:
    """The text with the layers of 2014."""
    text = text.replace("layer {", "layers {")
    for new, word in words.items():
        text = text.replace(f'type: "{new}"', f"type: {word}")
    return text


V1_WORDS = {
    "Convolution": "CONVOLUTION", "InnerProduct": "INNER_PRODUCT", "Pooling": "POOLING", "ReLU": "RELU",
    "Softmax": "SOFTMAX", "LRN": "LRN", "Dropout": "DROPOUT", "SoftmaxWithLoss": "SOFTMAX_LOSS", "Data": "DATA",
    "Accuracy": "ACCURACY", "Slice": "SLICE", "ContrastiveLoss": "CONTRASTIVE_LOSS",
}  # fmt: skip


def data(channels: str = "", phase: str = "TEST") -> str:
    return layer("data", "Data", "", "data label", f"include {{ phase: {phase} }} transform_param {{ {channels} }}")
