"""Train the bundled LeNet on MNIST and write it as Caffe files.

Usage: ``pip install "lrptool[train]"`` and ``python models/lenet/train.py --mnist mnist.npz [--out FOLDER]``.

The npz file holds ``train_images`` uint8 (60000, 28, 28), ``train_labels`` (60000,), ``test_images`` uint8
(10000, 28, 28) and ``test_labels`` (10000,). The schedule is fixed: the weights after the last step are written, and
the test digits are looked at once, with the weights read back from the written file.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim import swa_utils

from lrptool.loaders.caffe.files import blob_array, read_caffemodel
from lrptool.loaders.caffe.write import write_caffemodel

SEED = 1998
EPOCHS = 24
BATCH = 128
PEAK_RATE = 2e-3
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.02
AVERAGE_DECAY = 0.999
INPUT_SCALE = 1 / 256  # Caffe's MNIST convention: value / 256, white digit on black, no mean

CHANNELS = (20, 50)
HIDDEN = 200
CLASSES = 10
CAFFE_TYPES = {"conv1": "Convolution", "conv2": "Convolution", "ip1": "InnerProduct", "ip2": "InnerProduct"}

DEPLOY = """\
name: "LeNet"
input: "data"
input_shape {{ dim: 1 dim: 1 dim: 28 dim: 28 }}
layer {{
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: {conv1} kernel_size: 5 }}
}}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{
  name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }}
}}
layer {{
  name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param {{ num_output: {conv2} kernel_size: 5 }}
}}
layer {{ name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }}
layer {{
  name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }}
}}
layer {{
  name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1"
  inner_product_param {{ num_output: {hidden} }}
}}
layer {{ name: "relu3" type: "ReLU" bottom: "ip1" top: "ip1" }}
layer {{
  name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param {{ num_output: {classes} }}
}}
layer {{ name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }}
"""


class LeNet(nn.Module):
    """LeNet with the layer names of the prototxt; float32 (N, 1, 28, 28) to scores float32 (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        first, second = CHANNELS
        self.conv1 = nn.Conv2d(1, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.ip1 = nn.Linear(second * 4 * 4, HIDDEN)
        self.ip2 = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores below the softmax."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        # Dropout exists in training only, so the deploy prototxt does not have it.
        x = functional.dropout(x.flatten(1), 0.25, self.training)
        x = functional.dropout(functional.relu(self.ip1(x)), 0.4, self.training)
        return self.ip2(x)


def uniform(count: int, low: float, high: float) -> torch.Tensor:
    """Return float32 (count, 1, 1, 1) between ``low`` and ``high``."""
    return torch.empty(count, 1, 1, 1).uniform_(low, high)


def moved(x: torch.Tensor) -> torch.Tensor:
    """Rotate, scale, shear and shift each digit a little; x is float32 (N, 1, 28, 28)."""
    count = len(x)
    angle = uniform(count, -0.22, 0.22).flatten()
    shear = uniform(count, -0.2, 0.2).flatten()
    wide, high = (uniform(count, 0.85, 1.18).flatten() for _ in range(2))
    # In the units of affine_grid the picture is 2 wide: 2.2 pixels are 2.2 / 14.
    shift_x, shift_y = (uniform(count, -2.2 / 14, 2.2 / 14).flatten() for _ in range(2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [wide * cos, high * (shear * cos - sin), shift_x, wide * sin, high * (shear * sin + cos), shift_y]
    grid = functional.affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def photographed(x: torch.Tensor) -> torch.Tensor:
    """Give digits (values 0..1) the faults of a picture: pen width, softness, contrast, uneven background, grain."""
    count = len(x)
    thick, thin = functional.max_pool2d(x, 3, 1, 1), -functional.max_pool2d(-x, 3, 1, 1)
    pen = uniform(count, -0.5, 0.8)
    x = torch.lerp(x, torch.where(pen > 0, thick, thin), pen.abs())
    soft = functional.avg_pool2d(x, 3, 1, 1)
    x = torch.lerp(x, soft, uniform(count, -0.3, 0.8).clamp_min(0))
    x = (x * uniform(count, 0.9, 1.6)).clamp_max(1) * uniform(count, 0.6, 1.0)
    ramp = torch.linspace(-1, 1, 28)
    uneven = uniform(count, -0.05, 0.05) * ramp.view(1, 1, 28, 1) + uniform(count, -0.05, 0.05) * ramp
    background = uniform(count, 0, 0.12) + uneven + uniform(count, 0, 0.05) * torch.randn_like(x)
    return torch.maximum(x, background.clamp(0, 1))


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Return network input float32 (N, 1, 28, 28) of uint8 digits (N, 28, 28), a third of them like photographs."""
    x = moved(images[:, None].float() / 255)
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.33, photographed(x), x)
    return x * (255 * INPUT_SCALE)


def train(images: torch.Tensor, labels: torch.Tensor) -> LeNet:
    """Train with a one-cycle rate; returns the running average of the weights."""
    model = LeNet()
    decay = swa_utils.get_ema_multi_avg_fn(AVERAGE_DECAY)
    average = swa_utils.AveragedModel(model, multi_avg_fn=decay)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    steps = math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        started, total = time.perf_counter(), 0.0
        model.train()
        for chosen in torch.randperm(len(images)).split(BATCH):
            loss = functional.cross_entropy(
                model(augmented(images[chosen])), labels[chosen], label_smoothing=LABEL_SMOOTHING
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item()
        print(
            f"epoch {epoch + 1:2}/{EPOCHS}: loss {total / steps:.4f}, {time.perf_counter() - started:.1f} s", flush=True
        )
    return average.module


def write(model: LeNet, folder: Path) -> Path:
    """Write deploy.prototxt and lenet.caffemodel; returns the path of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    first, second = CHANNELS
    text = DEPLOY.format(conv1=first, conv2=second, hidden=HIDDEN, classes=CLASSES)
    (folder / "deploy.prototxt").write_text(text, encoding="utf-8")
    blobs = {}
    for name, kind in CAFFE_TYPES.items():
        layer = model.get_submodule(name)
        blobs[name] = (kind, [layer.weight.detach().numpy(), layer.bias.detach().numpy()])
    path = folder / "lenet.caffemodel"
    write_caffemodel(path, "LeNet", blobs)
    return path


def read_back(path: Path) -> LeNet:
    """Return the network with the weights of a written caffemodel."""
    state = {}
    for name, blobs in read_caffemodel(path).blobs:
        for part, blob in zip(("weight", "bias"), blobs, strict=True):
            state[f"{name}.{part}"] = torch.from_numpy(blob_array(blob, f"{path}: layer {name!r}").copy())
    model = LeNet()
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def count_correct(model: LeNet, images: torch.Tensor, labels: torch.Tensor) -> int:
    """Return how many of the uint8 digits (N, 28, 28) get their label."""
    correct = 0
    for some, wanted in zip(images.split(1000), labels.split(1000), strict=True):
        correct += int((model(some[:, None].float() * INPUT_SCALE).argmax(1) == wanted).sum())
    return correct


def main() -> None:
    """Train, write, read back, test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="npz file with the MNIST arrays")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder to write to (default: this one)"
    )
    parser.add_argument("--threads", type=int, default=2, help="another number may round differently (default: 2)")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(mode=True)

    with np.load(args.mnist) as data:
        images, test_images = (torch.from_numpy(data[f"{part}_images"]) for part in ("train", "test"))
        labels, test_labels = (torch.from_numpy(data[f"{part}_labels"]).long() for part in ("train", "test"))
    path = write(train(images, labels), args.out)
    correct = count_correct(read_back(path), test_images, test_labels)
    print(f"{path}: {path.stat().st_size} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    print(f"{correct} of {len(test_labels)} test digits ({100 * correct / len(test_labels):.2f} %), weights as written")


if __name__ == "__main__":
    main()
