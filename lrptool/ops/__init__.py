"""The operators a graph may hold, one module per family.

Axis 0 is the batch. Where a tensor's batch is open (``TensorSpec.shape[0]`` is None) no operator touches axis 0, and
shapes given as attributes are those of one item; where it is fixed, axis 0 is an axis like any other and shapes are
whole. Axes count from 0 with the batch, or from the end where negative. Everything that is not a tensor of floats is an
attribute; attributes are complete.

==================== ================================================== ======================================
op                   inputs                                             attributes
==================== ================================================== ======================================
Conv                 x (N,C,…), W (O,C/group,…)[, b (O,)]               kernel_shape, strides, dilations: one int
                                                                        per axis; pads: all before, all after;
                                                                        group
ConvTranspose        x (N,C,…), W (C,O/group,…)[, b (O,)]               the same, output_padding
Gemm                 x (N,K), W (O,K)[, b (O,)]                         none: always y = x Wᵀ + b
MatMul               x, W (…,K,O)[, b], or W, x                         none: one factor is a constant
BilinearMatMul       x₁, x₂                                             none: both are tensors
MaxPool, AveragePool x (N,C,…)                                          kernel_shape, strides, pads (as Conv),
                                                                        ceil_mode[, dilations]; AveragePool:
                                                                        count_include_pad
LpPool               x (N,C,…)                                          as MaxPool, p
GlobalMaxPool,
GlobalAveragePool    x (N,C,…)                                          none
Resize               x                                                  mode, coordinate_transformation_mode,
                                                                        nearest_mode, scales, sizes or ()
-------------------- -------------------------------------------------- --------------------------------------
Relu, Sigmoid, Tanh,
HardSwish, Mish,
Softplus, Erf, Abs,
Neg, Exp, Log, Sqrt,
Reciprocal           x                                                  none
LeakyRelu, Elu, Celu x                                                  alpha
Selu                 x                                                  alpha, gamma
PRelu                x, slope (a constant)                              none
HardSigmoid          x                                                  alpha, beta
Gelu                 x                                                  approximate: none or tanh
Swish                x                                                  beta: x · sigmoid(beta · x)
Clip                 x                                                  min, max; may be infinite
Power                x                                                  power, scale, shift
ThresholdedStep      x                                                  threshold
Softmax, LogSoftmax  x                                                  axis
-------------------- -------------------------------------------------- --------------------------------------
LRN                  x (N,C,H,W)                                        size, alpha, beta, bias (across channels)
LRNWithinChannel     x (N,C,H,W)                                        the same, over size × size neighbours
BatchNormalization   x, scale, bias, mean, variance (C,)                epsilon
InstanceNormalization x, scale, bias (C,)                               epsilon
GroupNormalization   x, scale, bias (C,)                                num_groups, epsilon
LayerNormalization   x, scale[, bias] (shape from axis on)              axis, epsilon
RMSNormalization     x[, scale]                                         axis, epsilon
MVN                  x                                                  axes, normalize_variance, epsilon
L2Normalize          x[, scale (C,) or (1,)]                            axes, epsilon
-------------------- -------------------------------------------------- --------------------------------------
Sum                  x₁ … xₙ, broadcast                                 [coefficients: one float per input]
Mul, Div             x₁, x₂, broadcast                                  none
Max, Min             x₁ … xₙ, broadcast                                 none
ReduceSum,
ReduceMean,
ReduceMax,
ReduceMin, ReduceL1,
ReduceL2,
ReduceSumSquare      x                                                  axes, keepdims
-------------------- -------------------------------------------------- --------------------------------------
Dropout, Identity    x                                                  none
Concat               x₁ … xₙ                                            axis
Split                x                                                  axis, split: sizes (one output each)
Flatten              x                                                  axis
Reshape              x                                                  shape, one -1 allowed
Expand               x                                                  shape
Transpose            x                                                  perm
Slice                x                                                  starts, ends, axes, steps
Gather               x                                                  axis, indices, indices_shape
Pad                  x                                                  pads, mode, value
Tile                 x                                                  repeats
DepthToSpace         x (N,C,H,W)                                        blocksize, mode
SpaceToDepth         x (N,C,H,W)                                        blocksize
==================== ================================================== ======================================

Pooling follows Caffe and PyTorch: with ceil_mode the last window starts inside the image or its left padding, and a
window's divisor counts padding (count_include_pad) but never what lies beyond the padded border.
"""

from lrptool.ops import (
    activation,
    affine,
    conv,
    conv_nd,
    conv_transpose,
    dense,
    extremes,
    lookup,
    lrn,
    matmul,
    movement,
    pooling,
    pooling_nd,
    products,
    reduction,
    repetition,
    resize,
    smooth,
    softmax,
    statistics,
    structure,
    sums,
)
from lrptool.ops.base import (
    Kept,
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
from lrptool.ops.conv import ConvMap
from lrptool.ops.movement import moved, moves_values
from lrptool.ops.registry import known_operators, operator

__all__ = [
    "ConvMap",
    "GraphBuilder",
    "Kept",
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
    "affine",
    "conv",
    "conv_nd",
    "conv_transpose",
    "dense",
    "extremes",
    "known_operators",
    "lookup",
    "lrn",
    "matmul",
    "moved",
    "movement",
    "moves_values",
    "operator",
    "pooling",
    "pooling_nd",
    "products",
    "reduction",
    "repetition",
    "resize",
    "smooth",
    "softmax",
    "statistics",
    "structure",
    "sums",
]
