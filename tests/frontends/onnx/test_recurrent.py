"""LSTM, GRU and RNN against onnxruntime.

Tolerance 2e-6 relative, 2e-6 absolute: a handful of float32 roundings a step, over at most six steps of gates
that saturate. onnxruntime has no layout 1; there the oracle is layout 0 on transposed data.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

import edgec
from edgec.diagnostics import CompileError
from edgec.emit import emit
from edgec.frontends.onnx.lowerings import recurrent, recurrent_loop
from edgec.ir import Array
from edgec.kernels import KernelSet, Runner
from tests.support.onnx_models import import_model, node_model, run_onnxruntime, run_ours

RTOL = ATOL = 2e-6
STEPS, BATCH, DEPTH, HIDDEN = 6, 3, 4, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": 3, "GRU": 2, "RNN": 2}
OPERANDS = ("x", "w", "r", "b", "lengths", "h0", "c0", "p")
DIRECTIONS = ("forward", "reverse", "bidirectional")
OPERATORS = ("LSTM", "GRU", "RNN")


def operands(op_type: str, direction: str = "forward", names: str = "x w r b") -> dict[str, Array]:
    """Return seeded operands of the right shapes; `names` chooses the optional ones."""
    count, rows = 2 if direction == "bidirectional" else 1, GATES[op_type] * HIDDEN
    shapes = {
        "x": (STEPS, BATCH, DEPTH),
        "w": (count, rows, DEPTH),
        "r": (count, rows, HIDDEN),
        "b": (count, 2 * rows),
        "h0": (count, BATCH, HIDDEN),
        "c0": (count, BATCH, HIDDEN),
        "p": (count, 3 * HIDDEN),
    }
    generator = np.random.default_rng(7)
    drawn = {name: generator.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    drawn["lengths"] = np.array([4, 6, 1], np.int32)
    return {name: drawn[name] for name in OPERANDS if name in names.split()}


def model(
    op_type: str, values: Mapping[str, Array], runtime: str = "x", **attributes: object
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return a one-node model and its inputs; operands not named in `runtime` are initializers."""
    inputs = {name: value for name, value in values.items() if name in runtime.split()}
    constants = {name: value for name, value in values.items() if name not in inputs}
    order = [name if name in values else "" for name in OPERANDS]
    while not order[-1]:
        order.pop()
    proto = node_model(
        op_type,
        inputs,
        constants=constants,
        order=order,
        outputs=OUTPUTS[op_type],
        hidden_size=HIDDEN,
        **{"opset": 14, **attributes},
    )
    return proto, inputs


def check(op_type: str, values: Mapping[str, Array], runtime: str = "x", **attributes: object) -> None:
    """Assert that Y and all last states equal onnxruntime's."""
    proto, inputs = model(op_type, values, runtime, **attributes)
    for ours, oracle in zip(run_ours(proto, inputs), run_onnxruntime(proto, inputs), strict=True):
        assert ours.shape == oracle.shape
        np.testing.assert_allclose(ours, oracle, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op_type", OPERATORS)
@pytest.mark.parametrize("names", ["x w r", "x w r b", "x w r b h0", "x w r b h0 c0", "x w r c0"])
@pytest.mark.parametrize("opset", [7, 14, 22])
def test_directions_and_states(op_type: str, direction: str, names: str, opset: int) -> None:
    """Bias and initial states may each be absent, in every direction."""
    if op_type != "LSTM":
        names = names.replace(" c0", "")
    check(op_type, operands(op_type, direction, names), "x h0 c0", direction=direction, opset=opset)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_weights_computed_at_run_time(op_type: str) -> None:
    """Every operand may be an input of the model."""
    values = operands(op_type, "bidirectional", "x w r b h0" + (" c0 p" if op_type == "LSTM" else ""))
    check(op_type, values, " ".join(values), direction="bidirectional")


@pytest.mark.parametrize("runtime", ["x", "x b", "x w b", "x r h0", "h0"])
@pytest.mark.parametrize("linear_before_reset", [0, 1])
@pytest.mark.parametrize("op_type", ["LSTM", "GRU"])
def test_constants_and_inputs_mix(op_type: str, linear_before_reset: int, runtime: str) -> None:
    """Each operand is a constant or an input on its own."""
    settings = {"linear_before_reset": linear_before_reset} if op_type == "GRU" else {}
    check(op_type, operands(op_type, names="x w r b h0"), runtime, **settings)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("names", ["x w r", "x w r b", "x w r b h0", "x w r h0"])
def test_linear_before_reset(direction: str, names: str) -> None:
    """The reset gate scales the product and its bias, not the state."""
    check("GRU", operands("GRU", direction, names), direction=direction, linear_before_reset=1)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("names", ["x w r b p", "x w r b h0 c0 p"])
@pytest.mark.parametrize("input_forget", [0, 1])
def test_peepholes_and_input_forget(direction: str, names: str, input_forget: int) -> None:
    """Gates see the cell state (the output gate the new one), and the forget gate may be 1 - i."""
    check("LSTM", operands("LSTM", direction, names), direction=direction, input_forget=input_forget)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_clip(op_type: str) -> None:
    """Sums of gates are clipped; a limit of 0.4 bites on most of these."""
    values = operands(op_type, names="x w r b h0")
    check(op_type, values, clip=0.4)
    proto, inputs = model(op_type, values, clip=0.4)
    unclipped, _ = model(op_type, values)
    assert np.abs(run_ours(proto, inputs)[0] - run_ours(unclipped, inputs)[0]).max() > 0.01


ACTIVATIONS = [
    ("Relu", None, None),
    ("Tanh", None, None),
    ("Sigmoid", None, None),
    ("Affine", 0.7, 0.3),
    ("Affine", 0.7, None),
    ("LeakyRelu", None, None),
    ("LeakyRelu", 0.3, None),
    ("ThresholdedRelu", None, None),
    ("ThresholdedRelu", 0.2, None),
    ("ScaledTanh", 0.7, 0.3),
    ("HardSigmoid", None, None),
    ("HardSigmoid", 0.3, 0.4),
    ("Elu", None, None),
    ("Elu", 0.6, None),
    ("Softsign", None, None),
    ("Softplus", None, None),
]


@pytest.mark.parametrize(("name", "alpha", "beta"), ACTIVATIONS)
@pytest.mark.parametrize("op_type", OPERATORS)
def test_activations(op_type: str, name: str, alpha: float | None, beta: float | None) -> None:
    """Every function of the ONNX list, with its settings and with its defaults, in every place."""
    settings: dict[str, object] = {"activations": [name] * {"LSTM": 3, "GRU": 2, "RNN": 1}[op_type]}
    if alpha is not None:
        settings["activation_alpha"] = [alpha] * len(settings["activations"])  # type: ignore[arg-type]
    if beta is not None:
        settings["activation_beta"] = [beta] * len(settings["activations"])  # type: ignore[arg-type]
    values = operands(op_type, names="x w r b h0")
    values["x"] = values["x"][:3]  # states grow without bound under some of these functions
    check(op_type, values, **settings)


def test_settings_go_to_the_functions_that_take_them() -> None:
    """Tanh takes no alpha and Elu no beta: the lists go on to the next function, over both directions."""
    values = operands("LSTM", "bidirectional", "x w r b")
    check(
        "LSTM",
        values,
        direction="bidirectional",
        activations=["HardSigmoid", "Tanh", "Elu", "Sigmoid", "LeakyRelu", "ScaledTanh"],
        activation_alpha=[0.3, 0.5, 0.1, 0.9],
        activation_beta=[0.4, 0.8],
    )


@pytest.mark.parametrize("lengths", [[4, 6, 1], [6, 6, 6], [3, 3, 3], [2, 0, 5], [0, 0, 0]])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op_type", OPERATORS)
@pytest.mark.parametrize("states", ["", " h0"])
@pytest.mark.parametrize("runtime", ["x h0", "x lengths"])
def test_sequence_lengths(
    op_type: str, direction: str, lengths: list[int], states: str, runtime: str
) -> None:
    """Y is zero beyond a sequence's end, the last state that of its last valid step; reverse starts there."""
    values = operands(op_type, direction, "x w r b lengths" + states)
    values["lengths"] = np.array(lengths, np.int32)
    check(op_type, values, runtime, direction=direction)


@pytest.mark.parametrize("runtime", ["x", "x lengths"])
def test_padding_may_hold_anything(runtime: str) -> None:
    """Infinities and NaN behind a sequence's end do not reach its results."""
    values = operands("RNN", names="x w r b lengths")
    padding = np.arange(STEPS).reshape(-1, 1) >= values["lengths"]
    values["x"][padding] = np.nan
    check("RNN", values, runtime, activations=["Relu"])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op_type", OPERATORS)
def test_batch_first(op_type: str, direction: str) -> None:
    """Layout 1 has the batch first in X, Y and all states."""
    values = operands(op_type, direction, "x w r b lengths h0")
    expected = run_onnxruntime(*model(op_type, values, "x h0", direction=direction))
    turned = {
        name: value.swapaxes(0, 1).copy() if name in ("x", "h0") else value for name, value in values.items()
    }
    ours = run_ours(*model(op_type, turned, "x h0", direction=direction, layout=1))
    np.testing.assert_allclose(ours[0], expected[0].transpose(2, 0, 1, 3), rtol=RTOL, atol=ATOL)
    for state, wanted in zip(ours[1:], expected[1:], strict=True):
        np.testing.assert_allclose(state, wanted.swapaxes(0, 1), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("wanted", [[0], [1], [2], [0, 2], [1, 2]])
def test_results_are_optional(wanted: list[int]) -> None:
    """Any of Y, Y_h and Y_c may be absent."""
    proto, inputs = model("LSTM", operands("LSTM", "bidirectional"), direction="bidirectional")
    for index in sorted({0, 1, 2} - set(wanted), reverse=True):
        proto.graph.node[0].output[index] = ""
        del proto.graph.output[index]
    for ours, oracle in zip(run_ours(proto, inputs), run_onnxruntime(proto, inputs), strict=True):
        np.testing.assert_allclose(ours, oracle, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_inputs_are_multiplied_once(op_type: str) -> None:
    """One product over all steps outside the recurrence, one inside for each step after the first."""
    proto, _ = (
        model(op_type, operands(op_type), linear_before_reset=1)
        if op_type == "GRU"
        else model(op_type, operands(op_type))
    )
    kinds = [node.kind for node in import_model(proto).graph]
    assert kinds.count("fully_connected") == 1 + (STEPS - 1)


def test_a_call_leaves_nothing_behind() -> None:
    """The same input gives the same bytes again: no state survives a call."""
    proto, inputs = model("LSTM", operands("LSTM"))
    runner = Runner(emit(import_model(proto)).to_bytes())
    first = [output.copy() for output in runner.run([inputs["x"]])]
    second = runner.run([inputs["x"]])
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written out: every node becomes rounds of 3 to 4 steps."""
    monkeypatch.setattr(recurrent, "MAX_STEPS", 0)
    monkeypatch.setattr(recurrent_loop, "MOST_STEPS_A_ROUND", 4)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("steps", [6, 7, 11])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op_type", OPERATORS)
@pytest.mark.parametrize("names", ["x w r", "x w r b h0 c0 p lengths"])
@pytest.mark.parametrize("runtime", ["x h0", "x w r b h0 c0 p lengths"])
def test_rounds(op_type: str, direction: str, steps: int, names: str, runtime: str) -> None:
    """A loop gives what steps written out give, with and without steps left over (6, 7 and 11 in rounds)."""
    if op_type != "LSTM":
        names = names.replace(" c0 p", "")
    values = operands(op_type, direction, names)
    values["x"] = np.resize(values["x"], (steps, BATCH, DEPTH))
    if "lengths" in values:
        values["lengths"] = np.array([steps - 2, steps, 1], np.int32)
    proto, _ = model(op_type, values, runtime, direction=direction)
    assert "while" in [node.kind for node in import_model(proto).graph]
    check(op_type, values, runtime, direction=direction)


@pytest.mark.usefixtures("loops")
def test_rounds_leave_nothing_behind() -> None:
    """A second call starts anew, and passes keep a loop right under both kernel sets."""
    proto, inputs = model("GRU", operands("GRU", "bidirectional"), direction="bidirectional")
    compiled = edgec.compile(proto, target="generic", io_layout="source")
    oracle = run_onnxruntime(proto, inputs)
    for kernels in (KernelSet.BUILTIN, KernelSet.XNNPACK):
        runner = Runner(compiled.tflite, kernels=kernels)
        for _ in range(2):
            for ours, wanted in zip(runner.run([inputs["x"]]), oracle, strict=True):
                np.testing.assert_allclose(ours, wanted, rtol=RTOL, atol=ATOL)


def test_long_sequences_loop() -> None:
    """Beyond the limit the graph does not grow with the number of steps, and is right."""
    values = operands("GRU")
    counts: list[int] = []
    for steps in (recurrent.MAX_STEPS + 16, 2 * recurrent.MAX_STEPS + 16):
        values["x"] = np.random.default_rng(0).uniform(-1, 1, (steps, BATCH, DEPTH)).astype(np.float32)
        proto, _ = model("GRU", values)
        imported = import_model(proto)
        counts.append(sum(len(graph) for graph in imported.graphs))
    assert counts[0] == counts[1]
    check("GRU", values)


REFUSALS = [
    ({"activations": ["Tanh"]}, {}, "names 1 activations"),
    ({"activations": ["Sigmoid", "Tanh", "Swish"]}, {}, "has the activation 'swish'"),
    ({"direction": "sideways"}, {}, "has direction 'sideways'"),
    ({}, {"lengths": np.array([1, 2, 7], np.int32)}, "has a sequence of length 7"),
    ({}, {"lengths": np.array([1, 2], np.int32)}, "has sequence_lens of shape [2], not [3]"),
    ({}, {"w": np.zeros((1, 4 * HIDDEN, DEPTH + 1), np.float32)}, "has W of shape [1, 20, 5], not"),
    ({}, {"r": np.zeros((), np.float32)}, "has W of shape"),
    ({}, {"b": np.zeros((1, 4 * HIDDEN), np.float32)}, "has B of shape [1, 20], not [1, 40]"),
    ({}, {"h0": np.zeros((BATCH, HIDDEN), np.float32)}, "has initial_h of shape [3, 5], not [1, 3, 5]"),
    ({}, {"p": np.zeros((1, HIDDEN), np.float32)}, "has P of shape [1, 5], not [1, 15]"),
    ({}, {"x": np.zeros((STEPS, DEPTH), np.float32)}, "reads a sequence of shape [6, 4]"),
]


@pytest.mark.parametrize(("attributes", "changed", "message"), REFUSALS)
def test_refusals(attributes: dict[str, object], changed: dict[str, Array], message: str) -> None:
    """What cannot be unrolled or makes no sense is refused with the fact that is wrong."""
    proto, _ = model("LSTM", {**operands("LSTM"), **changed}, **attributes)
    with pytest.raises(CompileError) as caught:
        import_model(proto)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0202"
    assert message in diagnostic.what
    assert diagnostic.next_step
