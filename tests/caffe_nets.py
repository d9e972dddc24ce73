"""Small nets as text, with weights of one's own or seeded ones that can be written to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lrptool.engine import Forward
from lrptool.graph import Array, Graph
from lrptool.loaders import LoadedNet
from lrptool.loaders.caffe import load_caffe, read_prototxt, write_caffemodel
from lrptool.loaders.caffe.fillers import RandomWeights
from lrptool.loaders.caffe.load import assemble
from lrptool.loaders.caffe.weights import Blob
from lrptool.loaders.caffe.wiring import Wired

SHAPE = (2, 3, 7, 6)
INPUT = 'name: "net" input: "data" input_shape { dim: 2 dim: 3 dim: 7 dim: 6 }\n'
"""An image whose axes all differ."""


def layer(name: str, kind: str, bottoms: str, tops: str, options: str = "") -> str:
    """Return the text of a layer; several bottoms or tops are separated by spaces."""
    wires = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}"{wires} {options} }}\n'


def load_text(
    folder: Path,
    text: str,
    blobs: Mapping[str, Sequence[np.ndarray]] | None = None,
    input_shape: Sequence[int] | None = None,
    output: str | None = None,
) -> LoadedNet:
    """Load a text with the blobs given, or with random weights."""
    prototxt = folder / "deploy.prototxt"
    prototxt.write_text(text)
    if blobs is None:
        return load_caffe(prototxt, "random:0", input_shape=input_shape, output=output)
    weights = folder / "net.caffemodel"
    write_caffemodel(weights, "net", {name: ("Any", arrays) for name, arrays in blobs.items()})
    return load_caffe(prototxt, weights, input_shape=input_shape, output=output)


def one_layer(folder: Path, kind: str, options: str = "", before: str = "") -> Graph:
    """Return the graph of a net whose last layer is `x`, reading `data` or what `before` writes to `y`."""
    bottom = "y" if before else "data"
    return load_text(folder, INPUT + before + layer("x", kind, bottom, "x", options)).graph


def run(graph: Graph, x: Array, *tensors: str) -> dict[str, Array]:
    """Return tensors of a graph (its output where none is named) as onnxruntime computes them."""
    names = tensors or (graph.output,)
    return {name: np.array(value) for name, value in Forward(graph, names)(x.astype(np.float32)).items()}


class Recording(RandomWeights):
    """Seeded weights that remember what they gave, in the form of a caffemodel."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.blobs: dict[str, tuple[str, list[Array]]] = {}

    def take(self, item: Wired, blobs: Sequence[Blob], spread: float) -> tuple[Array, ...]:
        arrays = super().take(item, blobs, spread)
        if arrays:
            # A graph's constants are what was given, in shapes of their own.
            self.blobs[item.layer.name] = (item.layer.type, [array.copy() for array in arrays])
        return arrays


def draw(prototxt: Path, weights: Path, seed: int = 0, input_shape: Sequence[int] | None = None) -> LoadedNet:
    """Load an architecture with seeded weights and write these to a file."""
    recording = Recording(seed)
    loaded = assemble(read_prototxt(prototxt), prototxt, recording, input_shape)
    write_caffemodel(weights, loaded.graph.name, recording.blobs)
    return loaded


def sized(number: int, payload: bytes) -> bytes:
    """A field of the wire format that says how long it is."""
    return number_of(number << 3 | 2) + number_of(len(payload)) + payload


def number_of(value: int) -> bytes:
    """A number of the wire format."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def blob_bytes(array: np.ndarray, form: str) -> bytes:
    """A BlobProto with an array in one of the forms that files have, by hand."""
    flat = array.ravel().astype("<f4")
    if "legacy" in form:
        sizes = (1,) * (4 - array.ndim) + array.shape
        head = b"".join(number_of(k << 3) + number_of(size) for k, size in enumerate(sizes, start=1))
    else:
        head = sized(7, sized(1, b"".join(map(number_of, array.shape))))
    if "double" in form:
        alone = b"".join(b"\x41" + value.tobytes() for value in flat.astype("<f8"))
        return (alone if "plain" in form else sized(8, flat.astype("<f8").tobytes())) + head
    if "half" in form:
        return head + number_of(10 << 3) + number_of(2) + sized(12, flat.astype("<f2").tobytes())
    if "chunks" in form:
        return sized(5, flat[:3].tobytes()) + head + sized(5, flat[3:].tobytes())
    if "plain" in form:
        # Field 5, wire type 5: one key before each number.
        return head + b"".join(b"\x2d" + value.tobytes() for value in flat)
    gradient = sized(6, flat[::-1].tobytes()) if "gradient" in form else b""
    return sized(5, flat.tobytes()) + gradient + head


def net_bytes(layers: Mapping[str, Sequence[bytes]], age: str = "current") -> bytes:
    """A NetParameter with the blobs of some layers, in the layers of an age."""
    out = b""
    for name, blobs in layers.items():
        text = name.encode()
        if age == "current":
            out += sized(100, sized(1, text) + b"".join(sized(7, blob) for blob in blobs))
        elif age == "V1":
            out += sized(2, sized(4, text) + b"".join(sized(6, blob) for blob in blobs))
        else:
            out += sized(2, sized(1, sized(1, text) + b"".join(sized(50, blob) for blob in blobs)))
    return out
