"""Which runtime is the oracle of a source: its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgec.frontends.keras import KerasFile, open_program
from edgec.frontends.onnx import Source
from edgec.frontends.tflite import TfliteFile
from edgec.frontends.torch import TorchFile
from edgec.frontends.torch import open_program as open_torch_program
from edgec.ir import Array, Port
from edgec.kernels import KernelSet
from edgec.verify.source import OnnxRuntimeSource, SourceRunner


def source_runner(
    source: object,
    inputs: Sequence[Port],
    *,
    signature: str | None = None,
    threads: int = 2,
    kernels: KernelSet | None = None,
    fixed_inputs: Mapping[str, Array] | None = None,
) -> SourceRunner:
    """Return the oracle of a loaded model: onnxruntime, LiteRT, TensorFlow or torch.

    `inputs` are the imported model's ports in the source's order. A TFLite file runs in the `kernels` asked
    for, or in LiteRT's builtin ones.
    """
    match source:
        case TfliteFile():
            from edgec.verify.tflite_source import TfliteSource

            shapes = {port.name: port.shape for port in inputs}
            return TfliteSource(
                source.runnable(),
                list(shapes),
                shapes=shapes,
                threads=threads,
                kernels=kernels or KernelSet.BUILTIN,
            )
        case KerasFile():
            from edgec.verify.keras_source import KerasSource

            return KerasSource(open_program(source, signature))
        case TorchFile():
            from edgec.verify.torch_source import TorchSource

            return TorchSource(open_torch_program(source))
        case Source():
            return OnnxRuntimeSource(source.runnable(), threads, fixed_inputs)
        case _:
            raise TypeError(f"{type(source).__name__} is no loaded model")
