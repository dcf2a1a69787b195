"""The kernel library's final forms, and the file."""

from __future__ import annotations

from edgec.emit import Flatbuffer
from edgec.emit import emit as emit_flatbuffer
from edgec.ir import Model
from edgec.legalize.profile import Profile, check_profile
from edgec.pipeline import final_pipeline, run_passes
from edgec.stages.job import Job
from edgec.targets import Target


def legalize(job: Job, ir: Model, profile: Profile, board: Target) -> Model:
    """Bring the graph to the kernel library's final forms and check every node; all violations at once."""
    from edgec.passes.pixel_interface import TakePixels
    from edgec.quantize.legality import unused_weights

    options = job.options
    with job.clock.stage("legalize"):
        passes = [TakePixels(job.pixels.inputs), *final_pipeline(profile)]
        ir = run_passes(ir, passes, verify_each=options.verify_each, on_pass=options.on_pass)
        job.diagnostics.extend(unused_weights(ir, options.weights))
        job.diagnostics.extend(check_profile(ir, profile, board.name))
        job.diagnostics.raise_if_errors()
    return ir


def emit(job: Job, ir: Model) -> Flatbuffer:
    """Serialize the IR."""
    with job.clock.stage("emit"):
        return emit_flatbuffer(ir)
