"""The `checks` of a case about the compiled file: one function per key, each asserting one promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np

import edgec
from tests.cases.reported import ReportedCase

BOUND_BY_OTHER_TESTS = {
    *("targets", "softmax_sum", "io_dtypes_to_try", "compare_outputs", "note", "rows", "min_sqnr_db_boxes"),
    *(
        "min_sqnr_db_scores",
        "simulated_db_boxes_scores",
        "min_sqnr_db_single_scale",
        "min_sqnr_db",
        "sparsity",
    ),
    *("gzip_ratio_max", "gzip_int8_weights_dense", "gzip_int8_weights_pruned", "refuse_without_calibration"),
    *("no_mixed_types", "arena_lower_bound_int8", "budgets_bytes"),
}
"""Keys that speak of more than one file; a test of their own judges them."""


@dataclass(frozen=True)
class Quantization:
    """Scales and zero points of a tensor; empty where it has none."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]


@dataclass(frozen=True)
class FileNode:
    """A node of the file: builtin name and tensor numbers."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class TfliteFile:
    """What LiteRT sees in a file, without any delegate."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        self.nodes = [
            FileNode(d["op_name"], tuple(map(int, d["inputs"])), tuple(map(int, d["outputs"])))
            for d in self._interpreter._get_ops_details()
        ]
        details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        self.dtypes = {i: np.dtype(d["dtype"]).name for i, d in details.items()}
        self.quantization = {i: _quantization(d["quantization_parameters"]) for i, d in details.items()}

    def data(self, tensor: int) -> np.ndarray:
        """Return a constant's data."""
        return self._interpreter.get_tensor(tensor)

    def count(self, pattern: str) -> int:
        return sum(fnmatch(node.kind, pattern) for node in self.nodes)


def _quantization(parameters: dict[str, np.ndarray]) -> Quantization:
    return Quantization(
        tuple(map(float, parameters["scales"])), tuple(int(zero) for zero in parameters["zero_points"])
    )


def check_file(made: edgec.Compiled, reported: ReportedCase) -> None:
    """Assert every check of the case; a key nobody knows is a failure, not a pass."""
    file = TfliteFile(made.tflite)
    for key, wanted in reported.checks.items():
        if key in BOUND_BY_OTHER_TESTS:
            continue
        assert key in _CHECKS, f"no test knows the check '{key}'"
        _CHECKS[key](file, made, wanted)


def _forbid_ops(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    for pattern in wanted:  # type: ignore[attr-defined]
        assert file.count(pattern) == 0, f"{pattern} in {[node.kind for node in file.nodes]}"


def _require_ops(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    for pattern in wanted:  # type: ignore[attr-defined]
        assert file.count(pattern) > 0, f"no {pattern} in {[node.kind for node in file.nodes]}"


def _max_op_count(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    for pattern, most in wanted.items():  # type: ignore[attr-defined]
        assert file.count(pattern) <= most, f"{file.count(pattern)} {pattern}, at most {most}"


def _runtime_inputs(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    assert len(made.report.inputs) == wanted


def _integer_ports_stay_integer(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    """int32 may stand for int64; a quantized int8 port is a real number and not meant."""
    whole = [
        i for i in [*made.report.inputs, *made.report.outputs] if i.dtype != "float32" and i.scale is None
    ]
    assert whole
    assert {info.dtype for info in whole} <= {"int32", "int64"}


def _io_dtype(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    assert {info.dtype for info in [*made.report.inputs, *made.report.outputs]} == {wanted}


def _input_quant(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    info = made.report.inputs[0]
    np.testing.assert_allclose([info.scale, info.zero_point], wanted, rtol=1e-6)  # type: ignore[arg-type]


def _output_quant(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    info = made.report.outputs[0]
    np.testing.assert_allclose([info.scale, info.zero_point], wanted, rtol=1e-6)  # type: ignore[arg-type]


def _fixed_quant(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    for kind, (scale, zero_point) in wanted.items():  # type: ignore[attr-defined]
        nodes = [node for node in file.nodes if node.kind == kind]
        assert nodes, f"no {kind}"
        for node in nodes:
            assert file.quantization[node.outputs[0]] == Quantization((scale,), (zero_point,))


def _same_quant_ops(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    for node in file.nodes:
        if node.kind in wanted:  # type: ignore[operator]
            data = [t for t in [*node.inputs, *node.outputs] if file.dtypes.get(t) == "int8"]
            assert len({file.quantization[t] for t in data}) == 1, f"{node.kind} changes scale"


def _min_scale(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    scales = [scale for q in file.quantization.values() for scale in q.scales]
    assert scales
    assert all(np.isfinite(scale) and scale >= wanted for scale in scales)  # type: ignore[operator]


def _no_saturated_bias(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    limits = np.iinfo(np.int32)
    biases = [node.inputs[2] for node in file.nodes if node.kind in _WEIGHTED and len(node.inputs) > 2]
    assert biases
    for bias in biases:
        assert not np.isin(file.data(bias), (limits.min, limits.max)).any()


def _requant_range(file: TfliteFile, made: edgec.Compiled, wanted: object) -> None:
    """input scale × weight scale / output scale, the factor a kernel multiplies its sums with."""
    low, high = wanted  # type: ignore[misc]
    for node in file.nodes:
        if node.kind in _WEIGHTED:
            x, weights, y = (file.quantization[t].scales for t in (*node.inputs[:2], node.outputs[0]))
            factors = np.multiply(x[0], weights) / y[0]
            assert ((factors >= low) & (factors < high)).all(), factors


_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_CHECKS: dict[str, Callable[[TfliteFile, edgec.Compiled, object], None]] = {
    "forbid_ops": _forbid_ops,
    "require_ops": _require_ops,
    "max_op_count": _max_op_count,
    "runtime_inputs": _runtime_inputs,
    "int64_inputs_may_be_int32": _integer_ports_stay_integer,
    "int64_outputs_may_be_int32": _integer_ports_stay_integer,
    "io_dtype": _io_dtype,
    "input_quant": _input_quant,
    "output_quant": _output_quant,
    "fixed_quant": _fixed_quant,
    "same_quant_ops": _same_quant_ops,
    "min_scale": _min_scale,
    "no_saturated_bias": _no_saturated_bias,
    "requant_range": _requant_range,
}
