"""The tests of `onnx.backend.test` as cases, and which of them are eligible.

    node · simple · pytorch-operator · pytorch-converted · real (`light` architectures, no downloads)

Eligible is what a tensor compiler for inference could be asked to do: the default domain only, dense tensors
of element types that an array can hold, and one right answer. 1,713 of the 2,033 tests of onnx 1.23.2 are.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

if TYPE_CHECKING:
    from onnx.backend.test.case.test_case import TestCase

Array = np.ndarray
DataSet = tuple[list[Array], list[Array]]

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted", "real")

_SEVERAL = {
    "node": "(several operators)",
    "simple": "(several operators)",
    "pytorch-operator": "(PyTorch exports)",
    "pytorch-converted": "(PyTorch exports)",
    "real": "(light architectures)",
}
"""What the table calls models of more than one operator."""

_FOREIGN_TYPES = re.compile(r"STRING|FLOAT8\w+|FLOAT4\w+|BFLOAT16|U?INT[24]|COMPLEX\d+")
_RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
_EXPANDED = re.compile(r"_expanded(_ver\d+)?$")


@dataclass(frozen=True)
class Case:
    """One test: a model, data sets of inputs and expected outputs, and its tolerances.

    `operator` is what the table calls it: the operator of a one-node model, also where the model is that
    operator's function body written out; a name in parentheses where several operators work together.
    """

    name: str
    kind: str
    operator: str
    model: onnx.ModelProto = field(repr=False)
    data_sets: tuple[DataSet, ...] = field(repr=False)
    rtol: float
    atol: float
    frozen: bool = False

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """The graph inputs that are fed: those without an initializer."""
        return runtime_inputs(self.model)


@dataclass(frozen=True)
class Suite:
    """The eligible cases by name, and the names of the others by the reason that excludes them."""

    cases: dict[str, Case]
    excluded: dict[str, list[str]]
    signatures: dict[str, onnx.NodeProto]
    """The node that a test is about, by test name; expanded tests name the node they expand."""


@cache
def load_suite() -> Suite:
    """Return all tests of the installed onnx package; takes seconds, because onnx computes them."""
    tests = [(kind, test) for kind in KINDS for test in _tests(kind)]
    models = {test.name: _model(test) for _, test in tests}
    signatures = {name: node for name, model in models.items() if (node := _only_node(model)) is not None}
    for name in models:
        origin = signatures.get(_EXPANDED.sub("", name))
        if _EXPANDED.search(name) and origin is not None:
            signatures[name] = origin
    suite = Suite({}, {}, signatures)
    for kind, test in tests:
        model = models[test.name]
        reason = exclusion(test, model)
        if reason is not None:
            suite.excluded.setdefault(reason, []).append(test.name)
            continue
        node = signatures.get(test.name)
        operator = node.op_type if node is not None else _SEVERAL[kind]
        data_sets = tuple(_data_sets(test, model))
        suite.cases[test.name] = Case(test.name, kind, operator, model, data_sets, test.rtol, test.atol)
    return suite


def exclusion(test: TestCase, model: onnx.ModelProto) -> str | None:
    """Return why a test is not eligible, or None."""
    foreign = {entry.domain for entry in model.opset_import} - {"", "ai.onnx"}
    if foreign:
        return f"domain {', '.join(sorted(foreign))}"
    nodes = list(nodes_of(model.graph))
    for info in (*runtime_inputs(model), *model.graph.output):
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            return f"{kind.removesuffix('_type')} input or output"
        name = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type)
        if _FOREIGN_TYPES.fullmatch(name):
            return f"{name.lower()} input or output"
    if any(node.op_type in _RANDOM for node in nodes):
        return "random"
    if test.name.startswith("test_training_") or any(_is_training(node) for node in nodes):
        return "training"
    arrays = [array for pair in test.data_sets or () for side in pair for array in side]
    if any(isinstance(array, onnx.TensorProto) for array in arrays):
        return "object data: a protobuf message in place of an array"
    return None


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of every subgraph in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from nodes_of(subgraph)


def runtime_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the graph inputs without an initializer, in order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [info for info in model.graph.input if info.name not in constants]


def _tests(kind: str) -> Sequence[TestCase]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():  # the suite computes overflows and 0/0 on purpose
        warnings.simplefilter("ignore")
        return load_model_tests(kind=kind)


def _model(test: TestCase) -> onnx.ModelProto:
    if test.model is not None:
        return test.model
    path = Path(test.model_dir) / "model.onnx" if test.model_dir else _light(test)
    return onnx.load(path)


def _light(test: TestCase) -> Path:
    """Return where the package keeps a `light` architecture; its address is relative to site-packages."""
    return Path(onnx.__file__).parents[1] / str(test.url)


def _only_node(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """Return the node of a one-operator model (constants beside it do not count), or None."""
    nodes = [node for node in model.graph.node if node.op_type != "Constant"] or list(model.graph.node)
    return nodes[0] if len(nodes) == 1 else None


def _is_training(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)


def _data_sets(test: TestCase, model: onnx.ModelProto) -> Iterator[DataSet]:
    if test.data_sets is not None:
        for inputs, outputs in test.data_sets:
            yield [np.asarray(item) for item in inputs], [np.asarray(item) for item in outputs]
    elif test.model_dir is not None:
        for folder in sorted(Path(test.model_dir).glob("test_data_set_*")):
            yield _tensors(folder, "input"), _tensors(folder, "output")
    else:
        stem = _light(test).with_suffix("")
        outputs = [_tensor(path) for path in sorted(stem.parent.glob(f"{stem.name}_output_*.pb"))]
        yield [_ramp(info) for info in runtime_inputs(model)], outputs


def _tensors(folder: Path, role: str) -> list[Array]:
    count = len(list(folder.glob(f"{role}_*.pb")))
    return [_tensor(folder / f"{role}_{index}.pb") for index in range(count)]


def _tensor(path: Path) -> Array:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _ramp(info: onnx.ValueInfoProto) -> Array:
    """Return the input the suite gives to `light` models: 0, 1/n, 2/n, ... (its `generate_dummy_data`)."""
    shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
    count = int(np.prod(shape))
    return (np.arange(count).reshape(shape) / count).astype(np.float32)
