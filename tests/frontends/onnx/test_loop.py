"""Loop and Scan: written out where the rounds are known and few, else a `while`; same numbers either way."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.control_flow import check, compiled, constant, inner, model, node

X = np.arange(3, dtype=np.float32)
HEAD = {"i": np.array(0), "going": np.array(True)}


def sums(condition: str = "always") -> onnx.GraphProto:
    """Return a body: s += x; a row s * i; going on always, or below a limit on s or on i."""
    decide = {
        "always": [node("Identity", ["going"], ["on"])],
        "sum": [
            node("ReduceMax", ["s2"], ["top"], keepdims=0),
            constant("limit", np.float32(20)),
            node("Less", ["top", "limit"], ["on"]),
        ],
        "round": [constant("limit", np.int64(3)), node("Less", ["i", "limit"], ["on"])],
    }[condition]
    nodes = [
        node("Add", ["s", "x"], ["s2"]),
        node("Cast", ["i"], ["f"], to=1),
        node("Mul", ["s2", "f"], ["row"]),
        *decide,
    ]
    return inner(nodes, ["on", "s2", "row"], {**HEAD, "s": X})


def loop(body: onnx.GraphProto, count: str = "", going: str = "") -> onnx.NodeProto:
    return node("Loop", [count, going, "x"], ["y", "rows"], body=body)


@pytest.mark.parametrize("rounds", [0, 1, 5])
def test_a_few_known_rounds_are_written_out(rounds: int) -> None:
    """No `while` remains; without any round the scan is empty."""
    proto = model([loop(sums(), "m")], {"x": X}, ["y", "rows"], constants={"m": np.array(rounds)})
    assert "WHILE" not in check(proto, {"x": X}).report.ops


def test_many_known_rounds_fill_a_buffer() -> None:
    """The scan's size is known, so every round writes its row."""
    proto = model([loop(sums(), "m")], {"x": X}, ["y", "rows"], constants={"m": np.array(400)})
    result = check(proto, {"x": X})
    assert result.report.ops["WHILE"] == result.report.ops["DYNAMIC_UPDATE_SLICE"] == 1
    assert result.report.outputs[1].shape == (400, 3)


def test_rounds_counted_at_run_time() -> None:
    """One file runs as many rounds as it is told, down to none."""
    samples = [{"m": np.array(count), "x": X} for count in (4, 0, 1)]
    proto = model([loop(sums(), "m")], dict(samples[0]), ["y", "rows"])
    assert check(proto, *samples).report.outputs[1].shape == (-1, 3)


def test_rounds_end_when_the_condition_fails() -> None:
    """Before the first round, after some, or by the trip count, whichever comes first."""
    samples = [{"m": np.array(m), "c": np.array(c), "x": X} for m, c in ((4, True), (4, False), (50, True))]
    check(model([loop(sums("sum"), "m", "c")], dict(samples[0]), ["y", "rows"]), *samples)
    forever = model([loop(sums("sum"), "", "c")], {"x": X}, ["y", "rows"], constants={"c": np.array(True)})
    check(forever, {"x": X})


def test_a_condition_on_the_round_alone_is_known() -> None:
    """`i < 3` is computed while the rounds are written out, so their number is known."""
    proto = model([loop(sums("round"), "", "c")], {"x": X}, ["y", "rows"], constants={"c": np.array(True)})
    assert "WHILE" not in check(proto, {"x": X}).report.ops


def test_states_that_change_places() -> None:
    """A kernel copies states one after the other: what moves to another place is copied out first."""
    body = inner(
        [node("Identity", ["a"], ["a2"]), node("Identity", ["going"], ["on"])],
        ["on", "b", "a2"],
        {**HEAD, "a": X, "b": X},
    )
    nodes = [node("Exp", ["x"], ["h"]), node("Loop", ["m", "", "x", "h"], ["p", "q"], body=body)]
    samples = [{"m": np.array(count), "x": X} for count in (3, 2)]
    check(model(nodes, dict(samples[0]), ["p", "q"]), *samples)


def test_a_state_that_grows() -> None:
    """Its size is left open once a round was seen to change it."""
    body = inner(
        [node("Concat", ["a", "h"], ["a2"], axis=0), node("Identity", ["going"], ["on"])],
        ["on", "a2"],
        {**HEAD, "a": None},
    )
    nodes = [node("Exp", ["x"], ["h"]), node("Loop", ["m", "", "x"], ["p"], body=body)]
    samples = [{"m": np.array(count), "x": X} for count in (3, 0)]
    assert check(model(nodes, dict(samples[0]), ["p"]), *samples).report.outputs[0].shape == (-1,)


def test_a_branch_inside_of_a_loop() -> None:
    """It captures the loop's state and a value of the main graph; unrolled, its condition is known."""
    branches = {
        "then_branch": inner([node("Add", ["s", "h"], ["r"])], ["r"]),
        "else_branch": inner([node("Sub", ["s", "x"], ["r"])], ["r"]),
    }
    nodes = [
        constant("two", np.int64(2)),
        node("Less", ["i", "two"], ["early"]),
        node("If", ["early"], ["s2"], **branches),
        node("Identity", ["going"], ["on"]),
    ]
    body = inner(nodes, ["on", "s2"], {**HEAD, "s": X})
    nodes = [node("Exp", ["x"], ["h"]), node("Loop", ["m", "", "x"], ["y"], body=body)]
    at_run_time = check(model(nodes, {"m": np.array(4), "x": X}, ["y"]), {"m": np.array(4), "x": X})
    assert at_run_time.report.ops["IF"] == at_run_time.report.ops["WHILE"] == 1
    known = check(model(nodes, {"x": X}, ["y"], constants={"m": np.array(4)}), {"x": X})
    assert known.report.ops.keys().isdisjoint({"IF", "WHILE"})


def test_a_state_of_changing_rank_is_refused() -> None:
    """A state keeps its kind."""
    nodes = [
        constant("zero", np.array([0])),
        node("Unsqueeze", ["s", "zero"], ["s2"]),
        node("Identity", ["going"], ["on"]),
    ]
    body = inner(nodes, ["on", "s2"], {**HEAD, "s": None})
    proto = model([node("Loop", ["m", "", "x"], ["y"], body=body)], {"m": np.array(2), "x": X}, ["y"])
    with pytest.raises(CompileError, match="starts and ends a round as different kinds of tensors"):
        compiled(proto)


def scan(length: int, **attributes: object) -> tuple[onnx.ModelProto, dict[str, Array]]:
    pair = np.zeros(2, np.float32)
    nodes = [node("Add", ["s", "e"], ["s2"]), node("Mul", ["s2", "e"], ["row"])]
    body = inner(nodes, ["s2", "row"], {"s": pair, "e": pair})
    values = np.random.default_rng(0).uniform(-1, 1, (2, length)).astype(np.float32)
    feeds: dict[str, Array] = {"s": pair, "x": values}
    node_ = node("Scan", ["s", "x"], ["y", "rows"], body=body, num_scan_inputs=1, **attributes)
    return model([node_], feeds, ["y", "rows"]), feeds


@pytest.mark.parametrize("length", [4, 300])
@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("out_backwards", [0, 1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
def test_scan_directions_and_axes(length: int, backwards: int, out_backwards: int, out_axis: int) -> None:
    """Entries along any axis, from either end; rows joined along any axis, from either end."""
    proto, feeds = scan(
        length,
        scan_input_axes=[1],
        scan_input_directions=[backwards],
        scan_output_directions=[out_backwards],
        scan_output_axes=[out_axis],
    )
    assert ("WHILE" in check(proto, feeds, rtol=1e-4, atol=1e-5).report.ops) == (length == 300)
