"""Caffe's file format as protobuf descriptors, built in code from the compact tables below.

A row reads ``type name number`` with an optional ``= default``; the type is followed by ``*`` where the field repeats
and by ``#`` where it repeats packed. Fields that never change what a trained network computes (the choice of a GPU
engine, say) are left out; the reader of the text form knows them by `IGNORED_FIELDS`.

Weights are numbers on the wire but `raw` classes read them as bytes: a packed list of floats and a string of bytes look
the same in a file, and a quarter of a gigabyte of floats then costs no Python object per number.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message = Any
"""A protobuf message of a class built here; its fields are known only at run time."""

IGNORED_FIELDS = frozenset({"engine", "debug_info", "force_backward", "prefetch", "cudnn_flag", "optimize_train"})
"""Fields without effect on a trained network's output."""

_ENUMS: dict[str, dict[str, int]] = {
    "Phase": {"TRAIN": 0, "TEST": 1},
    "ParamSpec.DimCheckMode": {"STRICT": 0, "PERMISSIVE": 1},
    "FillerParameter.VarianceNorm": {"FAN_IN": 0, "FAN_OUT": 1, "AVERAGE": 2},
    "LossParameter.NormalizationMode": {"FULL": 0, "VALID": 1, "BATCH_SIZE": 2, "NONE": 3},
    "DataParameter.DB": {"LEVELDB": 0, "LMDB": 1},
    "EltwiseParameter.EltwiseOp": {"PROD": 0, "SUM": 1, "MAX": 2},
    "LRNParameter.NormRegion": {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1},
    "PoolingParameter.PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "PoolingParameter.RoundMode": {"CEIL": 0, "FLOOR": 1},
    "ReductionParameter.ReductionOp": {"SUM": 1, "ASUM": 2, "SUMSQ": 3, "MEAN": 4},
    "V1LayerParameter.DimCheckMode": {"STRICT": 0, "PERMISSIVE": 1},
    "V1LayerParameter.LayerType": {
        "NONE": 0, "ACCURACY": 1, "BNLL": 2, "CONCAT": 3, "CONVOLUTION": 4, "DATA": 5, "DROPOUT": 6,
        "EUCLIDEAN_LOSS": 7, "FLATTEN": 8, "HDF5_DATA": 9, "HDF5_OUTPUT": 10, "IM2COL": 11, "IMAGE_DATA": 12,
        "INFOGAIN_LOSS": 13, "INNER_PRODUCT": 14, "LRN": 15, "MULTINOMIAL_LOGISTIC_LOSS": 16, "POOLING": 17,
        "RELU": 18, "SIGMOID": 19, "SOFTMAX": 20, "SOFTMAX_LOSS": 21, "SPLIT": 22, "TANH": 23, "WINDOW_DATA": 24,
        "ELTWISE": 25, "POWER": 26, "SIGMOID_CROSS_ENTROPY_LOSS": 27, "HINGE_LOSS": 28, "MEMORY_DATA": 29,
        "ARGMAX": 30, "THRESHOLD": 31, "DUMMY_DATA": 32, "SLICE": 33, "MVN": 34, "ABSVAL": 35, "SILENCE": 36,
        "CONTRASTIVE_LOSS": 37, "EXP": 38, "DECONVOLUTION": 39,
    },
}  # fmt: skip

_MESSAGES: dict[str, str] = {
    "BlobShape": "int64# dim 1",
    "BlobProto": """
        int32 num 1; int32 channels 2; int32 height 3; int32 width 4; BlobShape shape 7; float# data 5
        double# double_data 8
    """,
    "BlobProtoVector": "BlobProto* blobs 1",
    "NetParameter": """
        string name 1; V1LayerParameter* layers 2; string* input 3; int32* input_dim 4; NetState state 6
        BlobShape* input_shape 8; LayerParameter* layer 100
    """,
    "NetState": "Phase phase 1 = TEST; int32 level 2; string* stage 3",
    "NetStateRule": "Phase phase 1; int32 min_level 2; int32 max_level 3; string* stage 4; string* not_stage 5",
    "ParamSpec": "string name 1; ParamSpec.DimCheckMode share_mode 2; float lr_mult 3 = 1; float decay_mult 4 = 1",
    "FillerParameter": """
        string type 1 = constant; float value 2; float min 3; float max 4 = 1; float mean 5; float std 6 = 1
        int32 sparse 7 = -1; FillerParameter.VarianceNorm variance_norm 8
    """,
    "LayerParameter": """
        string name 1; string type 2; string* bottom 3; string* top 4; float* loss_weight 5; ParamSpec* param 6
        BlobProto* blobs 7; NetStateRule* include 8; NetStateRule* exclude 9; Phase phase 10; bool* propagate_down 11
        TransformationParameter transform_param 100; LossParameter loss_param 101
        AccuracyParameter accuracy_param 102; ArgMaxParameter argmax_param 103; ConcatParameter concat_param 104
        ConvolutionParameter convolution_param 106; DataParameter data_param 107; DropoutParameter dropout_param 108
        DummyDataParameter dummy_data_param 109; EltwiseParameter eltwise_param 110
        HDF5DataParameter hdf5_data_param 112; ImageDataParameter image_data_param 115
        InnerProductParameter inner_product_param 117; LRNParameter lrn_param 118
        MemoryDataParameter memory_data_param 119; MVNParameter mvn_param 120; PoolingParameter pooling_param 121
        PowerParameter power_param 122; ReLUParameter relu_param 123; SigmoidParameter sigmoid_param 124
        SoftmaxParameter softmax_param 125; SliceParameter slice_param 126; TanHParameter tanh_param 127
        WindowDataParameter window_data_param 129; PythonParameter python_param 130; PReLUParameter prelu_param 131
        ReshapeParameter reshape_param 133; FlattenParameter flatten_param 135; ReductionParameter reduction_param 136
        TileParameter tile_param 138; BatchNormParameter batch_norm_param 139; ELUParameter elu_param 140
        BiasParameter bias_param 141; ScaleParameter scale_param 142; InputParameter input_param 143
    """,
    "V1LayerParameter": """
        V0LayerParameter layer 1; string* bottom 2; string* top 3; string name 4; V1LayerParameter.LayerType type 5
        BlobProto* blobs 6; float* blobs_lr 7; float* weight_decay 8; NetStateRule* include 32
        NetStateRule* exclude 33; float* loss_weight 35; string* param 1001
        V1LayerParameter.DimCheckMode* blob_share_mode 1002; AccuracyParameter accuracy_param 27
        ArgMaxParameter argmax_param 23; ConcatParameter concat_param 9; ConvolutionParameter convolution_param 10
        DataParameter data_param 11; DropoutParameter dropout_param 12; DummyDataParameter dummy_data_param 26
        EltwiseParameter eltwise_param 24; HDF5DataParameter hdf5_data_param 13
        ImageDataParameter image_data_param 15; InnerProductParameter inner_product_param 17
        LRNParameter lrn_param 18; MemoryDataParameter memory_data_param 22; MVNParameter mvn_param 34
        PoolingParameter pooling_param 19; PowerParameter power_param 21; ReLUParameter relu_param 30
        SigmoidParameter sigmoid_param 38; SoftmaxParameter softmax_param 39; SliceParameter slice_param 31
        TanHParameter tanh_param 37; WindowDataParameter window_data_param 20
        TransformationParameter transform_param 36; LossParameter loss_param 42
    """,
    "V0LayerParameter": "string name 1; string type 2; BlobProto* blobs 50",
    "TransformationParameter": """
        float scale 1 = 1; bool mirror 2; uint32 crop_size 3; string mean_file 4; float* mean_value 5
        bool force_color 6; bool force_gray 7
    """,
    "LossParameter": "int32 ignore_label 1; bool normalize 2; LossParameter.NormalizationMode normalization 3 = VALID",
    "AccuracyParameter": "uint32 top_k 1 = 1; int32 axis 2 = 1; int32 ignore_label 3",
    "ArgMaxParameter": "bool out_max_val 1; uint32 top_k 2 = 1; int32 axis 3",
    "BatchNormParameter": "bool use_global_stats 1; float moving_average_fraction 2 = 0.999; float eps 3 = 1e-05",
    "BiasParameter": "int32 axis 1 = 1; int32 num_axes 2 = 1; FillerParameter filler 3",
    "ConcatParameter": "uint32 concat_dim 1 = 1; int32 axis 2 = 1",
    "ConvolutionParameter": """
        uint32 num_output 1; bool bias_term 2 = true; uint32* pad 3; uint32* kernel_size 4; uint32 group 5 = 1
        uint32* stride 6; FillerParameter weight_filler 7; FillerParameter bias_filler 8; uint32 pad_h 9
        uint32 pad_w 10; uint32 kernel_h 11; uint32 kernel_w 12; uint32 stride_h 13; uint32 stride_w 14
        int32 axis 16 = 1; bool force_nd_im2col 17; uint32* dilation 18
    """,
    "DataParameter": """
        string source 1; float scale 2 = 1; string mean_file 3; uint32 batch_size 4; uint32 crop_size 5; bool mirror 6
        uint32 rand_skip 7; DataParameter.DB backend 8; bool force_encoded_color 9
    """,
    "DropoutParameter": "float dropout_ratio 1 = 0.5; bool scale_train 2 = true",
    "DummyDataParameter": """
        FillerParameter* data_filler 1; uint32* num 2; uint32* channels 3; uint32* height 4; uint32* width 5
        BlobShape* shape 6
    """,
    "ELUParameter": "float alpha 1 = 1",
    "EltwiseParameter": """
        EltwiseParameter.EltwiseOp operation 1 = SUM; float* coeff 2; bool stable_prod_grad 3 = true
    """,
    "FlattenParameter": "int32 axis 1 = 1; int32 end_axis 2 = -1",
    "HDF5DataParameter": "string source 1; uint32 batch_size 2; bool shuffle 3",
    "ImageDataParameter": """
        string source 1; float scale 2 = 1; string mean_file 3; uint32 batch_size 4 = 1; uint32 crop_size 5
        bool mirror 6; uint32 rand_skip 7; bool shuffle 8; uint32 new_height 9; uint32 new_width 10
        bool is_color 11 = true; string root_folder 12
    """,
    "InnerProductParameter": """
        uint32 num_output 1; bool bias_term 2 = true; FillerParameter weight_filler 3; FillerParameter bias_filler 4
        int32 axis 5 = 1; bool transpose 6
    """,
    "InputParameter": "BlobShape* shape 1",
    "LRNParameter": """
        uint32 local_size 1 = 5; float alpha 2 = 1; float beta 3 = 0.75
        LRNParameter.NormRegion norm_region 4 = ACROSS_CHANNELS; float k 5 = 1
    """,
    "MVNParameter": "bool normalize_variance 1 = true; bool across_channels 2; float eps 3 = 1e-09",
    "MemoryDataParameter": "uint32 batch_size 1; uint32 channels 2; uint32 height 3; uint32 width 4",
    "PReLUParameter": "FillerParameter filler 1; bool channel_shared 2",
    # ceil_mode is a fork's older spelling of round_mode, met only in text; its number never appears in a file we write.
    "PoolingParameter": """
        PoolingParameter.PoolMethod pool 1 = MAX; uint32* kernel_size 2; uint32* stride 3; uint32* pad 4
        uint32 kernel_h 5; uint32 kernel_w 6; uint32 stride_h 7; uint32 stride_w 8; uint32 pad_h 9; uint32 pad_w 10
        bool global_pooling 12; PoolingParameter.RoundMode round_mode 13 = CEIL; bool ceil_mode 50000 = true
    """,
    "PowerParameter": "float power 1 = 1; float scale 2 = 1; float shift 3",
    "PythonParameter": "string module 1; string layer 2; string param_str 3; bool share_in_parallel 4",
    "ReLUParameter": "float negative_slope 1",
    "ReductionParameter": "ReductionParameter.ReductionOp operation 1 = SUM; int32 axis 2; float coeff 3 = 1",
    "ReshapeParameter": "BlobShape shape 1; int32 axis 2; int32 num_axes 3 = -1",
    "ScaleParameter": """
        int32 axis 1 = 1; int32 num_axes 2 = 1; FillerParameter filler 3; bool bias_term 4
        FillerParameter bias_filler 5
    """,
    "SigmoidParameter": "",
    "SliceParameter": "uint32 slice_dim 1 = 1; uint32* slice_point 2; int32 axis 3 = 1",
    "SoftmaxParameter": "int32 axis 2 = 1",
    "TanHParameter": "",
    "TileParameter": "int32 axis 1 = 1; int32 tiles 2",
    "WindowDataParameter": """
        string source 1; float scale 2 = 1; string mean_file 3; uint32 batch_size 4; uint32 crop_size 5; bool mirror 6
        float fg_threshold 7 = 0.5; float bg_threshold 8 = 0.5; float fg_fraction 9 = 0.25; uint32 context_pad 10
        string crop_mode 11 = warp; bool cache_images 12; string root_folder 13
    """,
}

_RAW = {"float#": "bytes*", "double#": "bytes*"}
_SCALARS = ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32")


def new_message(kind: str, *, raw: bool = False) -> Message:
    """Return an empty message.

    Parameters
    ----------
    kind : str
        Name of a message of Caffe's format, such as ``NetParameter``.
    raw : bool
        Whether weights are lists of bytes (packed little-endian numbers as in the file) rather than of numbers.
    """
    return _classes(raw)[f"caffe.{kind}"]()


@cache
def _classes(raw: bool) -> dict[str, Any]:  # noqa: FBT001
    """Build all message classes in a pool of their own, so that no other Caffe schema in the process collides."""
    schema = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    messages = {}
    for name, rows in _MESSAGES.items():
        messages[name] = schema.message_type.add(name=name)
        for row in rows.replace("\n", ";").split(";"):
            if row.strip():
                _add_field(messages[name], row, raw=raw)
    for name, values in _ENUMS.items():
        owner, _, short = name.rpartition(".")
        enum = messages[owner].enum_type.add(name=short) if owner else schema.enum_type.add(name=short)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return {
        f"caffe.{name}": message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
        for name in messages
    }


def _add_field(message: descriptor_pb2.DescriptorProto, row: str, *, raw: bool) -> None:
    """Add one row of the table to a message."""
    declaration, _, default = row.partition("=")
    kind, name, number = declaration.split()
    kind = _RAW.get(kind, kind) if raw else kind
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.endswith(("*", "#")) else field.LABEL_OPTIONAL
    if kind.endswith("#"):
        field.options.packed = True
    kind = kind.rstrip("*#")
    if kind in _SCALARS:
        field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type = field.TYPE_ENUM if kind in _ENUMS else field.TYPE_MESSAGE
        field.type_name = f".caffe.{kind}"
    if default:
        field.default_value = default.strip()
