"""The stages of a compile: each takes the job and what earlier stages made. Their order is in compile.py."""

from __future__ import annotations

from edgec.stages.finishing import emit, legalize
from edgec.stages.floats import choose_target, import_and_optimize, load, prune, source_inputs
from edgec.stages.job import Checked, Job, Quantized
from edgec.stages.judging import judge
from edgec.stages.quantizing import quantize
from edgec.stages.reporting import explain, manifest, report
from edgec.stages.samples import audit_samples, open_samples, take_pixels
from edgec.stages.verifying import verify

__all__ = [
    "Checked",
    "Job",
    "Quantized",
    "audit_samples",
    "choose_target",
    "emit",
    "explain",
    "import_and_optimize",
    "judge",
    "legalize",
    "load",
    "manifest",
    "open_samples",
    "prune",
    "quantize",
    "report",
    "source_inputs",
    "take_pixels",
    "verify",
]
