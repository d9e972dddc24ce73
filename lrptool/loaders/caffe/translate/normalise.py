"""Normalisations: by learned statistics, by neighbours, by the whole item."""

from __future__ import annotations

import numpy as np

from lrptool.errors import ModelError, UnsupportedError
from lrptool.graph import Array
from lrptool.loaders.caffe.fillers import constant_of
from lrptool.loaders.caffe.translate.affine import Span, affine
from lrptool.loaders.caffe.translate.options import enum_name
from lrptool.loaders.caffe.translate.registry import Step, translates
from lrptool.loaders.caffe.weights import Blob


@translates("BatchNorm")
def batch_norm(step: Step) -> None:
    """BatchNormalization; the file keeps sums and the factor that they were summed with.

    NVCaffe learns scale and bias in the same layer: two more arrays.
    """
    options = step.options("batch_norm_param")
    if options.HasField("use_global_stats") and not options.use_global_stats:
        raise UnsupportedError(
            f"{step.where}: uses the statistics of the batch (use_global_stats: false)",
            hint="use_global_stats: true takes the statistics of training, which the weights hold",
        )
    channels = _channels(step)
    learned = options.scale_bias if step.stored() is None else step.stored() == 5
    vector = Blob((channels,))
    mean, variance, factor, *rest = step.weights(
        vector,
        Blob((channels,), "spread"),
        Blob((1,), 1.0),
        *[Blob((channels,), constant_of(options.scale_filler, 1.0)), vector] * learned,
    )
    by = 0.0 if factor.item() == 0 else 1 / factor.item()
    with np.errstate(over="ignore"):
        mean, variance = ((sums.astype(np.float64) * by).astype(np.float32) for sums in (mean, variance))
    scale, shift = rest or (np.ones(channels, np.float32), np.zeros(channels, np.float32))
    _normalise(step, scale, shift, mean, variance, options.eps)


@translates("BN")
def bn(step: Step) -> None:
    """Scale and shift alone (SegNet), or with mean and variance behind them (PSPNet, batch normalisation of 2015)."""
    options = step.options("bn_param")
    channels = _channels(step)
    alone = enum_name(options, "bn_mode") == "INFERENCE"
    count = step.stored() or (2 if alone else 4)
    if count not in (2, 4):
        raise UnsupportedError(f"{step.where}: expected 2 or 4 arrays (scale, shift[, mean, variance]), found {count}")
    filler = options.scale_filler if options.HasField("scale_filler") else options.slope_filler
    vector = Blob((channels,))
    scale, shift, *statistics = step.weights(
        Blob((channels,), constant_of(filler, 1.0)), vector, *[vector, Blob((channels,), "spread")][: count - 2]
    )
    if not statistics:
        affine(step, step.input, Span(1, (channels,)), scale, shift)
        return
    of_2015 = options.HasField("scale_filler") and not options.HasField("eps")
    mean, variance = statistics
    _normalise(step, scale, shift, mean, variance, options.var_eps if of_2015 else options.eps)


def _channels(step: Step) -> int:
    """Return the number of channels; an input without is refused."""
    shape = step.shape(step.input)
    if len(shape) < 2:
        raise ModelError(f"{step.where}: expected an input (N, C, …), found shape {shape}")
    return shape[1] or 0


def _normalise(step: Step, scale: Array, shift: Array, mean: Array, variance: Array, epsilon: float) -> None:
    """Add the layer's node; a variance that is none is refused."""
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise ModelError(f"{step.where}: its statistics are not finite once they are divided by their factor")
    if (variance + epsilon <= 0).any():
        raise ModelError(f"{step.where}: expected a variance above 0, found {variance.min():g}")
    vectors = {"scale": scale, "bias": shift, "mean": mean, "variance": variance}
    names = [step.constant(role, value.reshape(-1)) for role, value in vectors.items()]
    step.node("BatchNormalization", step.input, *names, epsilon=epsilon)


@translates("LRN")
def local_response(step: Step) -> None:
    """LRN or LRNWithinChannel; within a channel Caffe knows no k, it is 1."""
    options = step.options("lrn_param")
    step.image_shape()
    size = options.local_size
    if size % 2 != 1:
        raise ModelError(f"{step.where}: expected an odd local_size, found {size}")
    within = enum_name(options, "norm_region") == "WITHIN_CHANNEL"
    step.node(
        "LRNWithinChannel" if within else "LRN",
        step.input,
        size=size,
        alpha=options.alpha,
        beta=options.beta,
        bias=1.0 if within else options.k,
    )


@translates("MVN")
def mean_variance(step: Step) -> None:
    """MVN over each map, or over all channels of an item."""
    options = step.options("mvn_param")
    step.image_shape()
    step.node(
        "MVN",
        step.input,
        axes=(1, 2, 3) if options.across_channels else (2, 3),
        normalize_variance=int(options.normalize_variance),
        epsilon=options.eps,
    )


@translates("Normalize")
def euclidean(step: Step) -> None:
    """L2Normalize with a learned scale, over the channels of a position or over an item (Liu et al. 2016, SSD)."""
    options = step.options("norm_param")
    channels = step.image_shape()[0]
    size = 1 if options.channel_shared else channels
    scale = step.constants(scale=Blob((size,), constant_of(options.scale_filler, 1.0)))
    axes = (1, 2, 3) if options.across_spatial else (1,)
    step.node("L2Normalize", step.input, *scale, axes=axes, epsilon=options.eps)
