"""What a model is, what it costs and what keeps it from which board, without compiling it."""

from edgec.inspection.inspect import inspect_model
from edgec.inspection.model import Board, InspectedTensor, Inspection, Reason

__all__ = ["Board", "InspectedTensor", "Inspection", "Reason", "inspect_model"]
