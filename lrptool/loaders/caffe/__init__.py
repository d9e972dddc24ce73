"""Caffe: prototxt and caffemodel to graph."""

from lrptool.loaders.caffe.files import read_caffemodel
from lrptool.loaders.caffe.load import load_caffe
from lrptool.loaders.caffe.means import read_mean
from lrptool.loaders.caffe.prototxt import read_prototxt
from lrptool.loaders.caffe.translate import known_layer_types
from lrptool.loaders.caffe.write import write_binaryproto, write_caffemodel

__all__ = [
    "known_layer_types",
    "load_caffe",
    "read_caffemodel",
    "read_mean",
    "read_prototxt",
    "write_binaryproto",
    "write_caffemodel",
]
