"""The messages of Caffe's own format, as compact tables; `lrptool.loaders.caffe.schema` explains a row.

What forks added stands in `lrptool.loaders.caffe.forks`.
"""

from __future__ import annotations

ENUMS: dict[str, dict[str, int]] = {
    "Phase": {"TRAIN": 0, "TEST": 1},
    "EltwiseParameter.EltwiseOp": {"PROD": 0, "SUM": 1, "MAX": 2},
    "LRNParameter.NormRegion": {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1},
    "PoolingParameter.PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "PoolingParameter.RoundMode": {"CEIL": 0, "FLOOR": 1},
    "SPPParameter.PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "V0LayerParameter.PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "ReductionParameter.ReductionOp": {"SUM": 1, "ASUM": 2, "SUMSQ": 3, "MEAN": 4},
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

MESSAGES: dict[str, str] = {
    "BlobShape": "int64# dim 1",
    "BlobProto": """
        int32 num 1; int32 channels 2; int32 height 3; int32 width 4; float# data 5; BlobShape shape 7
        double# double_data 8; int32 raw_data_type 10
    """,
    "BlobProtoVector": "BlobProto* blobs 1",
    "NetParameter": """
        string name 1; V1LayerParameter* layers 2; string* input 3; int32* input_dim 4; NetState state 6
        BlobShape* input_shape 8; LayerParameter* layer 100
    """,
    "NetState": "Phase phase 1 = TEST; int32 level 2; string* stage 3",
    "NetStateRule": "Phase phase 1; int32 min_level 2; int32 max_level 3; string* stage 4; string* not_stage 5",
    "ParamSpec": "string name 1; float lr_mult 3 = 1; float decay_mult 4 = 1",
    "FillerParameter": """
        string type 1 = constant; float value 2; float min 3; float max 4 = 1; float mean 5; float std 6 = 1
        int32 sparse 7 = -1
    """,
    "LayerParameter": """
        string name 1; string type 2; string* bottom 3; string* top 4; float* loss_weight 5; ParamSpec* param 6
        BlobProto* blobs 7; NetStateRule* include 8; NetStateRule* exclude 9; Phase phase 10; bool* propagate_down 11
        TransformationParameter transform_param 100; ArgMaxParameter argmax_param 103
        ConcatParameter concat_param 104; ConvolutionParameter convolution_param 106; DataParameter data_param 107
        DropoutParameter dropout_param 108; DummyDataParameter dummy_data_param 109; EltwiseParameter eltwise_param 110
        ExpParameter exp_param 111; ImageDataParameter image_data_param 115
        InnerProductParameter inner_product_param 117; LRNParameter lrn_param 118
        MemoryDataParameter memory_data_param 119; MVNParameter mvn_param 120; PoolingParameter pooling_param 121
        PowerParameter power_param 122; ReLUParameter relu_param 123; SoftmaxParameter softmax_param 125
        SliceParameter slice_param 126; ThresholdParameter threshold_param 128
        WindowDataParameter window_data_param 129; PReLUParameter prelu_param 131; SPPParameter spp_param 132
        ReshapeParameter reshape_param 133; LogParameter log_param 134; FlattenParameter flatten_param 135
        ReductionParameter reduction_param 136; EmbedParameter embed_param 137; TileParameter tile_param 138
        BatchNormParameter batch_norm_param 139; ELUParameter elu_param 140; BiasParameter bias_param 141
        ScaleParameter scale_param 142; InputParameter input_param 143; CropParameter crop_param 144
        ParameterParameter parameter_param 145; SwishParameter swish_param 147; ClipParameter clip_param 148
    """,
    "V1LayerParameter": """
        V0LayerParameter layer 1; string* bottom 2; string* top 3; string name 4; V1LayerParameter.LayerType type 5
        BlobProto* blobs 6; float* blobs_lr 7; float* weight_decay 8; NetStateRule* include 32
        NetStateRule* exclude 33; float* loss_weight 35; string* param 1001; ArgMaxParameter argmax_param 23
        ConcatParameter concat_param 9; ConvolutionParameter convolution_param 10; DataParameter data_param 11
        DropoutParameter dropout_param 12; DummyDataParameter dummy_data_param 26; EltwiseParameter eltwise_param 24
        ExpParameter exp_param 41; ImageDataParameter image_data_param 15
        InnerProductParameter inner_product_param 17; LRNParameter lrn_param 18
        MemoryDataParameter memory_data_param 22; MVNParameter mvn_param 34; PoolingParameter pooling_param 19
        PowerParameter power_param 21; ReLUParameter relu_param 30; SoftmaxParameter softmax_param 39
        SliceParameter slice_param 31; ThresholdParameter threshold_param 25
        WindowDataParameter window_data_param 20; TransformationParameter transform_param 36
    """,
    "V0LayerParameter": """
        string name 1; string type 2; uint32 num_output 3; bool biasterm 4 = true; FillerParameter weight_filler 5
        FillerParameter bias_filler 6; uint32 pad 7; uint32 kernelsize 8; uint32 group 9 = 1; uint32 stride 10 = 1
        V0LayerParameter.PoolMethod pool 11 = MAX; float dropout_ratio 12 = 0.5; uint32 local_size 13 = 5
        float alpha 14 = 1; float beta 15 = 0.75; string source 16; float scale 17 = 1; string meanfile 18
        uint32 batchsize 19; uint32 cropsize 20; bool mirror 21; float k 22 = 1; BlobProto* blobs 50
        float* blobs_lr 51; float* weight_decay 52; uint32 rand_skip 53; uint32 new_height 62; uint32 new_width 63
        uint32 concat_dim 65 = 1
    """,
    "TransformationParameter": """
        float scale 1 = 1; bool mirror 2; uint32 crop_size 3; string mean_file 4; float* mean_value 5
        bool force_color 6; bool force_gray 7
    """,
    "ArgMaxParameter": "bool out_max_val 1; uint32 top_k 2 = 1; int32 axis 3",
    "BatchNormParameter": "bool use_global_stats 1; float moving_average_fraction 2 = 0.999; float eps 3 = 1e-05",
    "ClipParameter": "float min 1 = -inf; float max 2 = inf",
    "BiasParameter": "int32 axis 1 = 1; int32 num_axes 2 = 1; FillerParameter filler 3",
    "ConcatParameter": "uint32 concat_dim 1 = 1; int32 axis 2 = 1",
    "ConvolutionParameter": """
        uint32 num_output 1; bool bias_term 2 = true; uint32* pad 3; uint32* kernel_size 4; uint32 group 5 = 1
        uint32* stride 6; FillerParameter weight_filler 7; FillerParameter bias_filler 8; uint32 pad_h 9
        uint32 pad_w 10; uint32 kernel_h 11; uint32 kernel_w 12; uint32 stride_h 13; uint32 stride_w 14
        int32 axis 16 = 1; bool force_nd_im2col 17; uint32* dilation 18
    """,
    "CropParameter": "int32 axis 1 = 2; uint32* offset 2",
    "DataParameter": """
        string source 1; float scale 2 = 1; string mean_file 3; uint32 batch_size 4; uint32 crop_size 5; bool mirror 6
        uint32 rand_skip 7; bool force_encoded_color 9
    """,
    "DropoutParameter": "float dropout_ratio 1 = 0.5; bool scale_train 2 = true",
    "DummyDataParameter": """
        FillerParameter* data_filler 1; uint32* num 2; uint32* channels 3; uint32* height 4; uint32* width 5
        BlobShape* shape 6
    """,
    "ELUParameter": "float alpha 1 = 1",
    "EmbedParameter": """
        uint32 num_output 1; uint32 input_dim 2; bool bias_term 3 = true; FillerParameter weight_filler 4
        FillerParameter bias_filler 5
    """,
    "ExpParameter": "float base 1 = -1; float scale 2 = 1; float shift 3",
    "EltwiseParameter": """
        EltwiseParameter.EltwiseOp operation 1 = SUM; float* coeff 2; bool stable_prod_grad 3 = true
    """,
    "FlattenParameter": "int32 axis 1 = 1; int32 end_axis 2 = -1",
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
    "LogParameter": "float base 1 = -1; float scale 2 = 1; float shift 3",
    "MVNParameter": "bool normalize_variance 1 = true; bool across_channels 2; float eps 3 = 1e-09",
    "MemoryDataParameter": "uint32 batch_size 1; uint32 channels 2; uint32 height 3; uint32 width 4; uint32* dim 5",
    "ParameterParameter": "BlobShape shape 1",
    "PReLUParameter": "FillerParameter filler 1; bool channel_shared 2",
    "PoolingParameter": """
        PoolingParameter.PoolMethod pool 1 = MAX; uint32* kernel_size 2; uint32* stride 3; uint32* pad 4
        uint32 kernel_h 5; uint32 kernel_w 6; uint32 stride_h 7; uint32 stride_w 8; uint32 pad_h 9; uint32 pad_w 10
        bool global_pooling 12; PoolingParameter.RoundMode round_mode 13 = CEIL
    """,
    "PowerParameter": "float power 1 = 1; float scale 2 = 1; float shift 3",
    "ReLUParameter": "float negative_slope 1",
    "ReductionParameter": "ReductionParameter.ReductionOp operation 1 = SUM; int32 axis 2; float coeff 3 = 1",
    "ReshapeParameter": "BlobShape shape 1; int32 axis 2; int32 num_axes 3 = -1",
    "ScaleParameter": """
        int32 axis 1 = 1; int32 num_axes 2 = 1; FillerParameter filler 3; bool bias_term 4
        FillerParameter bias_filler 5
    """,
    "SPPParameter": "uint32 pyramid_height 1; SPPParameter.PoolMethod pool 2 = MAX",
    "SliceParameter": "uint32 slice_dim 1 = 1; uint32* slice_point 2; int32 axis 3 = 1",
    "SoftmaxParameter": "int32 axis 2 = 1",
    "SwishParameter": "float beta 1 = 1",
    "ThresholdParameter": "float threshold 1",
    "TileParameter": "int32 axis 1 = 1; int32 tiles 2",
    "WindowDataParameter": """
        string source 1; float scale 2 = 1; string mean_file 3; uint32 batch_size 4; uint32 crop_size 5; bool mirror 6
        float fg_threshold 7 = 0.5; float bg_threshold 8 = 0.5; float fg_fraction 9 = 0.25; uint32 context_pad 10
    """,
}
