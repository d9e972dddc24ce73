"""`load`: from a name or a path to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lrptool.api.model import Model
from lrptool.api.stored import Stored, stored_in
from lrptool.engine import canonise
from lrptool.errors import ConfigError, ModelError, UnsupportedError, did_you_mean
from lrptool.graph import Graph
from lrptool.imaging import Preprocessing
from lrptool.loaders import LoadedNet
from lrptool.loaders.caffe import load_caffe, read_mean
from lrptool.reading import read_text_lines
from lrptool.zoo import (
    Card,
    Labels,
    Located,
    Preprocess,
    Watch,
    fetch,
    find_file,
    homes,
    locate,
    read_label_file,
)

PREPROCESS_KEYS = ("resize", "mode", "channels", "raw_scale", "mean", "scale", "std", "invert", "fit")
"""What the caller of `load` may say about the preprocessing."""


def load(
    model: str | Path,
    weights: str | Path | None = None,
    *,
    models_dir: str | Path | None = None,
    labels: str | Path | None = None,
    threads: int = 0,
    input_shape: Sequence[int] | None = None,
    output: str | None = None,
    allow_fetch: bool = True,
    watch: Watch | None = None,
    **preprocess: Any,
) -> Model:
    """Load a model.

    Parameters
    ----------
    model : str or Path
        A name (``squeezenet_v1.0``), a folder with a card or one prototxt or ONNX file, a ``.prototxt``, a
        ``.caffemodel`` or an ``.onnx``.
    weights : str or Path, optional
        A ``.caffemodel``, or ``random[:SEED]`` to fill the architecture with seeded random weights.
    models_dir : str or Path, optional
        Folder (or several, separated as in ``PATH``) with model folders, looked through before ``LRPTOOL_MODELS``, the
        user's cache and the bundled models.
    labels : str or Path, optional
        File with one class name per line, instead of the card's.
    threads : int
        Threads to compute with; 0: as many as there are cores.
    input_shape : sequence of int, optional
        (C, H, W) of the image, where the file leaves it open.
    output : str, optional
        The tensor or layer to take the scores from; without it the card's, else the main output of the network.
    allow_fetch : bool
        Whether files of a named model that are not here may be fetched; ``LRPTOOL_OFFLINE=1`` forbids it, too.
    watch : Watch, optional
        Is told how fetching goes.
    **preprocess
        ``resize, mode, channels, raw_scale, mean, scale, std, invert, fit`` as in a card's ``preprocess``; they go
        before what the card says. ``mean`` may be a path of a ``.binaryproto`` or ``.npy`` file.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        No such model, files that cannot be read, weights that do not fit.
    UnsupportedError
        A layer that cannot be explained.
    ConfigError
        A card with mistakes, or an unknown preprocessing key.
    """
    unknown = [key for key in preprocess if key not in PREPROCESS_KEYS]
    if unknown:
        raise ConfigError(f"load: unknown option '{unknown[0]}'", hint=did_you_mean(unknown[0], PREPROCESS_KEYS))
    located = locate(model, weights, models_dir, partial(fetch, allowed=allow_fetch, watch=watch))
    card = located.card
    read = partial(_read, located, input_shape, output or (card.output.node if card else None))
    net = read()
    if len(net.graph.input.item_shape) != 3:
        raise UnsupportedError(
            f"{located.architecture}: expected an input (N, C, H, W), found {net.graph.input.shape}",
            hint="give --input-shape C,H,W where an image can be brought to that shape",
        )
    notes = [*net.notes, *_card_notes(located, net.sha256)]
    stored = stored_in(net.metadata)
    settings, assumed = _settings(card, net, stored, preprocess, models_dir)
    notes += assumed
    graph = _headed(canonise(net.graph), None if output else card)
    classes = graph.tensors[graph.output].item_shape[0]
    lines = _label_lines(card, labels) or stored.labels
    if lines is not None and len(lines) != classes:
        notes.append(f"{len(lines)} class names for {classes} classes: names are left out")
    return Model(
        name=card.name if card else _given_name(located, model),
        graph=graph,
        preprocessing=_preprocessing(settings),
        labels=Labels.of(lines, classes),
        sha256=net.sha256,
        random_weights=str(located.weights) if isinstance(located.weights, str) else None,
        default_composite=card.default_composite if card else stored.composite,
        notes=tuple(notes),
        threads=threads,
        probabilities=net.probabilities,
        original=net.original,
        reread=partial(_read_again, read, net.sha256),
    )


def _read_again(read: Callable[[], LoadedNet], sha256: str | None) -> Graph:
    """Read a network's files once more; ModelError where they are others now."""
    net = read()
    if net.sha256 != sha256:
        raise ModelError(
            f"{net.graph.name}: expected weights as before (sha256 {str(sha256)[:12]}…), found {str(net.sha256)[:12]}…",
            hint="the file has changed since the model was loaded: load it again",
        )
    return net.graph


def _read(located: Located, input_shape: Sequence[int] | None, output: str | None) -> LoadedNet:
    """Read the files of a model with the loader of their kind."""
    path = located.architecture
    if path is None or path.suffix != ".onnx":
        return load_caffe(path, located.weights, input_shape=input_shape, output=output)
    if located.weights not in (None, path):
        raise ModelError(
            f"{path}: an ONNX file holds its own weights, found others: {located.weights}", hint="leave out --weights"
        )
    from lrptool.loaders.onnx import load_onnx  # noqa: PLC0415  (ONNX's own tools take 0.2 s to import)

    return load_onnx(path, input_shape=input_shape, output=output)


def _given_name(located: Located, model: str | Path) -> str:
    """Name of a model without a card: its folder's where its file is called like every other one."""
    path = located.architecture or Path(model)
    generic = path.stem in ("deploy", "train_val", "train_test")
    return path.resolve().parent.name if generic else path.stem


def _card_notes(located: Located, sha256: str | None) -> list[str]:
    """Say where the weights are not the ones the card speaks of."""
    if located.card is None or sha256 is None or not isinstance(located.weights, Path):
        return []
    published = located.card.file(located.card.weights)
    if sha256 in (published.digests.get("sha256"), *published.also):
        return []
    # Where another checksum is published, the size has to do: reading half a gigabyte once more takes a second.
    if "sha256" not in published.digests and published.size in (None, located.weights.stat().st_size):
        return []
    return [f"{located.weights}: not the published weights of '{located.card.name}' (sha256 {sha256[:12]}…)"]


def _headed(graph: Graph, card: Card | None) -> Graph:
    """Say of the scores what the card knows of them: whether a softmax makes probabilities of them."""
    kind = card.output.kind if card else None
    return graph if kind is None else replace(graph, head="softmax" if kind in ("softmax", "logits") else "logits")


def _settings(
    card: Card | None, net: LoadedNet, stored: Stored, given: dict[str, Any], models_dir: str | Path | None
) -> tuple[Preprocess, list[str]]:
    """Return the preprocessing that card or file and the caller ask for, and what had to be assumed."""
    channels, *size_of_input = net.graph.input.item_shape
    size = (size_of_input[0], size_of_input[1])
    if card is not None:
        settings, notes = card.preprocess, list[str]()
        if isinstance(settings.mean, str):
            file = find_file(settings.mean, homes(card, models_dir))
            settings = replace(settings, mean=str(file or card.path.parent / settings.mean))
        if settings.size != size:
            notes = [
                f"the network takes {size[0]}×{size[1]} pixels, the card says {settings.size[0]}×{settings.size[1]}"
            ]
            settings = replace(settings, size=size)
    elif stored.preprocess:
        settings, notes = Preprocess(size, **stored.preprocess), []
    else:
        order: Literal["GRAY", "BGR", "RGB"] = "GRAY" if channels == 1 else net.channels
        settings = Preprocess(size, channels=order, raw_scale=net.raw_scale)
        said = {"channels", "mean"} & set(given)
        white = f"{net.raw_scale:g}"
        notes = [] if said else [f"no card: pictures are taken as {order}, 0 to {white}, no mean subtracted"]
    changed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    settings = replace(settings, **changed)
    count = 1 if settings.channels == "GRAY" else 3
    if count != channels and channels in (1, 3):
        raise ConfigError(
            f"preprocessing: channels {settings.channels}, but the network takes {channels}",
            hint="--channels GRAY" if channels == 1 else "--channels BGR or RGB",
        )
    return settings, notes


def _preprocessing(settings: Preprocess) -> Preprocessing:
    """Return the settings as the thing that does them; a mean file is read."""
    mean: Any = settings.mean
    if isinstance(mean, (str, Path)):
        mean = read_mean(Path(mean))
    elif mean is not None:
        mean = np.asarray(mean, np.float32)
    return Preprocessing(
        size=settings.size,
        channels=settings.channels,
        resize=settings.resize,
        mode=settings.mode,
        raw_scale=settings.raw_scale,
        mean=mean,
        input_scale=settings.scale,
        std=settings.std,
        invert=settings.invert,
        fit=settings.fit,
    )


def _label_lines(card: Card | None, labels: str | Path | None) -> tuple[str, ...] | None:
    """Return the class names from the caller's file, else from the card."""
    if labels is None:
        return read_label_file(card) if card else None
    return read_text_lines(Path(labels))
