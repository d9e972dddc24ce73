"""What forks of Caffe added to its messages, as rows in the form of `lrptool.loaders.caffe.fields`.

A fork's numbers mean something else in the next fork: only those of SSD (permute, norm) and ShuffleNet, which others
kept, are the published ones. All others start at 50000, met in no file, so that these options are read from text alone.
"""

from __future__ import annotations

FIRST_FREE_NUMBER = 50000

FORK_ENUMS: dict[str, dict[str, int]] = {
    # SegNet: statistics of the batch, or scale and shift alone.
    "BNParameter.BNMode": {"LEARN": 0, "INFERENCE": 1},
}

FORK_MESSAGES: dict[str, str] = {
    # SegNet and batch normalisation of 2015: scale_filler to decay; PSPNet: slope_filler to frozen.
    "BNParameter": """
        FillerParameter scale_filler 50000; FillerParameter shift_filler 50001; BNParameter.BNMode bn_mode 50002
        float var_eps 50003 = 1e-09; bool moving_average 50004; float decay 50005; FillerParameter slope_filler 50006
        FillerParameter bias_filler 50007; float momentum 50008; float eps 50009 = 1e-05; bool frozen 50010
    """,
    # NVCaffe learns a scale and a shift in the same layer.
    "BatchNormParameter": """
        FillerParameter scale_filler 50000; FillerParameter bias_filler 50001; bool scale_bias 50002
        bool fused_relu 50003
    """,
    # DeepLab's word for dilation.
    "ConvolutionParameter": "uint32 hole 50000; uint32 hole_h 50001; uint32 hole_w 50002",
    "CReLUParameter": "float negative_slope 50000; int32 concat_axis 50001 = 1",
    # Bayesian SegNet drops at test time as well, where that is set.
    "DropoutParameter": "bool sample_weights_test 50000",
    "InterpParameter": """
        int32 height 50000; int32 width 50001; int32 zoom_factor 50002 = 1; int32 shrink_factor 50003 = 1
        int32 pad_beg 50004; int32 pad_end 50005
    """,
    "LayerParameter": """
        ShuffleChannelParameter shuffle_channel_param 164; PermuteParameter permute_param 202
        NormalizeParameter norm_param 206; BNParameter bn_param 50000; InterpParameter interp_param 50001
        CReLUParameter crelu_param 50002; UpsampleParameter upsample_param 50003
    """,
    "NormalizeParameter": """
        bool across_spatial 1 = true; FillerParameter scale_filler 2; bool channel_shared 3 = true; float eps 4 = 1e-10
    """,
    "PermuteParameter": "uint32* order 1",
    "PoolingParameter": "bool ceil_mode 50000 = true",
    "ShuffleChannelParameter": "uint32 group 1 = 1",
    "TransformationParameter": "uint32 crop_h 11; uint32 crop_w 12",
    "UpsampleParameter": "uint32 scale 50000 = 2; uint32 scale_h 50001; uint32 scale_w 50002",
    # A layer type the old list does not have; text gives it as a word or a string.
    "V1LayerParameter": "string type_name 50000",
}
