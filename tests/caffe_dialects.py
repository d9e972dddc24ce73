"""Texts as their authors published them, shortened: ways to write, ends, sources and habits that the format allows."""

from __future__ import annotations

from dataclasses import dataclass

from tests.caffe_nets import layer
from tests.caffe_text import Net, old


@dataclass(frozen=True)
class Dialect:
    """A text and what has to come of it.

    Parameters
    ----------
    text : str or bytes
    output : str
        The tensor with the scores.
    classes : int
    head : str
    input_shape : tuple of int, optional
        Where the text does not say.
    """

    text: str | bytes
    output: str
    classes: int = 10
    head: str = "softmax"
    input_shape: tuple[int, ...] | None = None


def body(net: Net, bottom: str = "data") -> str:
    """A convolution, a pooling, a ReLU in place."""
    return net.inplace("ReLU", net.pool(net.conv(bottom, 6, 3, top="conv1"), 3, 2, top="pool1"))


def plain() -> str:
    net = Net((3, 24, 24))
    return net.classify(body(net))


def inception_bn() -> Dialect:
    """The BN layer of its fork, with its own fillers, frozen or not."""
    net = Net((3, 32, 32))
    options = "bn_param { slope_filler { type: 'constant' value: 1 } bias_filler { type: 'constant' value: 0 } "
    h = "data"
    for k, frozen in enumerate(("", "frozen: true", "moving_average: true var_eps: 1e-10")):
        h = net.inplace("ReLU", net.add("BN", net.conv(h, 6 + k, 3, 2, 1), f"{options} {frozen} }}"))
    return Dialect(net.classify(net.mean(h)), "scores")


def age_net() -> Dialect:
    """Two-part options, parameters with factors, an engine, LRN within maps."""
    net = Net((3, 47, 47))
    factors = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 } propagate_down: true"
    fillers = 'weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 1 } engine: CAFFE'
    h = net.add(
        "Convolution", "data", f"{factors} convolution_param {{ num_output: 8 kernel_size: 7 stride: 4 {fillers} }}"
    )
    h = net.pool(net.inplace("ReLU", h, "relu_param { engine: CUDNN }"), 3, 2, more="engine: CAFFE")
    h = net.add("LRN", h, "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 norm_region: WITHIN_CHANNEL }")
    net.dense(net.inplace("Dropout", h, "dropout_param { dropout_ratio: 0.5 }"), 8, "fc8")
    net.add("Softmax", "fc8", top="prob")
    return Dialect(net.text, "fc8", 8)


def squeezenet_residual() -> Dialect:
    """Fire modules with a bypass; the convolution is the classifier, the pooling its mean."""
    net = Net((3, 43, 43))
    h = net.pool(net.inplace("ReLU", net.conv("data", 8, 3, 2)), 3, 2)
    for k in range(2):
        squeeze = net.inplace("ReLU", net.conv(h, 4, 1))
        left, right = net.conv(squeeze, 4, 1), net.conv(squeeze, 4, 3, 1, 1)
        fire = net.join(net.inplace("ReLU", left), net.inplace("ReLU", right))
        h = net.sum(h, fire, options="operation: 1") if k else net.sum(h, fire, options="")
    h = net.inplace("ReLU", net.conv(net.inplace("Dropout", h), 10, 1, 1, 1))
    net.add("Pooling", h, "pooling_param { pool: 1 global_pooling: true }", top="pool10")
    net.add("Softmax", "pool10", top="prob")
    return Dialect(net.text, "pool10")


def wide_resnet() -> Dialect:
    """Normalised in front; the normalisation's three parameters are held still; the shortcut is a convolution."""
    still = "param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 }"
    net = Net((3, 32, 32))
    h = net.conv("data", 8, 3, 1, 1, "bias_term: false")
    for stride in (1, 2):
        ready = net.add("BatchNorm", h, f"{still} batch_norm_param {{ use_global_stats: true eps: 1e-5 }}")
        ready = net.inplace("ReLU", net.inplace("Scale", ready, "scale_param { bias_term: true }"))
        deep = net.conv(net.unit(ready, 12, 3, stride, 1), 12, 3, 1, 1)
        h = net.sum(net.conv(ready, 12, 1, stride), deep)
    return Dialect(net.classify(net.pool(net.ready(h), 16, 1, method="AVE")), "scores")


def places() -> Dialect:
    """Dense layers with transposed names, a softmax and an accuracy side by side, labels as a second input."""
    source = 'name: "Places365" input: "data" input: "label" '
    source += "".join(f"input_dim: {size} " for size in (10, 3, 24, 24, 10, 1, 1, 1)) + "\n"
    net = Net(source=source)
    net.dense(body(net), 10, "fc8a")
    net.add("Accuracy", "fc8a label", "accuracy_param { top_k: 5 }")
    net.add("SoftmaxWithLoss", "fc8a label", "loss_param { ignore_label: 255 normalize: true } loss_weight: 1")
    return Dialect(net.text, "fc8a")


def hybrid_cnn() -> Dialect:
    """A training text: data in both phases, a mirror, a mean file, a loss for the one, an accuracy for the other."""
    source = "".join(
        layer(
            "data", "Data", "", "data label",
            f'include {{ phase: {phase} }} transform_param {{ mirror: {mirror} crop_size: 24 mean_file: "m.npy" }}'
            f' data_param {{ source: "{phase}_lmdb" batch_size: 256 backend: LMDB }}',
        )
        for phase, mirror in (("TRAIN", "true"), ("TEST", "false"))
    )  # fmt: skip
    net = Net(source='name: "HybridCNN"\nforce_backward: true\n' + source)
    net.dense(body(net), 10, "fc8")
    net.add("Accuracy", "fc8 label", "include { phase: TEST } include { phase: TRAIN }")
    net.add("SoftmaxWithLoss", "fc8 label", top="loss")
    return Dialect(net.text, "fc8")


def rcnn() -> Dialect:
    """Windows as the source, and no softmax at the end."""
    window = 'window_data_param { source: "w.txt" batch_size: 128 crop_size: 24 fg_threshold: 0.5 crop_mode: "warp" }'
    net = Net(source=layer("data", "WindowData", "", "data label", f"{window} transform_param {{ mirror: true }}"))
    net.dense(body(net), 21, "fc-rcnn")
    return Dialect(net.text, "fc-rcnn", 21, "logits")


def loss_end(kind: str, bottoms: str, options: str = "", head: str = "logits") -> Dialect:
    net = Net(source=layer("data", "ImageData", "", "data label", "transform_param { crop_size: 24 }"))
    net.dense(body(net), 10, "ip")
    if "prob" in bottoms:
        net.add("Softmax", "ip", top="prob")
    if "matrix" in bottoms:
        shape = "shape { dim: 1 dim: 1 dim: 10 dim: 10 }"
        net.text += layer("matrix", "DummyData", "", "matrix", f"dummy_data_param {{ {shape} }}")
    net.text += f'layer {{ name: "loss" type: "{kind}" '
    net.text += " ".join(f'bottom: "{name}"' for name in bottoms.split()) + f" {options} }}\n"
    return Dialect(net.text, "ip", head=head)


def two_towers() -> Dialect:
    """Halves of the channels go their own ways, with shared weights, and meet again; everything in place."""
    net = Net((4, 24, 24))
    net.cut("data", "left right", "axis: 1")
    for side in ("left", "right"):
        shared = "param { name: 'w' } param { name: 'b' }"
        net.add(
            "Convolution", side, f"{shared} convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 }}", f"c_{side}"
        )
        net.inplace("ReLU", f"c_{side}")
    h = net.join("c_left", "c_right")
    for kind, options in (
        ("Scale", "scale_param { bias_term: true }"), ("ReLU", "relu_param { negative_slope: 0.1 }"),
        ("Power", "power_param { scale: 0.5 shift: 1 }"), ("Dropout", ""), ("Bias", ""), ("TanH", ""), ("PReLU", ""),
    ):  # fmt: skip
        h = net.inplace(kind, h, options)
    return Dialect(net.classify(net.mean(h)), "scores")


def v1_numbers() -> Dialect:
    """Layers of 2014 whose types and methods are numbers, and a loss without a top."""
    text = old(plain(), {"Convolution": "4", "ReLU": "18", "Pooling": "17", "InnerProduct": "14", "Softmax": "20"})
    return Dialect(text.replace("pool: MAX", "pool: 0"), "scores")


def odd_names() -> Dialect:
    """Names with blanks, slashes, dots and quotes of the other kind."""
    text = plain().replace('"conv1"', "'conv 1/3x3 \"s2\".a'").replace('"pool1"', '"pool #1 {best}"')
    return Dialect(text, "scores")


DIALECTS = {
    "inception-bn": inception_bn(),
    "age-net": age_net(),
    "squeezenet-residual": squeezenet_residual(),
    "wide-resnet": wide_resnet(),
    "places": places(),
    "hybrid-cnn": hybrid_cnn(),
    "rcnn": rcnn(),
    "euclidean": loss_end("EuclideanLoss", "ip label"),
    "hinge": loss_end("HingeLoss", "ip label", "hinge_loss_param { norm: L2 }"),
    "infogain": loss_end("InfogainLoss", "prob label matrix", head="softmax"),
    "sigmoid-cross-entropy": loss_end("SigmoidCrossEntropyLoss", "ip label"),
    "multinomial": loss_end("MultinomialLogisticLoss", "prob label", head="softmax"),
    "softmax-without-top": loss_end("SoftmaxWithLoss", "ip label", head="softmax"),
    "two-towers": two_towers(),
    "v1-numbers": v1_numbers(),
    "odd-names": odd_names(),
    "windows": Dialect(
        b"\xef\xbb\xbf# von Hand\r\n" + plain().replace("\n", "\r\n").replace(" ", "\t").encode(), "scores"
    ),
    "one-line": Dialect(plain().replace("\n", " "), "scores"),
    "commas": Dialect(plain().replace("} ", "}; ").replace("dim: 1 ", "dim: 1, "), "scores"),
    "state": Dialect('state { phase: TEST level: 1 stage: "deploy" }\ndebug_info: false\n' + plain(), "scores"),
    "duplicates": Dialect(plain().replace('name: "relu3', 'name: "conv1').replace("conv1/ReLU", "conv1"), "scores"),
    "shape-block": Dialect(
        plain().replace("input_dim: 1 input_dim: 3 input_dim: 24 input_dim: 24", "input_shape { dim: [1, 3, 24, 24] }"),
        "scores",
    ),
    "input-layer": Dialect(
        layer("in", "Input", "", "data", "input_param { shape: { dim: 1 dim: 3 dim: 24 dim: 24 } }")
        + plain().split("\n", 1)[1],
        "scores",
    ),
    "memory": Dialect(
        layer(
            "m", "MemoryData", "", "data label", "memory_data_param { batch_size: 2 channels: 3 height: 24 width: 24 }"
        )
        + plain().split("\n", 1)[1],
        "scores",
    ),
    "hdf5": Dialect(
        layer("h", "HDF5Data", "", "data label", 'hdf5_data_param { source: "l.txt" batch_size: 2 }')
        + plain().split("\n", 1)[1],
        "scores",
        input_shape=(3, 24, 24),
    ),
}
