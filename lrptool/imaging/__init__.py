"""Pictures in and pictures out: load, preprocess, colour, compose."""

from lrptool.imaging.colormap import COLORMAPS, Colormap, colormap
from lrptool.imaging.load import check_array, load_array, load_image, to_rgb
from lrptool.imaging.panel import panel
from lrptool.imaging.preprocess import Preprocessing
from lrptool.imaging.render import coloured, colourise, encode_png, normalise, overlay, resize_heatmap

__all__ = [
    "COLORMAPS",
    "Colormap",
    "Preprocessing",
    "check_array",
    "colormap",
    "coloured",
    "colourise",
    "encode_png",
    "load_array",
    "load_image",
    "normalise",
    "overlay",
    "panel",
    "resize_heatmap",
    "to_rgb",
]
