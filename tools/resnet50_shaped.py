"""Write a ResNet-50-shaped ONNX model with random weights: 25.6 M parameters, 102 MB, nothing to download.

    python tools/resnet50_shaped.py OUT.onnx

The layout of He et al. 2015 (https://arxiv.org/abs/1512.03385, table 1, 50 layers): a 7×7 stem, four stages
of bottlenecks 1×1 → 3×3 → 1×1 with a residual add, mean, fully connected. Weights are He-scaled so that
activations stay finite from end to end.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

SEED = 50
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # bottlenecks, their inner channels
EXPANSION = 4
CLASSES = 1000


@dataclass(slots=True)
class ResnetBuilder:
    """Collects nodes and constants; each method adds a piece and returns the name of its output."""

    generator: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, kind: str, name: str, *inputs: str, **attributes: int | list[int]) -> str:
        """Add a node whose output carries its name."""
        node = helper.make_node(kind, list(inputs), [name], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return name

    def constant(self, name: str, data: NDArray[np.float32]) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(data, name))
        return name

    def random_weights(self, name: str, *shape: int) -> str:
        """Add He-scaled weights: variance 2 / (inputs of one output)."""
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return self.constant(name, self.generator.standard_normal(shape, np.float32) * scale)

    def conv_norm(
        self, name: str, source: str, inputs: int, outputs: int, kernel: int, stride: int = 1
    ) -> str:
        """Add a bias-free convolution and its batch norm."""
        conv = self.node(
            "Conv",
            f"{name}/conv",
            source,
            self.random_weights(f"{name}/weights", outputs, inputs, kernel, kernel),
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
        )
        uniform = self.generator.uniform
        statistics = [("gamma", 0.8, 1.0), ("beta", -0.1, 0.1), ("mean", -0.1, 0.1), ("variance", 0.9, 1.1)]
        names = [
            self.constant(f"{name}/{part}", uniform(low, high, outputs).astype(np.float32))
            for part, low, high in statistics
        ]
        return self.node("BatchNormalization", f"{name}/norm", conv, *names)

    def bottleneck(self, name: str, source: str, inputs: int, inner: int, stride: int) -> str:
        """Add one residual block; it projects its shortcut where the shape changes."""
        outputs = inner * EXPANSION
        inner_1 = self.relu(f"{name}/1", self.conv_norm(f"{name}/1", source, inputs, inner, 1))
        inner_2 = self.relu(f"{name}/2", self.conv_norm(f"{name}/2", inner_1, inner, inner, 3, stride))
        branch = self.conv_norm(f"{name}/3", inner_2, inner, outputs, 1)
        if inputs != outputs:
            source = self.conv_norm(f"{name}/shortcut", source, inputs, outputs, 1, stride)
        return self.relu(name, self.node("Add", f"{name}/add", branch, source))

    def relu(self, name: str, source: str) -> str:
        """Add a relu."""
        return self.node("Relu", f"{name}/relu", source)


def resnet50_shaped() -> onnx.ModelProto:
    """Return the model: `image` float32 [1,3,224,224] -> `logits` [1,1000]; the same weights every time."""
    builder = ResnetBuilder(np.random.default_rng(SEED))
    stem = builder.relu("stem", builder.conv_norm("stem", "image", 3, 64, 7, 2))
    value = builder.node("MaxPool", "stem/pool", stem, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (blocks, inner) in enumerate(STAGES):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            value = builder.bottleneck(f"stage{stage + 1}/block{block + 1}", value, channels, inner, stride)
            channels = inner * EXPANSION
    features = builder.node("Flatten", "features", builder.node("GlobalAveragePool", "mean", value))
    weights = builder.random_weights("head/weights", CLASSES, channels)
    bias = builder.constant("head/bias", np.zeros(CLASSES, np.float32))
    builder.node("Gemm", "logits", features, weights, bias, transB=1)
    return _as_model(builder)


def _as_model(builder: ResnetBuilder) -> onnx.ModelProto:
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        builder.nodes,
        "resnet50_shaped",
        [tensor("image", onnx.TensorProto.FLOAT, [1, 3, 224, 224])],
        [tensor("logits", onnx.TensorProto.FLOAT, [1, CLASSES])],
        builder.constants,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(resnet50_shaped().SerializeToString(deterministic=True))
