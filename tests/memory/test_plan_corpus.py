"""Arena plans of real models against the runtimes; needs the model corpus beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgec.diagnostics import Diagnostics
from edgec.emit import emit
from edgec.frontends.onnx.importer import import_onnx
from edgec.frontends.onnx.load import load_onnx
from edgec.ir import Model
from edgec.memory.plan import plan_litert, plan_tflm
from edgec.passes.eliminate_dead import EliminateDead
from edgec.passes.fold_constants import FoldConstants
from edgec.passes.layout import PropagateLayout
from tests.legalize.micro import needs_tflm, run_micro

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "onnx"
NAMES = ("ic_mobilenet_cifar10_alibaba", "cls_mnist_cntk", "face_mtcnn_rnet")

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no model corpus beside the checkout"),
]


def model(name: str) -> Model:
    ir = import_onnx(load_onnx(CORPUS / f"{name}.onnx"), {}, Diagnostics())
    for item in (EliminateDead(), FoldConstants(), PropagateLayout(True), EliminateDead()):
        ir = item.run(ir).model
    return ir


@pytest.mark.parametrize("name", NAMES)
def test_litert_arena(name: str) -> None:
    """The span of the activations is the plan's total; a kernel's scratch tensors may swap two places."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    ir = model(name)
    plan = plan_litert(ir.graph)
    interpreter = Interpreter(
        model_content=emit(ir).to_bytes(), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    starts: dict[str, int] = {}
    stops: list[int] = []
    for detail in interpreter.get_tensor_details():
        if detail["name"] in plan.offsets:
            view: np.ndarray = interpreter.tensor(detail["index"])()
            starts[detail["name"]] = view.__array_interface__["data"][0]
            stops.append(starts[detail["name"]] + view.nbytes)
    base = min(starts.values())
    assert max(stops) - base == plan.total_bytes
    agree = sum(start - base == plan.offsets[name] for name, start in starts.items())
    assert agree >= 0.9 * len(starts)


@needs_tflm
@pytest.mark.parametrize("name", NAMES)
def test_tflm_arena(name: str, tmp_path: Path) -> None:
    """The head of the arena that TFLM reports is the plan's total to the byte."""
    ir = model(name)
    inputs = [np.zeros(value.shape, value.dtype.numpy) for value in ir.graph.inputs]
    run = run_micro(emit(ir).to_bytes(), inputs, len(ir.graph.outputs), tmp_path)
    assert run is not None
    assert run.arena_head == plan_tflm(ir.graph).total_bytes
