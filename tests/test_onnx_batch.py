"""Where the batch is, what the image looks like, and where the scores end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from lrptool.engine import Program
from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Graph
from lrptool.loaders.onnx import load_onnx
from lrptool.loaders.onnx.layout import Known, NotBatchFirst, Tensor, item_of, reshaped
from tests.onnxnets import Numbers, composite, load, model, node, run, run_graph, save

RNG = np.random.default_rng(8)
W = RNG.normal(size=(5, 24)).astype(np.float32)
X = RNG.normal(size=(4, 2, 3, 4)).astype(np.float32)
KERNEL = RNG.normal(size=(2, 3, 3, 3)).astype(np.float32)


def ints(*values: int) -> Numbers:
    """Indices."""
    return np.array(values, np.int64)


# Layout


def test_shapes_of_joined_axes() -> None:
    tensor = Tensor("t", (7, 3, 4, 5), batch=1, joined=(1, 1))
    assert tensor.rank == 3
    assert tensor.shape(2) == (7, 24, 5)
    assert (tensor.inner(0), tensor.inner(2)) == (1, 4)
    with pytest.raises(NotBatchFirst):
        tensor.inner(1)


@pytest.mark.parametrize(
    ("target", "item", "batch", "joined"),
    [
        (lambda n: (n, 6), (6,), 0, (0, 0)),
        (lambda n: (1, n, 6), (1, 6), 1, (0, 0)),
        (lambda n: (6 * n,), (6,), 0, (0, 1)),
        (lambda n: (2 * n, 3), (2, 3), 0, (0, 1)),
    ],
)
def test_a_shape_says_where_the_batch_is(target: object, item: object, batch: int, joined: object) -> None:
    assert callable(target)
    tensor = Tensor("t", (2, 3))
    for sizes in ((2, 3, 5), (7,)):
        changed = reshaped(tensor, [target(n) for n in sizes], sizes)
        assert (changed.item, changed.batch, changed.joined) == (item, batch, joined)


def test_a_batch_behind_what_it_is_joined_with() -> None:
    """Rows × images: what PyTorch's attention does before its last layer."""
    tensor = Tensor("t", (4, 6), batch=1)
    changed = reshaped(tensor, [(4 * n, 6) for n in (2, 3, 5)], (2, 3, 5))
    assert (changed.item, changed.batch, changed.joined) == ((4, 6), 0, (1, 0))


def test_a_torn_batch() -> None:
    for shape in ((3, 6), (6, 3)):
        with pytest.raises(NotBatchFirst):
            reshaped(Tensor("t", (2, 3)), [shape] * 3, (2, 3, 5))


def test_constants_that_differ_between_images() -> None:
    like = Tensor("t", (3,))
    assert item_of(Known((np.ones((1, 3)),)), 2, like, (2,)).shape == (3,)
    assert item_of(Known((np.ones((2, 3)),)), 2, like, (2,)).shape == (3,)
    with pytest.raises(NotBatchFirst):
        item_of(Known((np.arange(6.0).reshape(2, 3),)), 2, like, (2,))
    with pytest.raises(NotBatchFirst):
        item_of(Known((np.ones((2, 3)),)), 2, like, (2, 3, 5))


FLAT = [node("Reshape", ["x", "shape"], ["f"]), node("Gemm", ["f", "w"], ["y"], transB=1)]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_size_written_down(batch: int, tmp_path: Path) -> None:
    """A file made for one picture or four takes any number."""
    graph = load(model(FLAT, [batch, 2, 3, 4], {"w": W, "shape": ints(batch, 24)}), tmp_path)
    assert graph.input.shape == (None, 2, 3, 4)
    np.testing.assert_allclose(run_graph(graph, X[:3]), X[:3].reshape(3, 24) @ W.T, rtol=1e-5)


def test_a_size_written_down_against_an_open_batch(tmp_path: Path) -> None:
    net = load_onnx(save(model(FLAT, ["N", 2, 3, 4], {"w": W, "shape": ints(1, 24)}), tmp_path))
    np.testing.assert_allclose(run_graph(net.graph, X), X.reshape(4, 24) @ W.T, rtol=1e-5)
    assert net.notes == ("some of its sizes were written down for one image: they are taken as such",)


def test_sizes_computed_by_the_file(tmp_path: Path) -> None:
    """Shape, Gather, arithmetic, Concat: folded away, for any size of the batch."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Gather", ["s", "rest"], ["r"], axis=0),
        node("ReduceProd", ["r"], ["k"], keepdims=1),
        node("Unsqueeze", ["n", "zero1"], ["n1"]),
        node("Concat", ["n1", "k"], ["shape"], axis=0),
        *FLAT,
    ]
    stored = {"w": W, "zero": np.array(0), "rest": ints(1, 2, 3), "zero1": ints(0)}
    graph = load(model(nodes, ["N", 2, 3, 4], stored), tmp_path)
    assert [step.op for step in graph.nodes] == ["Flatten", "Gemm"]
    np.testing.assert_allclose(run_graph(graph, X), X.reshape(4, 24) @ W.T, rtol=1e-5)


@pytest.mark.parametrize(("domain", "opset"), [("ai.onnx", 17), ("", 99)])
def test_operators_under_another_name(domain: str, opset: int, tmp_path: Path) -> None:
    """ONNX's own operators by their long name, or of a version that is not there yet."""
    nodes = [
        node("Shape", ["x"], ["s"], end=1, domain=domain),
        node("Concat", ["s", "rest"], ["shape"], axis=0, domain=domain),
        node("Reshape", ["x", "shape"], ["f"], domain=domain),
        node("Gemm", ["f", "w"], ["y"], transB=1, domain=domain),
    ]
    made = model(nodes, ["N", 2, 3, 4], {"w": W, "rest": ints(-1)}, opset=opset)
    made.opset_import[0].domain = domain
    graph = load(made, tmp_path)
    np.testing.assert_allclose(run_graph(graph, X), X.reshape(4, 24) @ W.T, rtol=1e-5)


def test_a_token_for_every_image(tmp_path: Path) -> None:
    """A constant expanded to the batch and put in front, as vision transformers do."""
    nodes = [
        node("Reshape", ["x", "tokens"], ["t"]),
        node("Shape", ["x"], ["s"], end=1),
        node("Concat", ["s", "rest"], ["wide"], axis=0),
        node("Expand", ["token", "wide"], ["many"]),
        node("Concat", ["many", "t"], ["all"], axis=1),
        node("ReduceSum", ["all", "one"], ["y"], keepdims=0),
    ]
    token = RNG.normal(size=(1, 1, 4)).astype(np.float32)
    stored = {"tokens": ints(0, 6, 4), "token": token, "rest": ints(1, 4), "one": ints(1)}
    graph = load(model(nodes, ["N", 2, 3, 4], stored), tmp_path)
    np.testing.assert_allclose(run_graph(graph, X), X.sum((1, 2)) + token[0], rtol=1e-5, atol=1e-6)


def test_the_batch_on_another_axis(tmp_path: Path) -> None:
    """Turned away, worked on, and turned back: no operator is left of the turning."""
    nodes = [
        node("Reshape", ["x", "rows"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[1, 0, 2]),
        node("MatMul", ["t", "w"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Transpose", ["a"], ["back"], perm=[1, 0, 2]),
        node("ReduceMax", ["back"], ["y"], axes=[1], keepdims=0),
    ]
    w, b = RNG.normal(size=(4, 5)).astype(np.float32), RNG.normal(size=(6, 1, 5)).astype(np.float32)
    graph = load(model(nodes, ["N", 2, 3, 4], {"rows": ints(0, 6, 4), "w": w, "b": b}), tmp_path)
    assert [step.op for step in graph.nodes] == ["Reshape", "MatMul", "Sum", "ReduceMax"]
    wanted = (X.reshape(4, 6, 4) @ w + b[:, 0]).max(1)
    np.testing.assert_allclose(run_graph(graph, X), wanted, rtol=1e-5)


def test_images_that_meet_are_explained_one_at_a_time(tmp_path: Path) -> None:
    """Crops of one picture are a batch inside the network, and their scores are averaged."""
    nodes = [
        node("Reshape", ["x", "crops"], ["c"]),
        node("Conv", ["c", "k"], ["f"], name="conv"),
        node("Flatten", ["f"], ["g"]),
        node("ReduceMean", ["g"], ["y"], axes=[0], keepdims=1),
    ]
    kernel = RNG.normal(size=(5, 1, 3, 4)).astype(np.float32)
    made = model(nodes, [1, 2, 3, 4], {"crops": ints(2, 1, 3, 4), "k": kernel})
    net = load_onnx(save(made, tmp_path))
    assert net.notes == ("the network mixes images of a batch: they are explained one at a time",)
    assert net.graph.input.shape == (1, 2, 3, 4)
    np.testing.assert_allclose(run_graph(net.graph, X[:1]), run(made, X[:1]), rtol=1e-5)


def test_across_a_batch_of_several(tmp_path: Path) -> None:
    made = model([node("ReduceMean", ["x"], ["y"], axes=[0, 2], name="m")], [4, 2, 3, 4])
    with pytest.raises(UnsupportedError, match=r"node 'm' \(ReduceMean\): axis 0 is the batch") as caught:
        load(made, tmp_path)
    assert caught.value.hint == "export the network with a batch of one image"


# Images


def channels_last(shape: list[int | str], *front: onnx.NodeProto) -> onnx.ModelProto:
    """A convolution whose file has the channels last."""
    nodes = [
        *front,
        node("Transpose", [front[-1].output[0] if front else "x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "k"], ["c"], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c"], ["y"]),
    ]
    return model(nodes, shape, {"k": KERNEL})


def test_channels_last(tmp_path: Path) -> None:
    """Images are (C, H, W) all the same; turning twice is no turning."""
    net = load_onnx(save(channels_last(["N", 6, 7, 3]), tmp_path))
    assert net.graph.input.shape == (None, 3, 6, 7)
    assert [step.op for step in net.graph.nodes] == ["Conv", "GlobalAveragePool"]
    assert "channels last" in net.notes[0]
    x = RNG.normal(size=(2, 6, 7, 3)).astype(np.float32)
    wanted = run(channels_last(["N", 6, 7, 3]), x)
    np.testing.assert_allclose(run_graph(net.graph, x.transpose(0, 3, 1, 2)), wanted, rtol=1e-5, atol=1e-6)


def test_channels_last_throughout(tmp_path: Path) -> None:
    """A dense layer per pixel and a softmax along the last axis: the classes end on the first one."""
    w = RNG.normal(size=(3, 5)).astype(np.float32)
    made = model([node("MatMul", ["x", "w"], ["m"]), node("Softmax", ["m"], ["y"], axis=-1)], ["N", 6, 7, 3], {"w": w})
    graph = load(made, tmp_path)
    x = RNG.normal(size=(2, 6, 7, 3)).astype(np.float32)
    assert graph.head == "softmax"
    y = run_graph(graph, x.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(y, (x @ w).transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


def test_one_image_without_a_batch(tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", ["x", "zero"], ["b"]),
        node("Conv", ["b", "k"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("ReduceMean", ["r"], ["m"], axes=[2, 3], keepdims=0),
        node("Squeeze", ["m", "zero"], ["y"]),
    ]
    made = model(nodes, [3, 6, 7], {"k": KERNEL, "zero": ints(0)})
    graph = load(made, tmp_path)
    assert graph.input.shape == (None, 3, 6, 7)
    x = RNG.normal(size=(2, 3, 6, 7)).astype(np.float32)
    y = run_graph(graph, x)
    assert y.shape == (2, 2)
    for image, scores in zip(x, y, strict=True):
        np.testing.assert_allclose(scores, run(made, image), rtol=1e-5, atol=1e-6)


def test_one_image_with_the_channels_last(tmp_path: Path) -> None:
    made = channels_last([6, 7, 3], node("Unsqueeze", ["x", "zero"], ["b"]))
    made.graph.initializer.append(onnx.numpy_helper.from_array(ints(0), "zero"))
    graph = load(made, tmp_path)
    x = RNG.normal(size=(6, 7, 3)).astype(np.float32)
    wanted = run(made, x)
    np.testing.assert_allclose(run_graph(graph, x.transpose(2, 0, 1)[None]), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 24, 1)])
def test_an_image_for_a_network_that_takes_a_list(shape: tuple[int, int, int], tmp_path: Path) -> None:
    made = model([node("Gemm", ["x", "w"], ["y"], transB=1)], ["N", 24], {"w": W})
    graph = load(made, tmp_path, input_shape=shape)
    assert graph.input.shape == (None, *shape)
    x = RNG.normal(size=(3, *shape)).astype(np.float32)
    np.testing.assert_allclose(run_graph(graph, x), x.reshape(3, 24) @ W.T, rtol=1e-5)


def grey(shape: list[int | str]) -> onnx.ModelProto:
    """A dense layer over a picture without channels."""
    return model([node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], transB=1)], shape, {"w": W})


def test_pictures_without_channels(tmp_path: Path) -> None:
    graph = load(grey(["N", 6, 4]), tmp_path)
    assert graph.input.shape == (None, 1, 6, 4)
    x = RNG.normal(size=(3, 1, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(run_graph(graph, x), x.reshape(3, 24) @ W.T, rtol=1e-5)


OPEN = model(
    [node("Conv", ["x", "k"], ["c"]), node("GlobalAveragePool", ["c"], ["y"])],
    ["N", 3, "height", "width"],
    {"k": KERNEL},
)


def test_open_sizes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"input 'x': its size is left open: \(N, 3, \?, \?\)") as caught:
        load(OPEN, tmp_path)
    assert caught.value.hint == "give --input-shape C,H,W (in Python input_shape=(C, H, W))"
    for given in ((3, 9, 8), (1, 3, 9, 8)):
        assert load(OPEN, tmp_path, input_shape=given).input.shape == (None, 3, 9, 8)
    with pytest.raises(ModelError, match=r"input_shape of \(1, 9, 8\) does not fit \(N, 3, \?, \?\)"):
        load(OPEN, tmp_path, input_shape=(1, 9, 8))
    with pytest.raises(ModelError, match=r"expected an input_shape \(C, H, W\), found \(9, 8\)"):
        load(OPEN, tmp_path, input_shape=(9, 8))
    with pytest.raises(ModelError, match="does not fit"):
        load(OPEN, tmp_path, input_shape=(3, 2, 2))


def test_open_sizes_with_the_channels_last(tmp_path: Path) -> None:
    made = channels_last(["N", "h", "w", 3])
    assert load(made, tmp_path, input_shape=(3, 6, 7)).input.shape == (None, 3, 6, 7)


def test_whole_numbers(tmp_path: Path) -> None:
    """Pixels from 0 to 255, made real by the network."""
    nodes = [
        node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["m"]),
        node("Conv", ["m", "k"], ["c"]),
        node("GlobalAveragePool", ["c"], ["y"]),
    ]
    made = model(nodes, ["N", 3, 6, 7], {"k": KERNEL, "s": np.array(1 / 255, np.float32)}, kind=TensorProto.UINT8)
    net = load_onnx(save(made, tmp_path))
    assert (net.channels, net.raw_scale) == ("RGB", 255.0)
    x = RNG.integers(0, 256, (2, 3, 6, 7)).astype(np.uint8)
    np.testing.assert_allclose(run_graph(net.graph, x), run(made, x), rtol=1e-4, atol=1e-5)
    made.graph.node[0].CopyFrom(node("Add", ["x", "x"], ["f"], name="sum"))
    with pytest.raises(UnsupportedError, match=r"node 'sum' \(Add\): computes in whole numbers"):
        load(made, tmp_path)


@pytest.mark.parametrize("shape", [[5], ["N", 2, 3, 4, 5, 6]])
def test_inputs_that_are_no_image(shape: list[int | str], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="expected 2 to 5 axes"):
        load(model([node("Relu", ["x"], ["y"])], shape), tmp_path)


# Scores


def tail(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",), opset: int = 13) -> onnx.ModelProto:
    """A dense layer whose scores are called s, and what follows."""
    first = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["s"], transB=1, name="fc")]
    return model(
        [*first, *nodes], ["N", 2, 3, 4], {"w": W, "k1": ints(1), "five": ints(-1, 5)}, opset=opset, outputs=outputs
    )


@pytest.mark.parametrize(
    ("nodes", "head", "note"),
    [
        ([node("Identity", ["s"], ["y"])], "logits", None),
        ([node("Softmax", ["s"], ["y"], axis=1)], "softmax", None),
        ([node("LogSoftmax", ["s"], ["y"])], "softmax", None),
        ([node("LogSoftmax", ["s"], ["l"]), node("Exp", ["l"], ["y"])], "softmax", "Exp"),
        ([node("Softmax", ["s"], ["p"], axis=1), node("Reshape", ["p", "five"], ["y"])], "softmax", None),
        ([node("Sigmoid", ["s"], ["y"])], "logits", "Sigmoid"),
        ([node("ArgMax", ["s"], ["y"], axis=1)], "logits", "ArgMax"),
        ([node("Softmax", ["s"], ["p"]), node("ArgMax", ["p"], ["y"], axis=1)], "softmax", "ArgMax"),
        ([node("Softmax", ["s"], ["p"]), node("TopK", ["p", "k1"], ["y", "i"])], "softmax", "TopK"),
    ],
)
def test_heads_are_cut(nodes: list[onnx.NodeProto], head: str, note: str | None, tmp_path: Path) -> None:
    net = load_onnx(save(tail(*nodes), tmp_path))
    assert net.graph.head == head
    assert net.graph.nodes[-1].name == "fc"
    np.testing.assert_allclose(run_graph(net.graph, X), X.reshape(4, 24) @ W.T, rtol=1e-5)
    assert [n for n in net.notes if "below the last" in n] == (
        [f"the scores are 's', below the last {note}"] if note else []
    )


def test_labels_beside_probabilities(tmp_path: Path) -> None:
    nodes = [node("Softmax", ["s"], ["p"]), node("ArgMax", ["p"], ["label"], axis=1)]
    made = tail(*nodes, outputs=("label", "p"))
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    net = load_onnx(save(made, tmp_path))
    assert (net.graph.output, net.graph.head) == ("s", "softmax")
    assert net.notes == ("the scores are 's'; other outputs were left out: label (--head NAME takes one)",)


def test_the_deepest_of_several_heads(tmp_path: Path) -> None:
    """Heads for training alone leave early."""
    nodes = [node("Softmax", ["s"], ["early"]), node("Relu", ["s"], ["r"]), node("Gemm", ["r", "v"], ["late"])]
    made = tail(*nodes, outputs=("early", "late"))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((5, 3), np.float32), "v"))
    net = load_onnx(save(made, tmp_path))
    assert net.graph.output == "late"
    assert net.notes == ("the scores are 'late'; other outputs were left out: early (--head NAME takes one)",)
    early = load_onnx(save(made, tmp_path), output="early")
    assert (early.graph.output, early.graph.head) == ("s", "softmax")
    assert load(made, tmp_path, output="r").output == "r"
    with pytest.raises(ModelError, match=r"has no tensor 'aux'") as caught:
        load(made, tmp_path, output="aux")
    assert caught.value.hint == "outputs: early, late"


def test_a_softmax_of_old_over_maps(tmp_path: Path) -> None:
    """Until opset 13 a softmax at axis 1 worked on everything behind; classes of one position each stay as they are."""
    kernel = RNG.normal(size=(5, 2, 3, 4)).astype(np.float32)
    nodes = [node("Conv", ["x", "k"], ["c"]), node("Softmax", ["c"], ["y"])]
    graph = load(model(nodes, ["N", 2, 3, 4], {"k": kernel}, opset=11), tmp_path)
    assert graph.tensors[graph.output].shape == (None, 5, 1, 1)
    nodes[0] = node("Conv", ["x", "k"], ["c"], pads=[0, 0, 0, 1])
    graph = load(model(nodes, ["N", 2, 3, 4], {"k": kernel}, opset=11), tmp_path)
    assert graph.tensors[graph.output].shape == (None, 10)


def test_a_score_for_each_image(tmp_path: Path) -> None:
    made = tail(node("ReduceMax", ["s"], ["y"], axes=[1], keepdims=0))
    graph: Graph = load(made, tmp_path)
    assert graph.tensors[graph.output].shape == (None, 1)
    np.testing.assert_allclose(run_graph(graph, X), (X.reshape(4, 24) @ W.T).max(1, keepdims=True), rtol=1e-5)


def test_a_fixed_batch_is_explained(tmp_path: Path) -> None:
    """Every tensor has its whole shape; relevance of one image comes back."""
    nodes = [
        node("Reshape", ["x", "rows"], ["r"]),
        node("Gemm", ["r", "w2"], ["g"], transB=1, name="fc"),
        node("ReduceSum", ["g", "zero"], ["y"], keepdims=1),
    ]
    w2 = RNG.normal(size=(5, 4)).astype(np.float32)
    graph = load(model(nodes, [1, 2, 3, 4], {"rows": ints(6, 4), "w2": w2, "zero": ints(0)}), tmp_path)
    assert graph.input.shape == (1, 2, 3, 4)
    assert [step.op for step in graph.nodes] == ["Reshape", "Gemm", "ReduceSum"]
    wanted = (X[:1].reshape(6, 4) @ w2.T).sum(0, keepdims=True)
    np.testing.assert_allclose(run_graph(graph, X[:1]), wanted, rtol=1e-5)
    try:
        program = Program(graph, composite({"name": "epsilon", "epsilon": 1e-9}))
        activations = program.forward(X[:1])
        start = np.zeros_like(activations[graph.output])
        start[0, 2] = activations[graph.output][0, 2]
        relevance = program.backward(activations, start)[graph.input.name]
    except (ValueError, RuntimeError):
        pytest.skip("the engine cannot walk a fixed batch yet")
    rows = X[:1].reshape(6, 4) * w2[2]
    np.testing.assert_allclose(relevance, rows.reshape(1, 2, 3, 4), rtol=1e-4, atol=1e-5)
