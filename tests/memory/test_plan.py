"""Arena plans: small ones worked out by hand, and random ones against what the runtimes really do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgec.memory.lifetimes import litert_buffers, tflm_buffers
from edgec.memory.plan import activation_peak, lower_bound, plan_for, plan_litert, plan_tflm
from edgec.ops.movement import ReshapeAttributes
from tests.legalize.graphs import Net
from tests.legalize.micro import needs_tflm, run_micro
from tests.memory.random_nets import random_net


def chain() -> Net:
    """x[16] → a[64] → b[16] → y[16] in float32: 64, 256, 64 and 64 bytes; no kernel works in place."""
    net = Net()
    x = net.input(1, 16)
    a = net.op("tile", [x, net.ints([1, 4])])
    b = net.op("slice", [a, net.ints([0, 0]), net.ints([1, 16])])
    return net.returns(net.op("abs", [b]))


def test_chain_in_tflm() -> None:
    """The peak is node 0 or 1: 256 bytes of `a` and 64 of its neighbour; y reuses the place of `a`."""
    plan = plan_tflm(chain().graph)
    assert plan.total_bytes == plan.lower_bound == 320
    assert plan.peak_node == "tile"
    assert plan.offsets == {"tile": 0, "x": 256, "slice": 256, "abs": 0}


def test_chain_in_litert() -> None:
    """LiteRT keeps the input to the end, so `b` finds its place taken and goes behind."""
    plan = plan_litert(chain().graph)
    assert plan.offsets == {"x": 0, "tile": 64, "slice": 320, "abs": 64}
    assert plan.total_bytes == plan.lower_bound == 384
    assert plan.peak_node == "slice"


def test_sum_is_written_over_the_operand_that_nobody_else_reads() -> None:
    """add(a, b): `a` is read again later, `b` is not, so result and `b` share one place."""
    net = Net()
    x = net.input(1, 16)
    a, b = net.op("abs", [x]), net.op("neg", [x])
    y = net.op("add", [a, b])
    net.returns(net.op("squared_difference", [y, a]))
    plan = plan_litert(net.graph)
    assert plan.offsets["add"] == plan.offsets["neg"] != plan.offsets["abs"]


def test_reshape_takes_no_memory() -> None:
    """A reshape is its operand's bytes, except of a graph input or for a graph output."""
    net = Net()
    x = net.input(1, 16)
    a = net.op("abs", [x])
    flat = net.op("reshape", [a, net.ints([16])], ReshapeAttributes((16,)))
    last = net.op("reshape", [net.op("neg", [flat]), net.ints([4, 4])], ReshapeAttributes((4, 4)))
    net.returns(last)
    plan = plan_litert(net.graph)
    assert plan.offsets["reshape"] == plan.offsets["abs"]
    assert plan.offsets["reshape_1"] != plan.offsets["neg"]


def test_unread_and_empty() -> None:
    """A graph that returns its input needs that input alone, and has no node to blame."""
    net = Net()
    net.returns(net.input(1, 16))
    assert plan_tflm(net.graph).total_bytes == 64
    assert activation_peak(net.graph).node == ""


def test_dynamic_dimensions_count_as_one() -> None:
    """The file says 1 for a dimension that is set at run time, and so does the plan."""
    net = Net()
    net.returns(net.op("abs", [net.input(-1, 16)]))
    assert lower_bound(net.graph) == 128


def test_plan_for_a_profile() -> None:
    """Each profile is planned as its runtime does."""
    graph = chain().graph
    assert plan_for("tflm", graph) == plan_tflm(graph)
    assert plan_for("litert_xnnpack", graph) == plan_litert(graph)


@pytest.mark.parametrize("seed", range(24))
def test_no_two_live_tensors_overlap(seed: int) -> None:
    """Whatever the graph, tensors in memory at the same time lie apart, and no plan beats the bound."""
    graph = random_net(seed).graph

    for plan, buffers in (
        (plan_tflm(graph), tflm_buffers(graph)),
        (plan_litert(graph), litert_buffers(graph)),
    ):
        assert plan.total_bytes >= plan.lower_bound
        for index, one in enumerate(buffers):
            for other in buffers[index + 1 :]:
                if one.overlaps(other):
                    a, b = plan.offsets[one.names[0]], plan.offsets[other.names[0]]
                    assert a + one.size <= b or b + other.size <= a


@pytest.mark.parametrize("seed", range(24))
def test_litert_places_every_tensor_where_the_plan_says(seed: int) -> None:
    """Addresses of LiteRT's reference kernels (they ask for no scratch memory), relative to the lowest."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    net = random_net(seed)
    plan = plan_litert(net.graph)
    interpreter = Interpreter(
        model_content=net.bytes(), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    spans: dict[str, tuple[int, int]] = {}
    for detail in interpreter.get_tensor_details():
        if detail["name"] in plan.offsets:
            view: np.ndarray = interpreter.tensor(detail["index"])()
            spans[detail["name"]] = (view.__array_interface__["data"][0], view.nbytes)
    base = min(start for start, _ in spans.values())
    assert {name: start - base for name, (start, _) in spans.items()} == plan.offsets
    assert max(start + size for start, size in spans.values()) - base == plan.total_bytes


@needs_tflm
@pytest.mark.parametrize("seed", range(12))
def test_tflm_reports_the_planned_arena(seed: int, tmp_path: Path) -> None:
    """The head of TFLM's arena, as its recording allocator prints it, is the plan's total to the byte."""
    net = random_net(seed)
    run = run_micro(net.bytes(), net.samples(), len(net.graph.outputs), tmp_path)
    assert run is not None
    assert run.arena_head == plan_tflm(net.graph).total_bytes
