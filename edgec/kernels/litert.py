"""Runs models in LiteRT: the kernels are the semantics of our IR, so we never re-implement them.

Constant folding, calibration and verification all come through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from edgec.ir import Array
from edgec.kernels.native_log import captured_stderr

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


class KernelSet(StrEnum):
    """Which implementation of the operators runs."""

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"


class KernelError(RuntimeError):
    """LiteRT refused a model; the message is LiteRT's own."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """What a delegate took: number of delegated partitions and the ops left outside, by builtin name."""

    delegated: int
    outside: tuple[str, ...]


class Runner:
    """An allocated interpreter that maps input arrays to output arrays, both in signature order."""

    def __init__(
        self,
        model: bytes | str,
        *,
        kernels: KernelSet = KernelSet.XNNPACK,
        threads: int = 1,
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = {
            KernelSet.XNNPACK: OpResolverType.AUTO,
            KernelSet.BUILTIN: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            KernelSet.REFERENCE: OpResolverType.BUILTIN_REF,
        }[kernels]
        with captured_stderr() as log:
            try:
                self._interpreter: Interpreter = Interpreter(
                    model_path=model if isinstance(model, str) else None,
                    model_content=None if isinstance(model, str) else model,
                    experimental_op_resolver_type=resolver,
                    num_threads=threads,
                )
                details = self._interpreter.get_input_details()
                # A file says 1 for a dynamic dimension, which may be too small for a kernel: wait for inputs.
                self._allocated = all(-1 not in detail["shape_signature"] for detail in details)
                if self._allocated:
                    self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise KernelError(f"{error} {log()}".strip()) from error
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once; arrays must have the tensors' own dtypes and ranks. KernelError if a kernel fails.

        Where a dimension is dynamic, the arrays say what it is this time. What the model remembers from run
        to run is zero at the start of each: runs do not depend on their order.
        """
        return [np.array(view) for view in self.output_views(inputs)]

    def output_views(self, inputs: Sequence[Array]) -> list[Array]:
        """Like `run`, but return views that the next run overwrites: no copies."""
        try:
            self._resize(inputs)
            for detail, array in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(detail["index"], np.asarray(array, order="C"))
            self._interpreter.reset_all_variables()
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise KernelError(str(error)) from error
        return [self._view(position) for position in range(len(self._outputs))]

    def _resize(self, inputs: Sequence[Array]) -> None:
        """Give dynamic inputs the shapes of their arrays; strict: what the model fixes stays fixed."""
        changed = not self._allocated
        for detail, array in zip(self._inputs, inputs, strict=True):
            if -1 in detail["shape_signature"] and tuple(detail["shape"]) != array.shape:
                self._interpreter.resize_tensor_input(detail["index"], array.shape, strict=True)
                changed = True
        if changed:
            with captured_stderr():
                self._interpreter.allocate_tensors()
            self._allocated = True
            self._inputs = self._interpreter.get_input_details()

    def _view(self, position: int) -> Array:
        index = self._outputs[position]["index"]
        try:
            return self._interpreter.tensor(index)()
        except ValueError:  # an empty tensor has no memory to look at
            detail = self._interpreter.get_output_details()[position]
            if 0 not in detail["shape"]:
                raise
            return np.empty(tuple(detail["shape"]), detail["dtype"])

    def partitions(self) -> Partitions:
        """Say how the delegate split the graph (see `_delegated`)."""
        nodes = [
            _PlanNode(d["op_name"], frozenset(map(int, d["inputs"])), tuple(map(int, d["outputs"])))
            for d in self._interpreter._get_ops_details()
        ]
        delegates = [node for node in nodes if node.kind == "DELEGATE"]
        kernels = [node for node in nodes if node.kind != "DELEGATE"]
        taken = _delegated(kernels, delegates)
        outside = tuple(node.kind for index, node in enumerate(kernels) if index not in taken)
        return Partitions(len(delegates), outside)


@dataclass(frozen=True, slots=True)
class _PlanNode:
    kind: str
    inputs: frozenset[int]
    outputs: tuple[int, ...]


def _delegated(kernels: Sequence[_PlanNode], delegates: Sequence[_PlanNode]) -> set[int]:
    """Return the indices of nodes that delegates took over.

    LiteRT lists the original nodes and then one DELEGATE node a partition, so a partition is what lies
    between that node's outputs and its inputs.
    """
    producer = {output: index for index, node in enumerate(kernels) for output in node.outputs}
    taken: set[int] = set()
    for delegate in delegates:
        pending = list(delegate.outputs)
        while pending:
            index = producer.get(pending.pop())
            if index is not None and index not in taken:
                taken.add(index)
                pending += [t for t in kernels[index].inputs if t not in delegate.inputs]
    return taken
