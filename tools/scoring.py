"""One way to score every model: real outputs of a TFLite file, pooled SQNR, answers that stay the same.

Whoever made a file, its inputs are quantized and its outputs dequantized here by the parameters in the file,
and compared with the same float outputs.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgec.ir import Array
from edgec.kernels import KernelSet
from edgec.kernels.native_log import captured_stderr
from edgec.verify.measures import OutputStatistics

Permutation = tuple[int, ...] | None
Outputs = list[Array]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Axes:
    """From the source's axes to a file's, for inputs and outputs in order; None where they are the same."""

    inputs: tuple[Permutation, ...] = ()
    outputs: tuple[Permutation, ...] = ()


class RealModel:
    """A TFLite file as a function of real numbers in the source's axes."""

    def __init__(self, content: bytes, axes: Axes, kernels: KernelSet = KernelSet.XNNPACK) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = {
            KernelSet.XNNPACK: OpResolverType.AUTO,
            KernelSet.BUILTIN: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            KernelSet.REFERENCE: OpResolverType.BUILTIN_REF,
        }[kernels]
        with captured_stderr():
            self._interpreter = Interpreter(
                model_content=content, experimental_op_resolver_type=resolver, num_threads=1
            )
            self._interpreter.allocate_tensors()
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self._axes = axes
        kinds = [operator["op_name"] for operator in self._interpreter._get_ops_details()]
        self.float_islands = max(
            0, kinds.count("DEQUANTIZE") - sum(not d["quantization"][0] for d in self._outputs)
        )
        """Places inside where integers become real numbers again."""

    def run(self, sample: Sequence[Array]) -> Outputs:
        """Return every output for one sample; states of the model start from zero."""
        self._interpreter.reset_all_variables()
        permutations = self._axes.inputs or (None,) * len(self._inputs)
        for array, detail, permutation in zip(sample, self._inputs, permutations, strict=True):
            moved = array if permutation is None else array.transpose(permutation)
            scale, zero_point = detail["quantization"]
            tensor = quantized(moved.reshape(detail["shape"]), scale, zero_point, detail["dtype"])
            self._interpreter.set_tensor(detail["index"], np.ascontiguousarray(tensor))
        self._interpreter.invoke()
        permutations = self._axes.outputs or (None,) * len(self._outputs)
        results: Outputs = []
        for detail, permutation in zip(self._outputs, permutations, strict=True):
            real = dequantized(self._interpreter.get_tensor(detail["index"]), *detail["quantization"])
            results.append(real if permutation is None else real.transpose(np.argsort(permutation)))
        return results


def quantized(array: Array, scale: float, zero_point: int, dtype: type[np.generic]) -> Array:
    """Return real numbers as the integers of a tensor; a scale of 0 says that the tensor is not quantized."""
    if not scale:
        return array.astype(dtype)
    limits = np.iinfo(str(np.dtype(dtype)))
    steps = np.rint(array.astype(np.float32) / np.float32(scale)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantized(array: Array, scale: float, zero_point: int) -> Array:
    """Return a tensor's integers as real numbers."""
    if not scale:
        return array
    return (array.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


@dataclass(frozen=True, slots=True)
class Score:
    """SQNR of every output in dB over all samples together, and what became of the answers.

    `sqnr_db` of an output that is zero everywhere in float is None. `agreement` is the share of answers equal
    to float's, `top1` of those equal to the labels; None where there are no answers, or no labels.
    """

    sqnr_db: tuple[float | None, ...]
    agreement: float | None = None
    top1: float | None = None

    @property
    def median_db(self) -> float:
        """The median over the outputs; NaN where none can be scored."""
        known = [figure for figure in self.sqnr_db if figure is not None]
        return float(np.median(known)) if known else math.nan


def score(
    expected: Sequence[Outputs],
    results: Iterable[Outputs],
    classes: int | None = None,
    labels: npt.NDArray[np.int64] | None = None,
) -> Score:
    """Compare outputs with float outputs, sample by sample; shapes may differ by axes of one.

    `classes` is the index of the output whose largest entry (along its last axis) is the answer.
    """
    pooled = [OutputStatistics(str(index)) for index in range(len(expected[0]))]
    answers: list[Array] = []
    for reference, result in zip(expected, results, strict=True):
        for statistics, wanted, got in zip(pooled, reference, result, strict=True):
            statistics.update(wanted, got.reshape(wanted.shape))
        if classes is not None:
            answers.append(result[classes].reshape(reference[classes].shape).argmax(-1))
    figures = tuple(None if item.signal == 0 else item.sqnr_db for item in pooled)
    if classes is None:
        return Score(figures)
    given = np.stack(answers)
    float_answers = np.stack([reference[classes].argmax(-1) for reference in expected])
    top1 = None if labels is None else float(np.mean(given.reshape(len(labels), -1)[:, 0] == labels))
    return Score(figures, float(np.mean(given == float_answers)), top1)


def samples_of(arrays: Sequence[Array]) -> list[tuple[Array, ...]]:
    """Return the samples of arrays [samples, ...], each with a leading axis of one."""
    return [tuple(array[index : index + 1] for array in arrays) for index in range(len(arrays[0]))]


def in_child(work: Callable[[], T]) -> T | str:
    """Return what `work` returns in a forked process; a text where it fails or a signal ends it."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        try:
            sender.send(work())
        except (ValueError, RuntimeError) as error:
            sender.send(" ".join(str(error).split())[:300])

    process = context.Process(target=child)
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        found = None
    process.join()
    return f"signal {-(process.exitcode or 0)}" if found is None else found
