"""The model's inputs and outputs as its user sees them: names, shapes, types and quantization.

Names come from the signature `serving_default` where the file has one, else from the tensors; the order is
always that of the file, because interpreters and signatures may each sort them differently.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgec_runtime.flatbuffer_check import ModelFacts, SignatureFacts, TensorFacts

_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output; real = scale × (raw − zero_point), `scale` 0.0 when it is not quantized.

    `shape_signature` has -1 where the model accepts any size; `index` is the tensor's number in the
    interpreter.
    """

    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    index: int

    @property
    def quantized(self) -> bool:
        """Tell whether raw values are integers that stand for real ones."""
        return self.scale != 0.0


def input_infos(facts: ModelFacts) -> tuple[TensorInfo, ...]:
    """Return the inputs of the first subgraph in file order."""
    signature = _signature(facts)
    return _infos(facts, facts.subgraphs[0].inputs, signature.inputs if signature else (), "in")


def output_infos(facts: ModelFacts) -> tuple[TensorInfo, ...]:
    """Return the outputs of the first subgraph in file order."""
    signature = _signature(facts)
    return _infos(facts, facts.subgraphs[0].outputs, signature.outputs if signature else (), "out")


def _signature(facts: ModelFacts) -> SignatureFacts | None:
    """Return the signature that names the first subgraph, the usual one if there are several."""
    own = [signature for signature in facts.signatures if signature.subgraph == 0]
    usual = [signature for signature in own if signature.key == _SIGNATURE]
    return (usual or own or [None])[0]


def _infos(
    facts: ModelFacts, indices: tuple[int, ...], names: tuple[tuple[str, int], ...], prefix: str
) -> tuple[TensorInfo, ...]:
    waiting = list(names)  # one tensor may be returned under two names, each used once
    taken: set[str] = set()
    found: list[TensorInfo] = []
    for position, index in enumerate(indices):
        if index < 0:
            continue
        tensor = facts.subgraphs[0].tensors[index]
        match = next((pair for pair in waiting if pair[1] == index), None)
        if match:
            waiting.remove(match)
        name = match[0] if match else tensor.name
        if not name or name in taken:
            name = f"{prefix}{position}"
        taken.add(name)
        found.append(_info(tensor, name, index))
    return tuple(found)


def _info(tensor: TensorFacts, name: str, index: int) -> TensorInfo:
    per_tensor = len(tensor.scale) == 1 and not tensor.dtype.startswith("float")
    return TensorInfo(
        name=name,
        shape=tensor.shape,
        shape_signature=tensor.shape_signature,
        dtype=tensor.dtype,
        scale=tensor.scale[0] if per_tensor else 0.0,
        zero_point=tensor.zero_point[0] if per_tensor and tensor.zero_point else 0,
        index=index,
    )
