"""Turns run-time inputs that exported models carry as constants into initializers.

The suite feeds every operand at run time, also weights, axes, shapes and pads, so that one file tests many
values. Exporters never do: these come from the module's parameters and from its Python code. The table names,
for each operator, the operand positions that are such settings; what is left are its data.
"""

from __future__ import annotations

from dataclasses import replace

import onnx
from onnx import numpy_helper

from tests.conformance.cases import Case, nodes_of

_REDUCED = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

SETTINGS: dict[str, tuple[int, ...]] = {
    # weights and biases
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1, 2, 3),
    "CausalConvWithState": (1, 2),
    "DeformConv": (1, 3),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "MatMulInteger": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 3, 4, 5, 6, 7),
    "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
    "PRelu": (1,),
    "BatchNormalization": (1, 2, 3, 4),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "NegativeLogLikelihoodLoss": (2,),
    "SoftmaxCrossEntropyLoss": (2,),
    # scales and zero points
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    # axes
    **{f"Reduce{name}": (1,) for name in _REDUCED},
    "CumSum": (1,),
    "CumProd": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    # shapes, sizes, pads, repeats, counts
    "AffineGrid": (1,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "MaxUnpool": (2,),
    "Pad": (1, 2, 3),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1, 2),
    "TopK": (1,),
    "OneHot": (1, 2),
    "Upsample": (1,),
    "Trilu": (1,),
    "Range": (0, 1, 2),
    "SplitToSequence": (1,),
    # signal lengths and windows
    "BlackmanWindow": (0,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "DFT": (1, 2),
    "STFT": (1, 2, 3),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    # limits and thresholds
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "NonMaxSuppression": (2, 3, 4),
    # indices, masks, exponents and shifts that code spells out
    "BitShift": (1,),
    "Compress": (1,),
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "Pow": (1,),
    "RotaryEmbedding": (1, 2, 3),
    "Scatter": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "SequenceAt": (1,),
    "SequenceErase": (1,),
    "SequenceInsert": (2,),
    # control that exporters decide
    "If": (0,),
    "Loop": (0, 1),
}


def freeze(case: Case, signature: onnx.NodeProto | None) -> Case:
    """Return the case with its settings as initializers; the same case where it has none.

    `signature` is the node the test is about: in an expanded function the inputs keep that node's names.
    """
    nodes = [signature] if signature is not None else list(nodes_of(case.model.graph))
    names = _operands(nodes, settings=True) - _operands(nodes, settings=False)
    fed = [info.name for info in case.inputs]
    if not names.intersection(fed) or len(case.data_sets) != 1:
        return case
    inputs, outputs = case.data_sets[0]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    kept = [info for info in model.graph.input if info.name not in names or info.name not in fed]
    arrays = dict(zip(fed, inputs, strict=True))
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items() if name in names
    )
    del model.graph.input[:]
    model.graph.input.extend(kept)
    left = [array for name, array in arrays.items() if name not in names]
    return replace(case, model=model, data_sets=((left, outputs),), frozen=True)


def _operands(nodes: list[onnx.NodeProto], *, settings: bool) -> set[str]:
    return {
        name
        for node in nodes
        for index, name in enumerate(node.input)
        if (index in SETTINGS.get(node.op_type, ())) is settings
    }
