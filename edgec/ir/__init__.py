"""The intermediate representation every stage reads and writes."""

from edgec.ir.graph import NO_ATTRIBUTES, Attributes, Graph, ImageLayout, Model, Node, Port, Value
from edgec.ir.text import format_graph, format_model
from edgec.ir.types import DYNAMIC, Array, DType, Quantization, Shape, TensorType

__all__ = [
    "DYNAMIC",
    "NO_ATTRIBUTES",
    "Array",
    "Attributes",
    "DType",
    "Graph",
    "ImageLayout",
    "Model",
    "Node",
    "Port",
    "Quantization",
    "Shape",
    "TensorType",
    "Value",
    "format_graph",
    "format_model",
]
