"""The trained network as an ONNX graph.

Written with `onnx.helper` rather than PyTorch's exporter, which folds the batch norms in evaluation mode: the
sample keeps them, as a model fresh from training does, and every name reads well.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17: every reader of that age takes the file

Weights = Mapping[str, NDArray[np.float32]]


def build_model(weights: Weights) -> onnx.ModelProto:
    """Return the checked model; `weights` holds the network's state by PyTorch's names."""
    nodes = [
        *_conv_norm("stem", "image", kernel=3),
        _node("Relu", "stem_relu", "stem_norm"),
        *_conv_norm("depthwise", "stem_relu", kernel=3, groups=weights["depthwise.0.weight"].shape[0]),
        _node("Relu", "depthwise_relu", "depthwise_norm"),
        *_conv_norm("pointwise", "depthwise_relu", kernel=1),
        _node("Add", "residual_add", "pointwise_norm", "stem_relu"),
        _node("Relu", "residual_relu", "residual_add"),
        _node("MaxPool", "maximum", "residual_relu", kernel_shape=[2, 2], strides=[2, 2]),
        *_conv_norm("body", "maximum", kernel=3),
        _node("Relu", "body_relu", "body_norm"),
        _node("AveragePool", "average", "body_relu", kernel_shape=[2, 2], strides=[2, 2]),
        _node("Flatten", "features", "average", axis=1),
        _node("Gemm", "logits", "features", "head.weight", "head.bias", transB=1),
    ]
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(weights[name], name) for name in sorted(used & weights.keys())]
    graph = helper.make_graph(
        nodes,
        "digits_cnn",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 10])],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="digits_cnn", ir_version=IR_VERSION, opset_imports=opsets)
    onnx.checker.check_model(model, full_check=True)
    return model


def _conv_norm(name: str, source: str, kernel: int, groups: int = 1) -> list[onnx.NodeProto]:
    """Return a bias-free convolution that keeps the image's size, and its batch norm."""
    conv = _node(
        "Conv",
        f"{name}_conv",
        source,
        f"{name}.0.weight",
        kernel_shape=[kernel, kernel],
        pads=[kernel // 2] * 4,
        group=groups,
    )
    state = [f"{name}.1.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    return [conv, _node("BatchNormalization", f"{name}_norm", f"{name}_conv", *state, epsilon=1e-5)]


def _node(kind: str, name: str, *inputs: str, **attributes: float | list[int]) -> onnx.NodeProto:
    """Return a node whose only output carries the node's name."""
    node = helper.make_node(kind, list(inputs), [name], name=name)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
    return node
