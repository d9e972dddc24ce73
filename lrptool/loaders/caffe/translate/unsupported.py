"""Layer types that lead nowhere here, and what can be done instead."""

from __future__ import annotations

_DETECTION = "it belongs to a detector, not a classifier: --head NAME takes the scores from a layer before it"
_RECURRENT = "a net that reads a sequence step by step is not covered: export it to ONNX"
_RANDOM = "its weights are only needed for training: --head NAME takes the scores from a layer before it"

ADVICE: dict[str, str] = {
    **dict.fromkeys(
        (
            "DetectionOutput", "MultiBoxLoss", "PSROIPooling", "PriorBox", "Proposal", "ROIAlign", "ROIPooling",
            "Region", "Reorg", "YoloDetectionOutput",
        ),
        _DETECTION,
    ),
    **dict.fromkeys(("LSTM", "LSTMUnit", "RNN", "Recurrent"), _RECURRENT),
    **dict.fromkeys(("LabelSpecificAdd", "LabelSpecificMargin", "MarginInnerProduct"), _RANDOM),
    "ArgMax": "the position of the largest score is no score: --head NAME takes the scores from the layer before it",
    "Im2col": "a convolution does the same in one layer",
    "Python": "what its code computes is not in the file: replace it by layers of Caffe's, or export the net to ONNX",
}  # fmt: skip
"""Hints by layer type."""
