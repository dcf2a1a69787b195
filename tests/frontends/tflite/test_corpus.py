"""Files made by others: float ones keep their numbers, quantized ones keep their bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.calibrate.data import InputSpec, random_samples
from edgec.diagnostics import CompileError, Diagnostics
from edgec.emit import emit
from edgec.frontends.tflite import import_tflite, is_quantized, load_tflite
from edgec.kernels import KernelSet, Runner
from edgec.legalize.profile import find_profile
from edgec.passes.eliminate_dead import EliminateDead
from edgec.pipeline import final_pipeline, float_pipeline, run_passes
from edgec.verify.run import NO_TOLERANCE, verify
from edgec.verify.tflite_source import TfliteSource
from tests.conftest import CORPUS

pytestmark = pytest.mark.corpus

REFUSED = {
    "edgetpu": "edgetpu-custom-op",
    "_vela": "ethos-u",
    "keyword_scrambled": "keeps an int8 state",
}
NOT_IN_LITERT = ("person_detect",)
"""LiteRT refuses the file itself (see the doctor), so that there is nothing to compare with."""

FILES = sorted((CORPUS / "refs").glob("*.tflite")) if CORPUS.is_dir() else []
TAKEN = [p for p in FILES if not any(word in p.name for word in (*REFUSED, *NOT_IN_LITERT))]


@pytest.mark.parametrize("path", TAKEN, ids=lambda path: path.stem)
def test_a_file_keeps_its_numbers(path: Path) -> None:
    """Float: 90 dB or better against LiteRT's builtin kernels. Quantized: equal bits, reference kernels.

    Memory included: states and variables are what they are in the source, run after run.
    """
    ir = import_tflite(load_tflite(path), {}, Diagnostics())
    names = [port.name for port in ir.inputs]
    quantized = is_quantized(ir)
    kernels = KernelSet.REFERENCE if quantized else KernelSet.BUILTIN
    profile = find_profile("litert_xnnpack")
    passes = [*float_pipeline(profile, channels_last_io=True), *final_pipeline(profile)]
    ir = run_passes(ir, [EliminateDead()] if quantized else passes, verify_each=True)
    samples = random_samples([InputSpec(p.name, p.shape, p.dtype.numpy) for p in ir.inputs], 3)
    source = TfliteSource(path, names, kernels=kernels)
    result = verify(ir, Runner(emit(ir).to_bytes(), kernels=kernels), source, samples, NO_TOLERANCE, "")
    for output in result.outputs:
        assert output.max_abs_error == 0 if quantized else output.sqnr_db >= 90


@pytest.mark.parametrize(
    "path", [p for p in FILES if any(w in p.name for w in REFUSED)], ids=lambda p: p.stem
)
def test_a_file_that_cannot_be_taken_is_refused_with_its_reason(path: Path) -> None:
    """The message names the operator or what it would need."""
    reason = next(text for word, text in REFUSED.items() if word in path.name)
    with pytest.raises(CompileError) as caught:
        import_tflite(load_tflite(path), {}, Diagnostics())
    assert reason in str(caught.value)
