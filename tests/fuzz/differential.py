"""Random small models through the whole compiler, against onnxruntime without graph optimizations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
from hypothesis import assume, reject
from hypothesis import strategies as st

import edgec
from edgec.diagnostics import CompileError
from edgec.ir import Array, Model, Port
from edgec.kernels import KernelSet, Runner
from tests.fuzz.drawing import number, shape_of
from tests.fuzz.growing import Growing, oracle
from tests.fuzz.operators import GENERATORS

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
MOST_NODES = 8

ROUNDING = 2e-5
"""Allowed error as a share of the largest magnitude anywhere in the graph: some 170 ulp of float32. Sums of a
few hundred terms taken in another order differ by tens of ulp of their largest term, and results that cancel
are small beside what they were made of; a wrong number is off by a share of the values, 1e-2 and more."""
SENSITIVITY = 16
"""Steep functions magnify rounding: what one ulp of change in the inputs does, this many times over."""


@dataclass(frozen=True)
class Example:
    """A model with the numbers to feed, and the largest magnitude that any of its values takes."""

    model: onnx.ModelProto
    feeds: dict[str, Array]
    largest: float


@dataclass
class Tally:
    """What became of the examples: how many ran clean, and refusals by code and message."""

    clean: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.clean + self.refused.total()

    def passed(self, example: Example) -> None:
        self.clean += 1
        self.operators.update(node.op_type for node in example.model.graph.node)

    def refuse(self, error: CompileError) -> None:
        """Count a refusal by its code, operator and words."""
        first = error.diagnostics[0]
        operator = first.where.split("(")[-1].split(",")[0].rstrip(")")
        self.refused[f"{first.code} {operator}: {first.what}"] += 1

    def add(self, other: Tally) -> None:
        self.clean += other.clean
        self.refused += other.refused
        self.operators += other.operators


@st.composite
def examples(draw: st.DrawFn, most_nodes: int = MOST_NODES) -> Example:
    """Draw a model of two to `most_nodes` nodes; what nothing reads is an output, and perhaps others are."""
    g = Growing(draw(st.sampled_from(OPSETS)))
    g.input(g.numbers(shape_of(draw, draw(st.sampled_from([4, 2, 3, 1, 5])))))
    usable = [f for since, weight, f in GENERATORS if g.opset >= since for _ in range(weight)]
    wanted = number(draw, 2, most_nodes)
    for _ in range(2 * wanted):
        if len(g.nodes) < wanted:
            draw(st.sampled_from(usable))(draw, g)
    assume(g.nodes)
    outputs = g.dangling()
    computed = [value for value in g.values if value not in outputs and value not in g.inputs]
    if computed and draw(st.booleans()):
        outputs.insert(0, draw(st.sampled_from(computed)))
    return Example(g.model(outputs), {value.name: value.array for value in g.inputs}, g.largest)


def check(example: Example, tally: Tally | None = None) -> None:
    """Assert that the file gives the oracle's numbers, in both I/O layouts, with and without XNNPACK."""
    session, expected = answers(example)
    tolerances = _tolerances(session.run, example, expected)
    for io_layout in ("source", "channels-last"):
        try:
            made, final = compile_with_ports(example.model, io_layout=io_layout, verify=False)
        except CompileError as refusal:
            if tally is not None:
                tally.refuse(refusal)
            return
        for kernels in (KernelSet.XNNPACK, KernelSet.BUILTIN):
            got = run_ports(made.tflite, final, example.feeds, kernels)
            _compare(got, expected, tolerances, f"{io_layout}, {kernels}")
    if tally is not None:
        tally.passed(example)


def answers(example: Example) -> tuple[onnxruntime.InferenceSession, list[Array]]:
    """Return the oracle and its results; an example that it refuses as a whole is no example."""
    try:
        session = oracle(example.model)
        return session, session.run(None, example.feeds)
    except Exception:  # onnxruntime's errors have no common public class
        reject()


def compile_with_ports(model: onnx.ModelProto, **choices: object) -> tuple[edgec.Compiled, Model]:
    """Compile with the IR checked after each pass; also return the model whose ports say how axes moved."""
    seen: list[Model] = []
    made = edgec.compile(model, verify_each=True, on_pass=lambda _, ir: seen.append(ir), **choices)
    return made, seen[-1]


def run_ports(tflite: bytes, model: Model, feeds: dict[str, Array], kernels: KernelSet) -> list[Array]:
    """Feed and read in the source's layout, whatever the file's is."""
    runner = Runner(tflite, kernels=kernels)
    laid_out = [as_emitted(feeds[port.name], port) for port in model.inputs]
    return [as_source(a, port) for a, port in zip(runner.run(laid_out), model.outputs, strict=True)]


def as_emitted(array: Array, port: Port) -> Array:
    return array if port.permutation is None else np.transpose(array, port.permutation)


def as_source(array: Array, port: Port) -> Array:
    return array if port.permutation is None else np.transpose(array, np.argsort(port.permutation))


def _tolerances(run: object, example: Example, expected: Sequence[Array]) -> list[Array]:
    """Return the allowed error per element: rounding, and what an ulp more or less in the inputs does."""
    generator = np.random.default_rng(0)
    tolerances = [np.full(array.shape, ROUNDING * example.largest) for array in expected]
    for _ in range(2):
        nudged = {name: _nudged(array, generator) for name, array in example.feeds.items()}
        for tolerance, array, other in zip(tolerances, expected, run(None, nudged), strict=True):  # type: ignore[operator]
            if array.dtype == np.float32 and array.shape == other.shape:
                tolerance += SENSITIVITY / 2 * np.abs(array.astype(np.float64) - other)
    return tolerances


def _nudged(array: Array, generator: np.random.Generator) -> Array:
    if array.dtype != np.float32:
        return array
    ulp = generator.choice([-1, 1], array.shape) * np.float32(2**-23)
    return np.asarray(array * (1 + ulp), np.float32)


def _compare(
    got: Sequence[Array], expected: Sequence[Array], tolerances: Sequence[Array], where: str
) -> None:
    for index, (ours, oracle_s, tolerance) in enumerate(zip(got, expected, tolerances, strict=True)):
        what = f"output {index} ({where})"
        assert ours.shape == oracle_s.shape, f"{what}: shape {ours.shape}, expected {oracle_s.shape}"
        assert ours.dtype == oracle_s.dtype, f"{what}: {ours.dtype}, expected {oracle_s.dtype}"
        if ours.dtype != np.float32:
            np.testing.assert_array_equal(ours, oracle_s, err_msg=what)
            continue
        error = np.abs(ours.astype(np.float64) - oracle_s)
        worst = float(np.max(error - tolerance)) if np.isfinite(error).all() else np.inf
        assert worst <= 0, (
            f"{what}: error {np.max(error):.3g} exceeds {np.max(tolerance):.3g}\n{ours}\n{oracle_s}"
        )
