"""What really runs the model: XNNPACK, and for how many operators, or the interpreter's own kernels.

After preparation the interpreter lists its operators and, behind them, one DELEGATE entry per partition that
XNNPACK took over. A partition's members are found by walking back from its outputs to its inputs:

    inputs ──▶ ●──▶●──▶ outputs        each ● is an operator that the partition replaces
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from edgec_runtime.backends import Interpreter

_Details = list[dict[str, object]]


@dataclass(frozen=True)
class DelegateState:
    """`requested` is the user's choice, `used` what runs; `delegated` of `operators` run in XNNPACK.

    `partitions` and `delegated` are None where the interpreter does not tell. `fallback` says why XNNPACK was
    given up, empty if it was not.
    """

    requested: str
    used: str
    partitions: int | None
    delegated: int | None
    operators: int | None
    fallback: str = ""

    def __str__(self) -> str:
        if self.partitions is None:
            text = f"{self.used} asked for, what runs is unknown"
        elif self.used == "xnnpack":
            text = f"xnnpack ({self.delegated} of {self.operators} operators, {self.partitions} partition(s))"
        else:
            text = f"{self.used} kernels, no delegate"
        return f"{text}; XNNPACK gave up: {self.fallback}" if self.fallback else text


def delegate_state(interpreter: Interpreter, requested: str, kernels: str, fallback: str) -> DelegateState:
    """Read from a prepared interpreter what its operators were given to."""
    entries = _listing(interpreter)
    if not entries:
        return DelegateState(requested, kernels, None, None, None, fallback)
    own = [entry for entry in entries if entry["op_name"] != "DELEGATE"]
    partitions = [entry for entry in entries if entry["op_name"] == "DELEGATE"]
    used = "xnnpack" if partitions else ("builtin" if kernels == "xnnpack" else kernels)
    delegated: set[int] = set()
    for partition in partitions:
        delegated |= _members(own, _ints(partition["inputs"]), _ints(partition["outputs"]))
    return DelegateState(requested, used, len(partitions), len(delegated), len(own), fallback)


def _listing(interpreter: Interpreter) -> _Details:
    """Return the interpreter's own list of operators, empty if it does not give one.

    The method is private, the only one that tells, and fails on models that run (a tensor name that is not
    UTF-8): whatever it raises must not stop them.
    """
    try:
        return cast("Callable[[], _Details]", interpreter._get_ops_details)()  # pyright: ignore
    except Exception:
        return []


def _members(operators: _Details, inputs: set[int], outputs: set[int]) -> set[int]:
    producer = {tensor: number for number, one in enumerate(operators) for tensor in _ints(one["outputs"])}
    members: set[int] = set()
    waiting = list(outputs)
    while waiting:
        number = producer.get(waiting.pop())
        if number is None or number in members:
            continue
        members.add(number)
        waiting += _ints(operators[number]["inputs"]) - inputs
    return members


def _ints(values: object) -> set[int]:
    return {int(value) for value in cast("Iterable[int]", values)}
