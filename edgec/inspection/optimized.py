"""The float IR that a kernel library's passes make, of a model that stays as it is."""

from __future__ import annotations

from edgec.diagnostics import Diagnostics
from edgec.frontends.source import SourceModel
from edgec.inspection.copying import copied
from edgec.ir import Model
from edgec.legalize.profile import Profile, find_profile
from edgec.passes.eliminate_dead import EliminateDead
from edgec.pipeline import float_pipeline, run_passes
from edgec.targets import load_target

_PLAIN = "generic"


def optimized(
    source: SourceModel, ir: Model, diagnostics: Diagnostics, profile: Profile | None = None
) -> Model:
    """Return a copy after the float passes of a profile, by default that of the generic board.

    Integer IR of a TFLite source is only tidied up, as `edgec compile` does it.
    """
    profile = profile or find_profile(load_target(_PLAIN).profile)
    copy = copied(ir)
    if source.format == "tflite" and brings_its_own_scales(copy):
        return run_passes(copy, [EliminateDead()])
    return run_passes(copy, float_pipeline(profile, channels_last_io=True, report=diagnostics.add))


def brings_its_own_scales(ir: Model) -> bool:
    """Whether activations are quantized in the source already."""
    return any(value.type.quantization is not None for node in ir.graph for value in node.results)
