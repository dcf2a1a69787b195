"""The compile report: what was made, how it was checked, what was lost and why (schema version 1).

The JSON form has the fields below, in this order. The section of a stage that did not run is null:
`verification` with --no-verify, `quantization` of a float32 model, `pruning` without --prune, `explanation`
where nobody asked for one, `accuracy` without --eval or --max-drop, `partitions` of a target without
delegate. Infinity and NaN are the strings "inf", "-inf" and "nan" (see contract.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgec.diagnostics import CompileError, Diagnostic
from edgec.reports.contract import Json, from_jsonable, read_json, to_json_text, to_jsonable
from edgec.reports.explanation import Explanation

SCHEMA_VERSION = 1
REPORT_KIND = "edgec-compile-report"

FAR_DB = 20.0
"""Below this SQNR the error is more than a tenth of the signal: such a model seldom does its work."""


@dataclass(frozen=True, slots=True)
class Tool:
    """The program that wrote the document."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Source:
    """The model that was compiled. `file` is its name without folders; `opset` is null outside ONNX."""

    file: str
    format: str
    sha256: str
    size_bytes: int
    opset: int | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """The model that was made. `file` is its name without folders, null when it was not saved."""

    file: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class PixelFeed:
    """What to feed an image input that takes raw pixels (--raw-pixels): 0..255, less `subtract`, no more.

    `color` is the order of the channels (rgb or gray), `resize` how images of another size became the model's
    in calibration, null where nobody said.
    """

    color: str
    width: int
    height: int
    resize: str | None
    subtract: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A model input or output as its user sees it; a dimension of -1 is dynamic.

    Real value = scale × (integer − zero_point); both are null for float tensors. `layout` is `nhwc`,
    `nchw` or null where axes have no such meaning. `pixels` is null for all but inputs of raw pixels.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    layout: str | None = None
    pixels: PixelFeed | None = None


@dataclass(frozen=True, slots=True)
class TransposeSite:
    """A transpose that stayed in the model, and the node that needs it."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Breaker:
    """A node that the delegate does not take, so that it ends a partition."""

    node: str
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Partitions:
    """How the delegate takes the graph: `delegated` of `total` nodes, in `count` partitions."""

    delegate: str
    count: int
    delegated: int
    total: int
    breakers: tuple[Breaker, ...] = ()


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What verification demands per output; null where it demands nothing.

    An element passes when |error| ≤ absolute + relative × (largest |source value| of the output). An output
    whose SQNR reaches `sufficient_sqnr_db` passes whatever its largest error is.
    """

    relative: float | None = None
    absolute: float | None = None
    min_sqnr_db: float | None = None
    sufficient_sqnr_db: float | None = None


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One output against the source model, in real values (after dequantization).

    `sqnr_db` is 10·log10(signal power / error power): infinite when every element is equal. `cosine` is null
    when an operand is all zeros.
    """

    name: str
    max_abs_error: float
    max_rel_error: float
    sqnr_db: float
    cosine: float | None
    passed: bool = True


@dataclass(frozen=True, slots=True)
class Verification:
    """The compiled model against the source; `inputs` says in words what both were run on."""

    tolerance: Tolerance
    passed: bool
    inputs: str
    samples: int
    outputs: tuple[OutputCheck, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The data that ranges were taken from; `sha256` covers the arrays as they were fed."""

    source: str
    samples: int
    observer: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TensorRange:
    """The real range that calibration found for one tensor, and the numbers it became.

    `sqnr_db` is that of quantizing this tensor alone, null when it was not measured.
    """

    name: str
    dtype: str
    minimum: float
    maximum: float
    scale: float
    zero_point: int
    sqnr_db: float | None = None


@dataclass(frozen=True, slots=True)
class FloatOp:
    """A node that stayed in float, and why."""

    node: str
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class RepairGain:
    """A repair that was applied: how many nodes it made better, and by how many dB the median one of them."""

    name: str
    nodes: int
    median_db: float


@dataclass(frozen=True, slots=True)
class TriedRecipe:
    """A recipe that a search found no other to beat in drop, size and cost at once.

    `drop` is in the metric's unit, `cost` an estimate that only compares recipes of one search.
    """

    recipe: str
    drop: float
    sqnr_db: float
    size_bytes: int
    cost: float


@dataclass(frozen=True, slots=True)
class MeasuredRecipe:
    """A recipe that was tried on held-out samples: dB less noise at the outputs than the first one."""

    recipe: str
    gain_db: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class Quantization:
    """How real numbers became integers. `calibration` is null where none is needed (dynamic, float16).

    `trials` are those of a search (--max-drop), the cheapest first; `candidates` what a compile without one
    chose from, null where nothing was left open.
    """

    scheme: str
    calibration: Calibration | None
    tensors: tuple[TensorRange, ...] = ()
    float_ops: tuple[FloatOp, ...] = ()
    repairs: tuple[RepairGain, ...] = ()
    trials: tuple[TriedRecipe, ...] = ()
    candidates: tuple[MeasuredRecipe, ...] | None = None


@dataclass(frozen=True, slots=True)
class PrunedLayer:
    """The weights of one node: `removed` of `total` are zero now; `sparsity` = removed / total."""

    name: str
    kind: str
    shape: tuple[int, ...]
    removed: int
    total: int
    sparsity: float


@dataclass(frozen=True, slots=True)
class Pruning:
    """What pruning removed (as fractions of the prunable weights), and in words what the target gains."""

    structure: str
    requested: float
    achieved: float
    layers: tuple[PrunedLayer, ...]
    target_note: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a metric says of the compiled model and of the float model, on data that `data` names in words.

    `drop` is by how much the compiled model is worse, in `unit`; negative where it is better.
    """

    metric: str
    data: str
    unit: str
    value: float
    source_value: float
    drop: float


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit that the user set: `actual` against `limit`, both in `unit` (e.g. arena ≤ 131072 bytes)."""

    name: str
    limit: float
    actual: float
    unit: str
    passed: bool


@dataclass(frozen=True, slots=True)
class ReportedDiagnostic:
    """One message of the compile, see `edgec.diagnostics`."""

    code: str
    severity: str
    where: str
    what: str
    why: str
    next_step: str

    @classmethod
    def of(cls, diagnostic: Diagnostic) -> ReportedDiagnostic:
        """Take over a message."""
        return cls(**diagnostic.to_dict())


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one compile has to say. `command` reproduces it; `timings` are seconds per stage.

    `transposes` counts those in the compiled model; `transpose_sites` explains them. `size_bytes` is the size
    of the artifact, `macs` multiply-accumulates per inference, `arena_bytes` the tensor arena (or null).
    """

    tool: Tool
    source: Source
    artifact: Artifact
    target: str
    precision: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: Mapping[str, int]
    transposes: int
    size_bytes: int
    parameters: int
    macs: int | None = None
    arena_bytes: int | None = None
    transpose_sites: tuple[TransposeSite, ...] = ()
    partitions: Partitions | None = None
    verification: Verification | None = None
    quantization: Quantization | None = None
    pruning: Pruning | None = None
    explanation: Explanation | None = None
    gates: tuple[Gate, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    diagnostics: tuple[ReportedDiagnostic, ...] = ()
    command: str = ""
    accuracy: Accuracy | None = None

    @property
    def passed(self) -> bool:
        """Whether verification (where it ran) and every gate passed."""
        verified = self.verification is None or self.verification.passed
        return verified and all(gate.passed for gate in self.gates)

    @property
    def is_poor(self) -> bool:
        """Whether an output is far from the source and nothing that was asked for says that this will do."""
        worst, checked = self.worst_output, self.verification
        if worst is None or checked is None or self.gates or checked.tolerance != Tolerance():
            return False
        return not worst.sqnr_db >= FAR_DB

    @property
    def worst_output(self) -> OutputCheck | None:
        """The output with the lowest SQNR; one whose SQNR is not a number comes before all others."""
        outputs = self.verification.outputs if self.verification else ()
        return min(outputs, key=_sqnr_or_worse, default=None)

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form: `schema_version` and `kind`, then the fields in their order."""
        fields_in_order = to_jsonable(self)
        assert isinstance(fields_in_order, dict)
        return {"schema_version": SCHEMA_VERSION, "kind": REPORT_KIND, **fields_in_order}

    def to_json(self) -> str:
        """Return the JSON form as text: the same report gives the same bytes."""
        return to_json_text(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Json], file: str = "report") -> Report:
        """Return the report in `data`; messages name `file`.

        Raises:
            CompileError: E0505 for a field that is missing or of another type, or an unknown schema version.
        """
        check_schema_version(data, file, SCHEMA_VERSION)
        return from_jsonable(cls, data, file)

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a `.json` report (errors E0504 and E0505)."""
        return cls.from_dict(read_json(path), str(path))


def _sqnr_or_worse(output: OutputCheck) -> float:
    return -math.inf if math.isnan(output.sqnr_db) else output.sqnr_db


def check_schema_version(data: Mapping[str, Json], file: str, known: int) -> None:
    """Raise E0505 unless the document has the version that this tool reads."""
    found = data.get("schema_version")
    if type(found) is int and found == known:
        return
    what = "this field is missing" if found is None else f"version {found!r} is not known"
    next_step = "Read it with the edgec that wrote it, or compile again."
    why = f"This edgec reads version {known}"
    raise CompileError(Diagnostic("E0505", f"{file}: schema_version", what, why, next_step))
