"""Random small models in int8: accuracy against the float source, and agreement of the three kernel sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import edgec
from edgec.diagnostics import CompileError
from edgec.ir import Array, Model
from edgec.kernels import KernelSet, Runner
from edgec.reports.model import TensorInfo
from tests.fuzz import elementwise, movement, windows
from tests.fuzz.differential import Example, Tally, answers, as_emitted, as_source, compile_with_ports
from tests.fuzz.drawing import Draw, choose, coin, number, partner, pick, shape_of
from tests.fuzz.growing import Growing

SAMPLES = 8
MOST_NODES = 6

LEAST_SQNR_DB, LEAST_AGREEMENT_DB = 15.0, 25.0
"""Against the float source, and between kernel sets, which round a requantization once or twice. Six nodes of
8 bits keep more on random numbers; a wrong scale, zero point or channel order leaves less than 10 dB."""
FORGIVEN_STEPS = 4
"""An output may also be off by this many steps of the graph's coarsest tensor: what is small beside the
tensors it was made of (a sum that cancels, a softmax's small part) has no better numbers than they have."""


def activation(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    names = ["Relu", "Sigmoid", "Tanh", "LeakyRelu", *(["HardSwish"] if g.opset >= 14 else [])]
    if x is not None:
        g.add(str(choose(draw, *names)), [x])


def sum_or_product(draw: Draw, g: Growing) -> None:
    x = pick(draw, g)
    if x is not None:
        other = partner(draw, g, x)
        operands = [x, other] if coin(draw) else [other, x]
        g.add(str(choose(draw, "Add", "Mul")), operands)


GENERATORS = (
    *(
        activation,
        activation,
        sum_or_product,
        sum_or_product,
        movement.concat,
        elementwise.clip,
        elementwise.prelu,
    ),
    *(
        windows.conv,
        windows.conv,
        windows.conv,
        windows.gemm,
        windows.gemm,
        windows.matmul,
        windows.pool,
        windows.pool,
        windows.global_pool,
    ),
    *(
        movement.transpose,
        movement.reshape,
        movement.flatten,
        windows.softmax,
        movement.pad,
        movement.split,
        windows.batch_norm,
        windows.conv_transpose,
    ),
)


@st.composite
def quantizable(draw: st.DrawFn) -> Example:
    """Draw a model of operators that int8 kernels know."""
    g = Growing(draw(st.sampled_from([11, 13, 17, 21])))
    g.input(g.numbers(shape_of(draw, draw(st.sampled_from([4, 2, 3])))))
    wanted = number(draw, 1, MOST_NODES)
    for _ in range(2 * wanted):
        if len(g.nodes) < wanted:
            draw(st.sampled_from(GENERATORS))(draw, g)
    assume(g.nodes)
    return Example(g.model(g.dangling()), {value.name: value.array for value in g.inputs}, g.largest)


def check_int8(example: Example, tally: Tally | None = None) -> None:
    """Assert SQNR against onnxruntime's float results for every output, and agreement of the kernel sets."""
    samples = [example.feeds, *_alike(example.feeds, SAMPLES - 1)]
    session, _ = answers(example)
    expected = [session.run(None, dict(sample)) for sample in samples]
    calibration = {name: np.stack([sample[name] for sample in samples]) for name in example.feeds}
    try:
        choices = {"precision": "int8", "calibration": calibration, "verify": False}
        made, final = compile_with_ports(example.model, **choices)
    except CompileError as refusal:
        if tally is not None:
            tally.refuse(refusal)
        return
    runs = {kernels: _run(made, final, samples, kernels) for kernels in KernelSet}
    slack = FORGIVEN_STEPS * _coarsest_step(final)
    for index in range(len(final.outputs)):
        wanted = [outputs[index] for outputs in expected]
        reference = [outputs[index] for outputs in runs[KernelSet.REFERENCE]]
        for kernels, results in runs.items():
            got = [outputs[index] for outputs in results]
            _compare(got, wanted, LEAST_SQNR_DB, slack, f"output {index} ({kernels})")
            _compare(got, reference, LEAST_AGREEMENT_DB, slack, f"output {index} ({kernels} and reference)")
    if tally is not None:
        tally.passed(example)


def _alike(feeds: Mapping[str, Array], count: int) -> list[dict[str, Array]]:
    generator = np.random.default_rng(len(feeds))
    return [
        {
            name: np.asarray(generator.permuted(array.reshape(-1)).reshape(array.shape))
            for name, array in feeds.items()
        }
        for _ in range(count)
    ]


def _run(
    made: edgec.Compiled, final: Model, samples: Sequence[Mapping[str, Array]], kernels: KernelSet
) -> list[list[Array]]:
    """Return each sample's outputs as real numbers in the source's layout."""
    runner = Runner(made.tflite, kernels=kernels)
    inputs = list(zip(final.inputs, made.report.inputs, strict=True))
    outputs = list(zip(final.outputs, made.report.outputs, strict=True))
    results: list[list[Array]] = []
    for sample in samples:
        got = runner.run([_stored(as_emitted(sample[port.name], port), info) for port, info in inputs])
        results.append(
            [as_source(_real(array, info), port) for array, (port, info) in zip(got, outputs, strict=True)]
        )
    return results


def _stored(array: Array, info: TensorInfo) -> Array:
    if info.scale is not None and info.zero_point is not None:
        array = np.clip(np.rint(array / info.scale) + info.zero_point, -128, 127)
    return array.astype(info.dtype)


def _real(array: Array, info: TensorInfo) -> Array:
    if info.scale is None or info.zero_point is None:
        return array
    return (array.astype(np.float64) - info.zero_point) * info.scale


def _coarsest_step(final: Model) -> float:
    results = [value for node in final.graph for value in node.results]
    types = [value.type for value in (*final.graph.inputs, *results)]
    return max((max(t.quantization.scale) for t in types if t.quantization is not None), default=0.0)


def _compare(got: Sequence[Array], wanted: Sequence[Array], least_db: float, slack: float, what: str) -> None:
    signal = sum(float((array.astype(np.float64) ** 2).sum()) for array in wanted)
    noise = sum(float(((a - w) ** 2).sum()) for a, w in zip(got, wanted, strict=True))
    allowed = signal / 10 ** (least_db / 10) + sum(array.size for array in wanted) * slack**2
    assert noise <= allowed, f"{what}: noise {noise:.3g} exceeds {allowed:.3g}, signal {signal:.3g}"
