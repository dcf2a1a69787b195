"""The flow of one compile, on one screen:

source ─front end─▶ IR ─passes─▶ float IR ─prune─▶ calibrate ─▶ quantize ─▶ legalize ─▶ emit ─▶ verify
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgec.diagnostics import Diagnostic, Diagnostics
from edgec.options import CompileOptions
from edgec.progress import Progress, Stopwatch

if TYPE_CHECKING:
    import onnx

    from edgec.emit import Flatbuffer
    from edgec.frontends.keras.load import LiveModel
    from edgec.frontends.torch.load import LiveProgram
    from edgec.recipes.recipe import Recipe
    from edgec.reports.manifest import Manifest
    from edgec.reports.model import Report


@dataclass(frozen=True)
class Compiled:
    """A compiled model: the TFLite file, its report, its manifest, and the messages of the compile.

    `recipe` is how it was quantized, where calibration data had a say in it.
    """

    flatbuffer: Flatbuffer
    report: Report
    manifest: Manifest
    diagnostics: tuple[Diagnostic, ...] = ()
    recipe: Recipe | None = None

    @cached_property
    def tflite(self) -> bytes:
        """The file's bytes."""
        return self.flatbuffer.to_bytes()

    def save(self, path: str | Path) -> Path:
        """Write the model and, beside it, its manifest; each whole or not at all. Returns the path."""
        return self.saved(Path(path)).path

    def saved(self, path: Path, command: str = "") -> Saved:
        """Write like `save`; the returned report and manifest name the file (and the command)."""
        from edgec.atomic_write import write_bytes
        from edgec.reports.manifest import write_manifest

        artifact = replace(self.report.artifact, file=path.name)
        report = replace(self.report, artifact=artifact, command=command)
        manifest = replace(self.manifest, artifact=replace(self.manifest.artifact, file=path.name))
        write_bytes(path, self.flatbuffer.chunks())
        write_manifest(manifest, path)
        return Saved(path, report, manifest)


@dataclass(frozen=True)
class Saved:
    """A compiled model on disk."""

    path: Path
    report: Report
    manifest: Manifest


def compile(
    model: str | Path | bytes | onnx.ModelProto | LiveModel | LiveProgram,
    *,
    options: CompileOptions | None = None,
    progress: Progress | None = None,
    **choices: object,
) -> Compiled:
    """Compile a model for a target.

    Args:
        model: an ONNX, TFLite, Keras or PyTorch file or SavedModel folder; ONNX, TFLite or PyTorch bytes; a
            live `onnx.ModelProto`, `keras.Model`, `torch.nn.Module` or `torch.export.ExportedProgram`
            (the extras `edgec[keras]` and `edgec[torch]`). A module needs `example_inputs=(array, ...)`.
        options: every choice in one object; or give its fields as keywords: `target="rpi4",
            precision="int8", calibration="images/"`.
        progress: watches the stages.

    Raises:
        CompileError: the model, its data or the choices do not work; carries every diagnostic found.
    """
    from edgec import stages

    options = options if options is not None else CompileOptions(**choices)  # pyright: ignore[reportArgumentType]
    job = stages.Job(options, Diagnostics(), Stopwatch(progress))
    board, profile = stages.choose_target(job)
    source = stages.load(job, model)
    ir = stages.import_and_optimize(job, source, profile)
    ir, pruning = stages.prune(job, ir, board)
    inputs = stages.source_inputs(ir)
    samples = stages.open_samples(job, ir, inputs)
    job, samples = stages.take_pixels(job, ir, inputs, samples, profile)
    quantized = stages.quantize(job, source, ir, inputs, samples, profile)
    ir = stages.legalize(job, quantized.model, profile, board)
    flatbuffer = stages.emit(job, ir)
    checked = stages.verify(job, source, quantized, ir, flatbuffer, inputs, samples)
    accuracy = stages.judge(job, quantized)
    explanation = stages.explain(job, quantized)
    report = stages.report(job, source, board, ir, flatbuffer, checked, quantized, pruning)
    report = replace(report, accuracy=accuracy, explanation=explanation)
    manifest = stages.manifest(job, report, quantized)
    return Compiled(flatbuffer, report, manifest, tuple(job.diagnostics), quantized.recipe)


def default_output(model: Path, target: str, precision: str) -> Path:
    """Return where the artifact goes without -o: `MODEL.TARGET.PRECISION.tflite` beside the model."""
    return model.with_name(f"{model.stem}.{Path(target).stem}.{precision}.tflite")
