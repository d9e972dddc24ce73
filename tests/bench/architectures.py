"""Five published architectures as tables, and the prototxt each of them stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Fields = dict[str, "int | float | str | bool | Fields"]


class Prototxt:
    """A Caffe network in the making; every method adds layers and returns the name of the last one's output."""

    def __init__(self, name: str, size: int) -> None:
        shape = "".join(f"  dim: {axis}\n" for axis in (1, 3, size, size))
        self._parts = [f'name: "{name}"\ninput: "data"\ninput_shape {{\n{shape}}}\n']

    def __str__(self) -> str:
        return "".join(self._parts)

    def layer(self, kind: str, name: str, bottoms: Sequence[str], top: str | None = None, **fields: Fields) -> str:
        bodies = [f'  name: "{name}"\n  type: "{kind}"\n', *(f'  bottom: "{bottom}"\n' for bottom in bottoms)]
        bodies += [f'  top: "{top or name}"\n', _text(fields, "  ")]
        self._parts.append(f"layer {{\n{''.join(bodies)}}}\n")
        return top or name

    def conv(self, name: str, x: str, out: int, kernel: int, stride: int = 1, pad: int = 0, **more: int | bool) -> str:
        geometry: Fields = {"num_output": out, "kernel_size": kernel, "stride": stride, "pad": pad, **more}
        return self.layer("Convolution", name, [x], convolution_param=geometry)

    def relu(self, name: str, x: str) -> str:
        return self.layer("ReLU", name, [x], x)

    def conv_relu(self, name: str, x: str, out: int, kernel: int, stride: int = 1, pad: int = 0, group: int = 1) -> str:
        return self.relu(f"{name}/relu", self.conv(name, x, out, kernel, stride, pad, group=group))

    def norm(self, name: str, x: str) -> str:
        """Batch normalisation as Caffe has it: statistics in one layer, scale and shift in the next."""
        self.layer("BatchNorm", f"{name}/norm", [x], x, batch_norm_param={"use_global_stats": True})
        return self.layer("Scale", f"{name}/scale", [x], x, scale_param={"bias_term": True})

    def pool(self, name: str, x: str, kernel: int, stride: int, pad: int = 0, how: str = "MAX") -> str:
        window: Fields = {"pool": how, "kernel_size": kernel, "stride": stride, "pad": pad}
        return self.layer("Pooling", name, [x], pooling_param=window)

    def lrn(self, name: str, x: str) -> str:
        return self.layer("LRN", name, [x], lrn_param={"local_size": 5, "alpha": 0.0001, "beta": 0.75})

    def dense(self, name: str, x: str, out: int) -> str:
        return self.layer("InnerProduct", name, [x], inner_product_param={"num_output": out})

    def classifier(self, names: Sequence[str], x: str) -> str:
        """Two dense layers of 4096, then the classes."""
        for name in names[:-1]:
            x = self.relu(f"{name}/relu", self.dense(name, x, 4096))
            x = self.layer("Dropout", f"{name}/drop", [x], x)
        return self.softmax(self.dense(names[-1], x, 1000))

    def softmax(self, x: str) -> str:
        return self.layer("Softmax", "prob", [x])


def _text(fields: Fields, indent: str) -> str:
    """Spell fields as protobuf text: words with a capital are the names of an enum."""
    lines = []
    for key, value in fields.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key} {{\n{_text(value, indent + '  ')}{indent}}}\n")
        else:
            lines.append(f"{indent}{key}: {str(value).lower() if isinstance(value, bool) else value}\n")
    return "".join(lines)


VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of 3 × 3 convolutions before each pooling. Simonyan and Zisserman 2015, arXiv:1409.1556."""


def vgg16() -> Prototxt:
    net, x = Prototxt("vgg16", 224), "data"
    for stage, (channels, count) in enumerate(VGG16, 1):
        for k in range(1, count + 1):
            x = net.conv_relu(f"conv{stage}_{k}", x, channels, 3, pad=1)
        x = net.pool(f"pool{stage}", x, 2, 2)
    net.classifier(("fc6", "fc7", "fc8"), x)
    return net


CAFFENET = ((96, 11, 4, 0, 1, "pool norm"), (256, 5, 1, 2, 2, "pool norm"), (384, 3, 1, 1, 1, ""))
CAFFENET += ((384, 3, 1, 1, 2, ""), (256, 3, 1, 1, 2, "pool"))
"""Channels, kernel, stride, pad, groups of each convolution and what follows it. Jia et al. 2014, arXiv:1408.5093."""


def caffenet() -> Prototxt:
    net, x = Prototxt("caffenet", 227), "data"
    for k, (channels, kernel, stride, pad, group, behind) in enumerate(CAFFENET, 1):
        x = net.conv_relu(f"conv{k}", x, channels, kernel, stride, pad, group)
        x = net.pool(f"pool{k}", x, 3, 2) if "pool" in behind else x
        x = net.lrn(f"norm{k}", x) if "norm" in behind else x
    net.classifier(("fc6", "fc7", "fc8"), x)
    return net


GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection. Szegedy et al. 2015, arXiv:1409.4842, table 1."""


def googlenet() -> Prototxt:
    net = Prototxt("googlenet", 224)
    x = net.pool("pool1", net.conv_relu("conv1", "data", 64, 7, 2, 3), 3, 2)
    x = net.conv_relu("conv2/reduce", net.lrn("norm1", x), 64, 1)
    x = net.pool("pool2", net.lrn("norm2", net.conv_relu("conv2", x, 192, 3, pad=1)), 3, 2)
    for name, channels in GOOGLENET.items():
        x = _inception(net, f"inception_{name}", x, channels)
        x = net.pool(f"pool{name[0]}", x, 3, 2) if name in ("3b", "4e") else x
    x = net.pool("pool5", x, 7, 1, how="AVE")
    net.softmax(net.dense("classifier", net.layer("Dropout", "drop", [x], x), 1000))
    return net


def _inception(net: Prototxt, name: str, x: str, channels: Sequence[int]) -> str:
    one, reduce3, three, reduce5, five, projection = channels
    branches = [
        net.conv_relu(f"{name}/1x1", x, one, 1),
        net.conv_relu(f"{name}/3x3", net.conv_relu(f"{name}/3x3_reduce", x, reduce3, 1), three, 3, pad=1),
        net.conv_relu(f"{name}/5x5", net.conv_relu(f"{name}/5x5_reduce", x, reduce5, 1), five, 5, pad=2),
        net.conv_relu(f"{name}/pool_proj", net.pool(f"{name}/pool", x, 3, 1, 1), projection, 1),
    ]
    return net.layer("Concat", f"{name}/output", branches)


SQUEEZENET = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""Channels squeezed to, and expanded to twice: fire modules 2 to 9. Iandola et al. 2016, arXiv:1602.07360, table 1."""


def squeezenet() -> Prototxt:
    net = Prototxt("squeezenet_v1.0", 227)
    x = net.pool("pool1", net.conv_relu("conv1", "data", 96, 7, 2), 3, 2)
    for number, (narrow, wide) in enumerate(SQUEEZENET, 2):
        name = f"fire{number}"
        x = net.conv_relu(f"{name}/squeeze", x, narrow, 1)
        halves = [net.conv_relu(f"{name}/expand1x1", x, wide, 1), net.conv_relu(f"{name}/expand3x3", x, wide, 3, pad=1)]
        x = net.layer("Concat", f"{name}/concat", halves)
        x = net.pool(f"pool{number}", x, 3, 2) if number in (4, 8) else x
    # The published network pads its last 1 × 1 convolution.
    x = net.conv_relu("conv10", net.layer("Dropout", "drop9", [x], x), 1000, 1, pad=1)
    net.softmax(net.layer("Pooling", "pool10", [x], pooling_param={"pool": "AVE", "global_pooling": True}))
    return net


RESNET50 = ((2, 64, 3), (3, 128, 4), (4, 256, 6), (5, 512, 3))
"""Stage, channels within a block (four times as many leave it), blocks. He et al. 2016, arXiv:1512.03385, table 1."""


def resnet50() -> Prototxt:
    net = Prototxt("resnet50", 224)
    x = net.relu("conv1/relu", net.norm("conv1", net.conv("conv1", "data", 64, 7, 2, 3)))
    x = net.pool("pool1", x, 3, 2)
    for stage, channels, count in RESNET50:
        for k in range(count):
            # The first block of a stage halves the map (but for the first stage) and projects the shortcut.
            stride = 2 if k == 0 and stage > 2 else 1
            x = _block(net, f"res{stage}{'abcdef'[k]}", x, channels, stride, project=k == 0)
    net.softmax(net.dense("fc1000", net.pool("pool5", x, 7, 1, how="AVE"), 1000))
    return net


def _block(net: Prototxt, name: str, x: str, channels: int, stride: int, *, project: bool) -> str:
    def normalised(part: str, y: str, out: int, kernel: int, stride: int = 1) -> str:
        made = net.conv(f"{name}/{part}", y, out, kernel, stride, kernel // 2, bias_term=False)
        return net.norm(f"{name}/{part}", made)

    shortcut = normalised("shortcut", x, 4 * channels, 1, stride) if project else x
    y = net.relu(f"{name}/a/relu", normalised("a", x, channels, 1, stride))
    y = net.relu(f"{name}/b/relu", normalised("b", y, channels, 3))
    return net.relu(f"{name}/relu", net.layer("Eltwise", name, [shortcut, normalised("c", y, 4 * channels, 1)]))


ARCHITECTURES: dict[str, Callable[[], Prototxt]] = {
    "squeezenet_v1.0": squeezenet,
    "googlenet": googlenet,
    "caffenet": caffenet,
    "resnet50": resnet50,
    "vgg16": vgg16,
}
