"""Faults of operators: versions higher than needed, old codes, forms that one runtime alone can run."""

from __future__ import annotations

from collections.abc import Iterator

from edgec.doctor.finding import Fault, Finding, Table
from edgec.frontends.tflite.builtins import replaceable, write_as_builtins
from edgec.frontends.tflite.load import TfliteFile
from edgec.frontends.tflite.operators import builtin_name
from edgec.frontends.tflite.options import OptionError, read_attributes
from edgec.frontends.tflite.registry import kinds
from edgec.frontends.tflite.structure import numbers, text
from edgec.frontends.tflite.tensors import TensorError, read_tensor
from edgec.ir import Node, Value


def _lowest_versions(file: TfliteFile) -> dict[int, int]:
    """Return the version that each operator code needs; left out where one of its operators is unknown."""
    needed: dict[int, int] = {}
    unknown: set[int] = set()
    for graph in file.table.subgraphs:
        for operator in graph.operators or []:
            version = _lowest_version(file, graph, operator)
            if version is None:
                unknown.add(operator.opcodeIndex)
            else:
                needed[operator.opcodeIndex] = max(version, needed.get(operator.opcodeIndex, 1))
    return {index: version for index, version in needed.items() if index not in unknown}


def _lowest_version(file: TfliteFile, graph: Table, operator: Table) -> int | None:
    spec = kinds().get(builtin_name(file.table.operatorCodes[operator.opcodeIndex]))
    if spec is None:
        return None
    try:
        operands = [_value(file, graph, index) for index in numbers(operator.inputs)]
        results = [_value(file, graph, index) for index in numbers(operator.outputs)]
        while operands and operands[-1] is None:
            operands.pop()
        made = [value for value in results if value is not None]
        attributes = read_attributes(operator, spec, made[0].dtype)
        return spec.emit.version(Node(spec.name, operands, made, attributes))
    except (OptionError, TensorError, ValueError, IndexError, KeyError):
        return None


def _value(file: TfliteFile, graph: Table, index: int) -> Value | None:
    if index < 0:
        return None
    tensor = read_tensor(file, graph.tensors[index], index)
    return Value(tensor.name, tensor.type, tensor.data)


def _find_versions(file: TfliteFile) -> Iterator[Finding]:
    for index, needed in sorted(_lowest_versions(file).items()):
        code = file.table.operatorCodes[index]
        if code.version > needed:
            yield Finding(
                "operator_version",
                builtin_name(code),
                f"it is marked version {code.version}, and {needed} says all that it does",
                "Runtimes refuse a version above the one they know, however simple the operator is.",
                f"It becomes version {needed}.",
            )


def _mend_versions(file: TfliteFile) -> None:
    for index, needed in _lowest_versions(file).items():
        code = file.table.operatorCodes[index]
        code.version = min(code.version, needed)


def _find_codes(file: TfliteFile) -> Iterator[Finding]:
    for code in file.table.operatorCodes or []:
        low, high = int(code.deprecatedBuiltinCode), int(code.builtinCode)
        if high > 127 and low != 127:
            yield Finding(
                "operator_code",
                builtin_name(code),
                f"its old code is {low} instead of 127",
                "Readers of before 2020 take it for another operator.",
                "Both codes are written.",
            )


def _mend_codes(file: TfliteFile) -> None:
    for code in file.table.operatorCodes or []:
        number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)


def _find_custom(file: TfliteFile) -> Iterator[Finding]:
    for _, operator, _ in replaceable(file.table):
        code = file.table.operatorCodes[operator.opcodeIndex]
        yield Finding(
            "custom_operator",
            text(code.customCode),
            "it is a builtin under another name",
            "Only XNNPACK has a kernel by this name; other kernels, microcontrollers and NPUs refuse it.",
            "It becomes TRANSPOSE_CONV.",
        )


def _mend_custom(file: TfliteFile) -> None:
    write_as_builtins(file.table)


FAULTS = (
    Fault("custom_operator", _find_custom, _mend_custom),
    Fault("operator_version", _find_versions, _mend_versions),
    Fault("operator_code", _find_codes, _mend_codes),
)
