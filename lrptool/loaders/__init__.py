"""Readers of model files: from a file to a `lrptool.graph.Graph`."""

from lrptool.loaders.loaded import LoadedNet, Original

__all__ = ["LoadedNet", "Original"]
