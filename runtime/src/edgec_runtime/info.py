"""What is in a model file, told without any interpreter."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from edgec_runtime.flatbuffer_check import ModelFacts, SubgraphFacts, read_model_file
from edgec_runtime.manifest import ManifestCheck, check_manifest, sha256_of
from edgec_runtime.tensors import TensorInfo, input_infos, output_infos


@dataclass(frozen=True)
class FileInfo:
    """Everything `info` shows."""

    path: str
    size_bytes: int
    sha256: str
    description: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    signatures: tuple[str, ...]
    ops: dict[str, int]
    tensors: int
    constant_bytes: int
    activation_bytes: int
    metadata: tuple[str, ...]
    manifest: ManifestCheck

    def to_dict(self) -> dict[str, object]:
        """Return the JSON document."""
        return {"schema_version": 1, "kind": "edgec-runtime-info", **asdict(self)}

    def to_text(self) -> str:
        """Return the page for people."""
        lines = [
            f"{'file':<12} {self.path}  {self.size_bytes} bytes",
            f"{'sha256':<12} {self.sha256}",
            f"{'description':<12} {self.description or '(none)'}",
            *(f"{'input':<12} {_tensor(info)}" for info in self.inputs),
            *(f"{'feed':<12} {feed}" for feed in self.manifest.pixels),
            *(f"{'output':<12} {_tensor(info)}" for info in self.outputs),
            f"{'signatures':<12} {', '.join(self.signatures) or '(none)'}",
            f"{'operators':<12} {sum(self.ops.values())}: {_histogram(self.ops)}",
            f"{'constants':<12} {_kib(self.constant_bytes)}",
            f"{'arena':<12} at least {_kib(self.activation_bytes)}",
            f"{'metadata':<12} {', '.join(self.metadata) or '(none)'}",
            f"{'manifest':<12} {self._manifest()}",
        ]
        return "\n".join(lines)

    def _manifest(self) -> str:
        if self.manifest.status == "absent":
            return "(none beside the file)"
        if self.manifest.status == "match":
            return f"{self.manifest.path} matches"
        return f"{self.manifest.path} DOES NOT MATCH: {self.manifest.problem}"


def file_info(path: Path) -> FileInfo:
    """Read a file's facts and compare it with the manifest beside it.

    Raises:
        ModelFileError: the file cannot be read or is damaged.
    """
    facts = read_model_file(path)
    digest = sha256_of(path)
    return FileInfo(
        path=str(path),
        size_bytes=facts.size_bytes,
        sha256=digest,
        description=facts.description,
        inputs=input_infos(facts),
        outputs=output_infos(facts),
        signatures=tuple(signature.key for signature in facts.signatures),
        ops=op_histogram(facts),
        tensors=sum(len(graph.tensors) for graph in facts.subgraphs),
        constant_bytes=sum(facts.buffer_sizes),
        activation_bytes=peak_activation_bytes(facts, facts.subgraphs[0]),
        metadata=facts.metadata,
        manifest=check_manifest(path, digest),
    )


def op_histogram(facts: ModelFacts) -> dict[str, int]:
    """Count the operators of all subgraphs by kind, most frequent first."""
    counts = Counter(operator.kind for graph in facts.subgraphs for operator in graph.operators)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def peak_activation_bytes(facts: ModelFacts, graph: SubgraphFacts) -> int:
    """Return the most bytes of activations that are alive at once: no tensor arena can be smaller.

    A tensor lives from the operator that makes it to the last one that reads it; inputs from the start,
    outputs and variables to the end. Kernels' own scratch memory comes on top.
    """
    steps = len(graph.operators)
    first: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    last: dict[int, int] = dict.fromkeys(graph.outputs, steps)
    for step, operator in enumerate(graph.operators):
        for tensor in operator.outputs:
            first.setdefault(tensor, step)
            last.setdefault(tensor, step)
        for tensor in operator.inputs:
            last[tensor] = max(last.get(tensor, step), step)
    change = [0] * (steps + 2)
    for number, tensor in enumerate(graph.tensors):
        if facts.is_constant(tensor) or (number not in first and not tensor.is_variable):
            continue
        born = 0 if tensor.is_variable else first[number]
        died = steps if tensor.is_variable else last.get(number, born)
        change[born] += tensor.size_bytes
        change[died + 1] -= tensor.size_bytes
    alive = peak = 0
    for difference in change:
        alive += difference
        peak = max(peak, alive)
    return peak


def _tensor(info: TensorInfo) -> str:
    shape = ", ".join("any" if size == -1 else str(size) for size in info.shape_signature)
    text = f"{info.name}  {info.dtype} [{shape}]"
    if not info.quantized:
        return text
    return f"{text}  real = {info.scale:.9g} x (raw - {info.zero_point})"


def _histogram(ops: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in ops.items())


def _kib(size: int) -> str:
    return f"{size / 1024:.1f} KiB"
