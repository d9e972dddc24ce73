"""Layer types: one word for each, whatever a file's age, fork or spelling calls it."""

from __future__ import annotations

import re

SOURCES = frozenset({
    "AnnotatedData", "Data", "DummyData", "HDF5Data", "ImageData", "ImageSegData", "Input", "MemoryData", "VideoData",
    "WindowData",
})  # fmt: skip
"""Types that bring images (and labels) in."""

REPORTING = frozenset({"Accuracy", "HDF5Output", "Silence"})
"""Types that only look on."""

FORKED = frozenset({"BN", "CReLU", "Interp", "Normalize", "Permute", "ShuffleChannel", "Upsample"})
"""Types whose options only forks know."""

WORDS = (
    *SOURCES, *REPORTING,
    "AbsVal", "ArgMax", "Axpy", "BN", "BNLL", "BatchNorm", "Bias", "CReLU", "Clip", "Concat", "ContrastiveLoss",
    "Convolution", "Crop", "Deconvolution", "DepthwiseConvolution", "Dropout", "ELU", "Eltwise", "Embed",
    "EuclideanLoss", "Exp", "Flatten", "HardSigmoid", "HardSwish", "HingeLoss", "Im2col", "InfogainLoss",
    "InnerProduct", "Interp", "LRN", "Log", "MVN", "Mish", "MultinomialLogisticLoss", "Normalize", "PReLU", "Padding",
    "Parameter", "Permute", "Pooling", "Power", "ReLU", "ReLU6", "Reduction", "Reshape", "SELU", "SPP", "Scale",
    "ShuffleChannel", "Sigmoid", "SigmoidCrossEntropyLoss", "Slice", "Softmax", "SoftmaxWithLoss", "Softplus",
    "Split", "Swish", "TanH", "Threshold", "Tile", "Upsample",
)  # fmt: skip

_SYNONYMS = {
    # The list of 2014 and the strings of 2013.
    "conv": "Convolution", "images": "ImageData", "pool": "Pooling", "softmaxloss": "SoftmaxWithLoss",
    # One depthwise convolution, published under several names.
    "convolutiondepthwise": "DepthwiseConvolution", "convdw": "DepthwiseConvolution",
    # Two spellings of channel shuffling, three of the hard sigmoid and its gate.
    "channelshuffle": "ShuffleChannel", "hsigmoid": "HardSigmoid", "hswish": "HardSwish",
    "spatialdropout": "Dropout", "silu": "Swish",
}  # fmt: skip

_BY_FOLD = {re.sub(r"[^a-z0-9]", "", word.lower()): word for word in WORDS} | _SYNONYMS


def canonical(word: str) -> str:
    """Return the one word for a layer type; case and underscores do not matter, unknown words stay as they are."""
    return _BY_FOLD.get(re.sub(r"[^a-z0-9]", "", word.lower()), word)


def is_classifying_loss(kind: str) -> bool:
    """Whether a loss holds a softmax over the scores: SoftmaxWithLoss and what forks made of it."""
    return "Softmax" in kind and "Loss" in kind


def is_reporting(kind: str) -> bool:
    """Whether a layer only measures: losses and accuracies of every fork."""
    return kind in REPORTING or "Loss" in kind or "Accuracy" in kind
