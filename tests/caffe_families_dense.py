"""Nets that score every position, that know faces, that detect, or that have several heads, in miniature."""

from __future__ import annotations

from tests.caffe_nets import layer
from tests.caffe_text import Family, Net, data


def pyramid_scene() -> Family:
    net = Net((3, 33, 33))

    def bn(bottom: str) -> str:
        options = "slope_filler { type: 'constant' value: 1 } bias_filler { value: 0 } frozen: true momentum: 0.95"
        zeros = "param { lr_mult: 1 } param { lr_mult: 1 } param { lr_mult: 0 } param { lr_mult: 0 }"
        return net.inplace("ReLU", net.inplace("BN", bottom, f"{zeros} bn_param {{ {options} }}"))

    h = bn(net.conv("data", 8, 3, 2, 1, "bias_term: false"))
    h = bn(net.conv(h, 8, 3, 1, 2, "dilation: 2 bias_term: false"))
    parts = [h]
    for window in (17, 9):
        part = bn(net.conv(net.pool(h, window, window, method="AVE"), 4, 1))
        parts.append(net.add("Interp", part, "interp_param { height: 17 width: 17 }", f"interp{window}"))
    h = net.inplace("Dropout", net.join(*parts))
    return Family(net.classify(net.mean(h)), {"interp9": (4, 17, 17), h: (16, 17, 17)}, opencv=False)


def segnet_encoder() -> Family:
    net = Net((3, 36, 48))
    h = net.add("LRN", "data", "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")
    statistics = "bn_mode: INFERENCE scale_filler { value: 1 } shift_filler { value: 0.001 }"
    window = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
    for out in (6, 8):
        h = net.inplace("BN", net.conv(h, out, 7, 1, 3), f"bn_param {{ {statistics} }}")
        net.text += layer(f"pool{out}", "Pooling", net.inplace("ReLU", h), f"pool{out} mask{out}", window)
        h = f"pool{out}"
    return Family(net.classify(h), {"pool8": (8, 9, 12)}, opencv=False)


def fully_convolutional() -> Family:
    net = Net((3, 40, 48))
    h = net.pool(net.inplace("ReLU", net.conv("data", 6, 3, 1, 20)), 2, 2, top="pool1")
    deep = net.pool(net.inplace("ReLU", net.conv(h, 8, 3, 1, 1)), 2, 2)
    scores = net.conv(net.inplace("Dropout", net.inplace("ReLU", net.conv(deep, 8, 3))), 5, 1)
    wider = "num_output: 5 kernel_size: 4 stride: 2 bias_term: false weight_filler { type: 'bilinear' }"
    up = net.add("Deconvolution", scores, f"convolution_param {{ {wider} group: 5 }}", "up2")
    skip = net.add("Crop", f"{net.conv(h, 5, 1)} {up}", "crop_param { axis: 2 offset: 1 }", "skip")
    up = net.add("Deconvolution", net.sum(up, skip), f"convolution_param {{ {wider} }}", "up4")
    net.add("Crop", f"{up} data", "crop_param { axis: 2 offset: 19 }", "scores")
    net.add("Softmax", "scores", top="prob")
    return Family(net.text, {"pool1": (6, 39, 43), "up2": (5, 38, 42), "scores": (5, 40, 48)})


def sphere_face() -> Family:
    net = Net((3, 32, 28))
    h = net.inplace("PReLU", net.conv("data", 8, 3, 2, 1))
    branch = net.inplace("PReLU", net.conv(net.inplace("PReLU", net.conv(h, 8, 3, 1, 1)), 8, 3, 1, 1))
    h = net.dense(net.sum(h, branch), 12, "fc5")
    return Family(net.text, {"fc5": (12,)}, head="logits", seen={"PRelu": 3})


def light_cnn() -> Family:
    net = Net((1, 32, 32))

    def maxout(bottom: str) -> str:
        net.cut(bottom, f"{bottom}_a {bottom}_b", "slice_dim: 1")
        return net.sum(f"{bottom}_a", f"{bottom}_b", options="operation: MAX")

    h = net.pool(maxout(net.conv("data", 12, 5, 1, 2)))
    h = maxout(net.dense(net.pool(maxout(net.conv(h, 16, 3))), 24))
    return Family(net.classify(net.inplace("Dropout", h)), {h: (12,)})


def deep_id() -> Family:
    net = Net((3, 39, 31))
    third = net.pool(net.inplace("ReLU", net.conv(net.pool(net.inplace("ReLU", net.conv("data", 8, 4))), 10, 3)))
    fourth = net.inplace("ReLU", net.conv(third, 12, 2))
    both = net.sum(net.dense(third, 16), net.dense(fourth, 16))
    return Family(net.classify(net.inplace("ReLU", both), 20), {third: (10, 8, 6), fourth: (12, 7, 5)})


def darknet() -> Family:
    net = Net((3, 32, 32))
    h = "data"
    for out in (8, 12):
        h = net.norm(net.conv(h, out, 3, 1, 1, "bias_term: false"), 1e-6)
        h = net.pool(net.inplace("ReLU", h, "relu_param { negative_slope: 0.1 }"))
    h = net.mean(net.conv(h, 10, 1), "scores")
    net.add("Softmax", "scores", top="prob")
    return Family(net.text, {"scores": (10, 1, 1)}, seen={"LeakyRelu": 2})


def concatenated_relu() -> Family:
    net = Net((3, 32, 32))
    h = net.norm(net.conv("data", 8, 7, 2, 3))
    negative = net.add("Power", h, "power_param { power: 1 scale: -1.0 shift: 0 }")
    h = net.inplace("ReLU", net.inplace("Scale", net.join(h, negative), "scale_param { bias_term: true }"))
    return Family(net.classify(net.pool(h, 3, 2, top="pool1")), {"pool1": (16, 8, 8)}, seen={"Power": 1})


def deep_lab() -> Family:
    net = Net((3, 33, 33))
    h = net.pool(net.inplace("ReLU", net.conv("data", 6, 3, 1, 1)), 3, 2, 1, top="pool1")
    h = net.pool(net.inplace("ReLU", net.conv(h, 8, 3, 1, 2, "hole: 2")), 3, 1, 1, top="pool2")
    h = net.conv(net.inplace("Dropout", net.inplace("ReLU", net.conv(h, 8, 3, 1, 12, "hole: 12"))), 4, 1)
    net.add("Interp", h, "interp_param { zoom_factor: 8 }", "scores")
    net.add("Softmax", "scores", top="prob")
    return Family(net.text, {"pool1": (6, 17, 17), "pool2": (8, 17, 17), "scores": (4, 129, 129)}, opencv=False)


def googlenet_heads() -> Family:
    net = Net(
        source=data("mirror: true crop_size: 32 mean_value: 104 mean_value: 117 mean_value: 123", "TRAIN")
        + data("crop_size: 32 mean_value: 104 mean_value: 117 mean_value: 123")
    )
    h = net.pool(net.inplace("ReLU", net.conv("data", 8, 7, 2, 3)), 3, 2, top="pool1")
    narrow, wide = net.inplace("ReLU", net.conv(h, 4, 1)), net.inplace("ReLU", net.conv(h, 6, 3, 1, 1))
    mixed = net.join(narrow, wide, net.conv(net.pool(h, 3, 1, 1), 4, 1))
    aux = net.dense(net.pool(mixed, 5, 3, method="AVE", top="aux_pool"), 10, "loss1/classifier")
    net.add("SoftmaxWithLoss", f"{aux} label", "loss_weight: 0.3")
    deeper = net.inplace("ReLU", net.conv(mixed, 8, 3, 1, 1))
    scores = net.dense(net.inplace("Dropout", net.pool(deeper, 8, 1, method="AVE")), 10, "loss3/classifier")
    net.add("SoftmaxWithLoss", f"{scores} label", "loss_weight: 1")
    net.add("Accuracy", f"{scores} label", "include { phase: TEST } accuracy_param { top_k: 5 }")
    return Family(net.text, {"pool1": (8, 8, 8), "loss3/classifier": (10,)}, notes=3, opencv=False)


def detector_base() -> Family:
    net = Net((3, 38, 38))
    scaled = "across_spatial: false scale_filler { type: 'constant' value: 20 } channel_shared: false"
    h = net.add("Normalize", net.inplace("ReLU", net.conv("data", 8, 3, 2, 1)), f"norm_param {{ {scaled} }}")
    moved = net.add("Permute", net.conv(h, 6, 3, 1, 1), "permute_param { order: 0 order: 2 order: 3 order: 1 }")
    flat = net.add("Flatten", moved, "flatten_param { axis: 1 }")
    net.dense(flat, 10, "scores")
    net.add("Softmax", "scores", top="prob")
    return Family(
        net.text, {h: (8, 19, 19), moved: (19, 19, 6), flat: (2166,)}, seen={"L2Normalize": 1, "Transpose": 1}
    )


def norm_face() -> Family:
    net = Net((3, 24, 24))
    h = net.dense(net.pool(net.inplace("ReLU", net.conv("data", 8, 5))), 16)
    h = net.add("Reshape", h, "reshape_param { shape { dim: 0 dim: 16 dim: 1 dim: 1 } }")
    h = net.add("Normalize", h, "norm_param { across_spatial: false channel_shared: true }")
    net.add("InnerProduct", h, "inner_product_param { num_output: 10 bias_term: false }", "cosines")
    net.add("Scale", "cosines", "scale_param { axis: 0 num_axes: 0 filler { value: 30 } }", "scores")
    net.add("Softmax", "scores", top="prob")
    return Family(net.text, {"scores": (10,)}, opencv=False)


def multi_label() -> Family:
    net = Net((3, 24, 24))
    h = net.dense(net.pool(net.inplace("TanH", net.conv("data", 8, 5)), 2, 2, method="AVE"), 20, "fc8")
    net.add("Sigmoid", h, top="prob")
    return Family(net.text, {"fc8": (20,)}, head="logits", notes=1)
