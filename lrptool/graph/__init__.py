"""The graph a network becomes behind the loaders, and the rewrites Graph → Graph."""

from lrptool.graph.constants import Array
from lrptool.graph.graph import Graph, Head
from lrptool.graph.node import Attribute, Node
from lrptool.graph.tensor import Shape, TensorSpec

__all__ = ["Array", "Attribute", "Graph", "Head", "Node", "Shape", "TensorSpec"]
