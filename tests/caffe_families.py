"""Published families of Caffe classifiers in miniature: what is peculiar to each, in the words its authors use."""

from __future__ import annotations

from tests import caffe_families_dense as dense
from tests.caffe_nets import layer
from tests.caffe_text import V1_WORDS, Family, Net, data, old


def lenet() -> Family:
    net = Net(source=data("scale: 0.00390625", "TRAIN") + data("scale: 0.00390625"))
    h = net.pool(net.conv("data", 20, 5))
    h = net.inplace("ReLU", net.dense(net.pool(net.conv(h, 50, 5)), 500))
    scores = net.dense(h, 10, "scores")
    net.add("Accuracy", f"{scores} label", "include { phase: TEST }")
    net.add("SoftmaxWithLoss", f"{scores} label")
    return Family(
        old(net.text, V1_WORDS), {"pooling2": (20, 12, 12), "scores": (10,)}, (1, 28, 28), notes=1, opencv=False
    )


def siamese() -> Family:
    net = Net(source=layer("pair", "Data", "", "pair sim", "transform_param { scale: 0.00390625 }"))
    net.cut("pair", "one two", "slice_dim: 1 slice_point: 1")
    for tower in ("one", "two"):
        shared = "param { name: 'w' lr_mult: 1 } param { name: 'b' lr_mult: 2 }"
        options = f"convolution_param {{ num_output: 4 kernel_size: 5 }} {shared}"
        net.dense(net.add("Convolution", tower, options), 2, f"feat_{tower}")
    net.add("ContrastiveLoss", "feat_one feat_two sim", "contrastive_loss_param { margin: 1 }")
    seen = {"Split": 1, "Conv": 1}
    return Family(net.text, {"feat_two": (2,)}, (2, 28, 28), "logits", notes=2, opencv=False, seen=seen)


def caffenet_spp() -> Family:
    net = Net((3, 67, 67))
    h = net.inplace("ReLU", net.conv("data", 8, 11, 4))
    h = net.add("LRN", net.pool(h, 3, 2), "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")
    h = net.inplace("ReLU", net.conv(h, 12, 5, 1, 2, "group: 2"))
    h = net.add("SPP", h, "spp_param { pyramid_height: 3 }", "spp")
    h = net.inplace("Dropout", net.inplace("ReLU", net.dense(h, 16)), "dropout_param { dropout_ratio: 0.5 }")
    return Family(net.classify(h), {"pooling3": (8, 7, 7), "spp": (12 * 21,)}, opencv=False)


def network_in_network() -> Family:
    net = Net((3, 32, 32))
    h = net.inplace("ReLU", net.conv("data", 16, 5, 1, 2))
    h = net.inplace("ReLU", net.conv(net.inplace("ReLU", net.conv(h, 12, 1)), 8, 1))
    h = net.inplace("Dropout", net.pool(h, 3, 2, top="pool1"))
    h = net.pool(net.inplace("ReLU", net.conv(h, 12, 5, 1, 2)), 3, 2, method="AVE", top="pool2")
    h = net.inplace("ReLU", net.conv(h, 10, 1))
    net.pool(h, 8, 1, method="AVE", top="pool3")
    net.add("Softmax", "pool3", top="prob")
    return Family(old(net.text, V1_WORDS), {"pool1": (8, 16, 16), "pool2": (12, 8, 8), "pool3": (10, 1, 1)})


def vgg_cnn_s() -> Family:
    net = Net((3, 80, 80))
    h = net.inplace("ReLU", net.conv("data", 8, 7, 2))
    h = net.add("LRN", h, "lrn_param { local_size: 5 alpha: 0.0005 beta: 0.75 k: 2 }")
    h = net.pool(net.inplace("ReLU", net.conv(net.pool(h, 3, 3, top="pool1"), 12, 5)), 2, 2, top="pool2")
    # OpenCV reads no k of an LRN.
    return Family(old(net.classify(h), V1_WORDS), {"pool1": (8, 13, 13), "pool2": (12, 5, 5)}, opencv=False)


def alexnet_bn() -> Family:
    net = Net((3, 67, 67))
    h = net.pool(net.unit("data", 8, 11, 4), 3, 2, top="pool1")
    h = net.pool(net.unit(h, 12, 5, 1, 2, "group: 2"), 3, 2, top="pool2")
    return Family(net.classify(net.inplace("Dropout", net.dense(h, 16))), {"pool1": (8, 7, 7), "pool2": (12, 3, 3)})


def inception_resnet() -> Family:
    net = Net((3, 35, 35))
    h = net.unit("data", 16, 3, 2)
    row = "num_output: 6 kernel_h: 1 kernel_w: 7 pad_h: 0 pad_w: 3 bias_term: false"
    column = "num_output: 6 kernel_h: 7 kernel_w: 1 pad_h: 3 pad_w: 0 bias_term: false"
    wide = net.add("Convolution", net.unit(h, 6, 1), f"convolution_param {{ {row} }}")
    wide = net.inplace("ReLU", net.norm(wide, 0.001))
    tall = net.add("Convolution", wide, f"convolution_param {{ {column} }}")
    mixed = net.join(net.unit(h, 5, 1), net.inplace("ReLU", net.norm(tall, 0.001)))
    up = net.conv(mixed, 16, 1)
    scaled = net.inplace("Scale", up, "scale_param { bias_term: false filler { value: 0.17 } }")
    h = net.inplace("ReLU", net.sum(h, scaled))
    h = net.inplace("ReLU", net.sum(h, net.conv(mixed, 16, 1), options="operation: SUM coeff: 1.0 coeff: 0.1"))
    h = net.join(net.pool(h, 3, 2, top="down"), net.unit(h, 8, 3, 2))
    return Family(net.classify(net.inplace("Dropout", net.mean(h))), {"down": (16, 8, 8)})


def xception() -> Family:
    net = Net((3, 31, 31))
    h = net.unit("data", 8)

    def separable(bottom: str, out: int) -> str:
        options = "bias_term: false num_output: 8 group: 8 pad: 1 kernel_size: 3 stride: 1"
        deep = net.add("ConvolutionDepthwise", bottom, f"convolution_param {{ {options} }}")
        return net.norm(net.conv(deep, out, 1, more="bias_term: false"), 0.001)

    match = net.norm(net.conv(h, 12, 1, 2, more="bias_term: false"))
    branch = separable(net.inplace("ReLU", separable(net.add("ReLU", h), 8)), 12)
    h = net.sum(match, net.pool(branch, 3, 2, 1, top="pooled"))
    return Family(net.classify(net.mean(h)), {"pooled": (12, 15, 15)})


def dual_path() -> Family:
    net = Net((3, 32, 32))
    h = net.pool(net.unit("data", 16, 3, 2, 1), 3, 2, 1, top="pool1")
    net.cut(net.conv(net.unit(h, 16, 1), 20, 1), "res dense", "axis: 1 slice_point: 16")
    residual, dense = net.sum(h, "res"), "dense"
    for k in range(2):
        both = net.add("BatchNorm", net.join(residual, dense), "batch_norm_param { use_global_stats: true }")
        both = net.inplace("ReLU", net.inplace("Scale", both, "scale_param { bias_term: true }"))
        grown = net.conv(net.unit(net.unit(both, 8, 1), 8, 3, 1, 1, "group: 4"), 20, 1, more="bias_term: false")
        net.cut(grown, f"res{k} dense{k}", "axis: 1 slice_point: 16")
        residual, dense = net.sum(residual, f"res{k}"), net.join(dense, f"dense{k}")
    return Family(net.classify(net.mean(net.join(residual, dense))), {"pool1": (16, 9, 9), dense: (12, 9, 9)})


def squeeze_excite(axpy: bool) -> Family:
    net = Net((3, 24, 24))
    h = net.unit("data", 8, 3, 2, 1)
    grown = net.norm(net.conv(net.unit(h, 8), 8, 1))
    gate = net.inplace("ReLU", net.conv(net.mean(grown), 2, 1))
    gate = net.inplace("Sigmoid", net.conv(gate, 8, 1))
    shortcut = net.norm(net.conv(h, 8))
    if axpy:
        h = net.add("Axpy", f"{gate} {grown} {shortcut}")
    else:
        flat = net.add("Reshape", gate, "reshape_param { shape { dim: -1 dim: 8 } }")
        h = net.sum(net.add("Scale", f"{grown} {flat}", "scale_param { axis: 0 bias_term: false }"), shortcut)
    # OpenCV takes the batch axis of a gate with four axes for the channels.
    return Family(net.classify(net.mean(net.inplace("ReLU", h))), {h: (8, 10, 10)}, opencv=not axpy)


def mobilenet_v2() -> Family:
    net = Net((3, 32, 32))

    def six(bottom: str, out: int, k: int, s: int, p: int, more: str = "") -> str:
        return net.inplace("ReLU6", net.norm(net.conv(bottom, out, k, s, p, f"bias_term: false {more}")))

    h = six("data", 8, 3, 2, 1)
    linear = net.norm(net.conv(six(six(h, 24, 1, 1, 0), 24, 3, 1, 1, "group: 24"), 8, 1, more="bias_term: false"))
    h = six(net.sum(h, linear), 20, 1, 1, 0)
    net.conv(net.mean(h), 10, 1, top="fc7")
    net.add("Softmax", "fc7", top="prob")
    return Family(net.text, {"fc7": (10, 1, 1)}, seen={"Clip": 4})


def shufflenet(version: int) -> Family:
    net = Net((3, 32, 32))
    h = net.pool(net.unit("data", 12, 3, 2, 1), 3, 2, top="pool1")

    def deep(bottom: str, channels: int, s: int) -> str:
        options = f"num_output: {channels} kernel_size: 3 stride: {s} pad: 1 bias_term: false"
        return net.norm(net.add("ConvolutionDepthwise", bottom, f"convolution_param {{ {options} }}"))

    if version == 1:
        left = net.pool(h, 3, 2, method="AVE")
        right = net.add("ShuffleChannel", net.unit(h, 6, 1, more="group: 3"), "shuffle_channel_param { group: 3 }")
        right = net.norm(net.conv(deep(right, 6, 2), 12, 1, more="group: 3 bias_term: false"))
        h = net.inplace("ReLU", net.join(left, right))
    else:
        net.cut(h, "left right", "axis: 1")
        right = net.unit(deep(net.unit("right", 6, 1), 6, 1), 6, 1)
        h = net.add("ShuffleChannel", net.join("left", right), "shuffle_channel_param { group: 2 }")
    return Family(net.classify(net.mean(h)), {"pool1": (12, 8, 8)}, opencv=False, seen={"Transpose": 1})


def densenet() -> Family:
    net = Net((3, 31, 31))
    h = net.pool(net.unit("data", 8, 7, 2, 3), 3, 2, 0, more="ceil_mode: false", top="pool1")
    for _ in range(3):
        h = net.join(h, net.conv(net.unit(net.ready(h), 8, 1), 4, 3, 1, 1, "bias_term: false"))
    return Family(net.classify(net.mean(net.norm(h))), {"pool1": (8, 7, 7), h: (20, 7, 7)})


def residual(preactivated: bool, group: int = 1) -> Family:
    net = Net((3, 33, 33))
    h = net.pool(net.unit("data", 8, 7, 2, 3), 3, 2, top="pool1")
    for stride in (1, 2):
        start = h
        if preactivated:
            start = net.ready(h)
            branch = net.conv(net.unit(start, 8, 3, stride, 1), 16, 3, 1, 1, "bias_term: false")
            h = net.sum(net.conv(start, 16, 1, stride, more="bias_term: false"), branch)
        else:
            branch = net.unit(net.unit(h, 8, 1, stride), 8, 3, 1, 1, f"group: {group}")
            branch = net.norm(net.conv(branch, 16, 1, more="bias_term: false"))
            h = net.inplace("ReLU", net.sum(net.norm(net.conv(start, 16, 1, stride, more="bias_term: false")), branch))
    return Family(net.classify(net.mean(h)), {"pool1": (8, 8, 8), h: (16, 4, 4)})


FAMILIES = {
    "lenet": lenet(),
    "siamese": siamese(),
    "caffenet-spp": caffenet_spp(),
    "nin": network_in_network(),
    "vgg-cnn-s": vgg_cnn_s(),
    "alexnet-bn": alexnet_bn(),
    "inception-resnet": inception_resnet(),
    "xception": xception(),
    "dpn": dual_path(),
    "senet-axpy": squeeze_excite(axpy=True),
    "senet-scale": squeeze_excite(axpy=False),
    "mobilenet-v2": mobilenet_v2(),
    "shufflenet": shufflenet(1),
    "shufflenet-v2": shufflenet(2),
    "densenet": densenet(),
    "resnet-v2": residual(preactivated=True),
    "resnet": residual(preactivated=False),
    "resnext": residual(preactivated=False, group=4),
    "pspnet": dense.pyramid_scene(),
    "segnet": dense.segnet_encoder(),
    "fcn": dense.fully_convolutional(),
    "sphereface": dense.sphere_face(),
    "light-cnn": dense.light_cnn(),
    "deepid": dense.deep_id(),
    "darknet": dense.darknet(),
    "pvanet": dense.concatenated_relu(),
    "deeplab": dense.deep_lab(),
    "googlenet": dense.googlenet_heads(),
    "ssd": dense.detector_base(),
    "normface": dense.norm_face(),
    "multi-label": dense.multi_label(),
}
