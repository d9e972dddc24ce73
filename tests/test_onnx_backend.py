"""The ONNX project's own tests of every operator: what its files say must come out of the graphs they become."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from lrptool.errors import LrpError
from lrptool.loaders.onnx.layout import NotBatchFirst
from tests.onnxnets import Numbers, run, through_graph

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
OPERATORS = re.findall(
    r"\w+",
    """
Abs Add AveragePool BatchNormalization Celu CenterCropPad Clip Concat Conv ConvTranspose DepthToSpace Div
Dropout Elu Erf Exp Expand Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool GroupNormalization
HardSigmoid HardSwish Identity InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization
LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mul Neg PRelu Pad Pow RMSNormalization Reciprocal
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape
Resize Selu Sigmoid Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu
Tile Transpose Unsqueeze Upsample Where
""",
)
TWO_OF_THEM = r"constant|computed from the image|cannot be brought to|cannot be computed|different powers|a matrix"
ACROSS_THE_BATCH = {"MeanVarianceNormalization", "Tile"}
"""All their tests work across the first axis, which is the batch here."""
NOT_TAKEN = r"cubic|antialias|tf_crop|not_larger|not_smaller|half_pixel_symmetric|training|min_greater"
"""Refused, with a message: other tests see to that."""
if tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 18):
    NOT_TAKEN += "|averagepool.*ceil"  # the last window counted what lies beyond the padding
FLOATS = (np.float32, np.float64)
OWN_WAYS = {
    "test_resize_downsample_scales_linear_align_corners": "onnxruntime computes it otherwise",
    "test_averagepool_2d_ceil_last_window_starts_on_pad": "the expected numbers are rounded",
}
Case = tuple[str, ModelProto, dict[str, Numbers], Numbers]


def stored(path: Path) -> Numbers:
    """A tensor file of the ONNX project."""
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


def data_set(folder: Path) -> tuple[list[Numbers], list[Numbers]]:
    """Inputs and outputs that lie beside a model; TypeError where one is no tensor."""
    found = []
    for kind in ("input", "output"):
        count = len(list(folder.glob(f"test_data_set_0/{kind}_*.pb")))
        try:
            found.append([stored(folder / "test_data_set_0" / f"{kind}_{k}.pb") for k in range(count)])
        except Exception as error:
            raise TypeError from error
    return found[0], found[1]


@functools.cache
def cases() -> dict[str, list[Case]]:
    """By operator: name, model, inputs and first output of every test with floats in and out."""
    found: dict[str, list[Case]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests compute infinities on purpose
        generated = load_model_tests(kind="node")
    for case in generated:
        try:
            made = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
            inputs, outputs = case.data_sets[0] if case.data_sets else data_set(Path(case.model_dir))
        except TypeError:  # lists of tensors
            continue
        operators = {node.op_type for node in made.graph.node}
        if len(operators) == 1 and all(isinstance(v, np.ndarray | np.generic) for v in (*inputs, outputs[0])):
            names = [value.name for value in made.graph.input]
            feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
            entry = (case.name, made, feeds, np.asarray(outputs[0]))
            found.setdefault(operators.pop(), []).append(entry)
    return found


def attempts(case: Case) -> Iterator[tuple[str, Numbers]]:
    """What comes out, with each float input in turn as the image, for one size of the batch, several, as one item."""
    _, made, feeds, _ = case
    for image, x in feeds.items():
        if x.dtype not in FLOATS or x.ndim < 1 or not x.size:
            continue
        for sizes in ((len(x),), (2, 3, 5), ()):
            try:
                yield f"{image} {sizes}", through_graph(made, feeds, image, sizes=sizes)
            except NotBatchFirst:
                pass
            except LrpError as error:
                # Weights that are computed from the image, and shapes that hold for one size of the batch only.
                if not re.search(TWO_OF_THEM, str(error)):
                    raise


@pytest.mark.parametrize("op", OPERATORS)
def test_operator(op: str) -> None:
    done = 0
    if op not in cases():
        pytest.skip("too new for the onnx that is installed")
    for case in cases()[op]:
        name, _, _, wanted = case
        if name in OWN_WAYS or wanted.dtype not in FLOATS or re.search(NOT_TAKEN, name):
            continue
        for how, y in attempts(case):
            scale = max(1e-6, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
            assert y.shape == wanted.shape, (name, how)
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{name} {how}")
            done += 1
    assert done or op in ACROSS_THE_BATCH


@pytest.mark.parametrize("name", sorted(OWN_WAYS))
def test_own_ways_are_those_of_onnxruntime(name: str) -> None:
    found = [case for entries in cases().values() for case in entries if case[0] == name]
    if not found:
        pytest.skip("too new for the onnx that is installed")
    (case,) = found
    _, made, feeds, _ = case
    made = ModelProto.FromString(made.SerializeToString())
    image, *others = feeds
    made.graph.initializer.extend(numpy_helper.from_array(feeds[other], other) for other in others)
    for other in others:
        made.graph.input.remove(next(value for value in made.graph.input if value.name == other))
    wanted = run(made, feeds[image])
    np.testing.assert_allclose(through_graph(made, {image: feeds[image]}, image, sizes=(1,)), wanted, rtol=1e-6)


@pytest.mark.parametrize("folder", sorted(DATA.glob("pytorch-*/*")), ids=lambda path: path.name)
def test_pytorch_of_old(folder: Path) -> None:
    """Exports of the first PyTorch versions: opset 6 to 9, weights listed as inputs."""
    made = onnx.load(folder / "model.onnx")
    weights = {tensor.name for tensor in made.graph.initializer}
    names = [value.name for value in made.graph.input if value.name not in weights]
    inputs, (wanted, *_) = data_set(folder)
    feeds = dict(zip(names, inputs, strict=True))
    if wanted.dtype != np.float32 or not np.isfinite(wanted).all():
        pytest.skip("its numbers are doubles beyond float32, or none")
    done = list(attempts((folder.name, made, feeds, wanted)))
    for how, y in done:
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max(), err_msg=how)
    if not done:
        pytest.skip("its first axis is no batch")
