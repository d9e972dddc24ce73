"""The operators a graph may hold, one module per family.

==================== ================================================== ======================================
op                   inputs                                             attributes
==================== ================================================== ======================================
Conv                 x (N,C,H,W), W (O,C/group,kh,kw)[, b (O,)]         kernel_shape, strides, dilations: 2 ints;
                                                                        pads: top, left, bottom, right; group
Gemm                 x (N,K), W (O,K)[, b (O,)]                         none: always y = x Wᵀ + b
MaxPool, AveragePool x (N,C,H,W)                                        kernel_shape, strides, pads (as Conv),
                                                                        ceil_mode; AveragePool: count_include_pad
GlobalMaxPool,
GlobalAveragePool    x (N,C,H,W)                                        none
Relu, Sigmoid, Tanh  x                                                  none
LeakyRelu            x                                                  alpha
LRN                  x (N,C,H,W)                                        size, alpha, beta, bias (across channels)
LRNWithinChannel     x (N,C,H,W)                                        the same, over size × size neighbours (Caffe)
BatchNormalization   x, scale, bias, mean, variance (C,)                epsilon
Dropout, Identity    x                                                  none
Softmax              x                                                  axis
Concat               x₁ … xₙ                                            axis
Split                x                                                  axis, split: sizes (one output each)
Flatten              x                                                  axis
Reshape              x                                                  shape: item shape, one -1 allowed; the
                                                                        batch axis stays
Sum                  x₁ … xₙ, same shape or broadcastable               none
Mul                  x₁, x₂ (either may be a constant)                  none
Max                  x₁ … xₙ, same shape                                none
==================== ================================================== ======================================

Pooling follows Caffe and PyTorch: with ceil_mode the last window starts inside the image or its left padding, and a
window's divisor counts padding (count_include_pad) but never what lies beyond the padded border.
"""

from lrptool.ops import activation, conv, dense, elementwise, normalization, pooling, structure
from lrptool.ops.base import (
    LinearMap,
    OnnxNode,
    Operator,
    Passage,
    Placing,
    Spelling,
    Treatment,
    Values,
    WeightKind,
    WeightPart,
)
from lrptool.ops.builder import GraphBuilder
from lrptool.ops.registry import known_operators, operator

__all__ = [
    "GraphBuilder",
    "LinearMap",
    "OnnxNode",
    "Operator",
    "Passage",
    "Placing",
    "Spelling",
    "Treatment",
    "Values",
    "WeightKind",
    "WeightPart",
    "activation",
    "conv",
    "dense",
    "elementwise",
    "known_operators",
    "normalization",
    "operator",
    "pooling",
    "structure",
]
