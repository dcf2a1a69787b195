"""What TFLM computes of the corpus's models is what LiteRT's reference kernels compute, bit by bit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.legalize.micro import needs_tflm

TOOLS = str(Path(__file__).resolve().parents[2] / "tools")
if TOOLS not in sys.path:
    sys.path.append(TOOLS)

from bench_micro import GIVEN_DATA, measure  # noqa: E402
from corpus_data import DEFAULT_CORPUS, MODELS  # noqa: E402

pytestmark = [pytest.mark.corpus, pytest.mark.slow, needs_tflm]
SAMPLES = 4
FLOAT = [name for name, entry in MODELS.items() if not entry.keras]
NO_INT16 = {
    "face_ultraface_rfb320": "exp",
    "ocr_ppocrv4_rec": "sqrt",
    "audio_dnsmos_p808": "reduce_max",
    "audio_aecmos_gru": "reduce_max",
    "audio_basic_pitch_nmp": "mirror_pad",
    "basic_pitch_nmp": "mirror_pad",
    "denoise_dtln_2": "sqrt",
    "tflm_trained_lstm": "unidirectional_sequence_lstm",
}
"""Models that TFLM has no int16 kernels for, and an operator that it lacks."""
CONTROL_FLOW = "audio_speaker_embedding_lstm"
GIVEN_STEPS = {"mlperf_ad01_int8": 1, "tflm_hello_world_int8": 1}
"""Files of others keep their FULLY_CONNECTED, which LiteRT's reference kernel rounds once and TFLM twice."""


@pytest.mark.parametrize("precision", ["int8", "int8-int4", "int16x8"])
@pytest.mark.parametrize("name", FLOAT)
def test_our_integers_are_the_same_in_both(name: str, precision: str) -> None:
    """Not one element of any output differs; what TFLM has no kernel for is refused when compiling."""
    row = measure(name, precision, DEFAULT_CORPUS, SAMPLES)
    lacks = NO_INT16.get(name) if precision == "int16x8" else None
    if name == CONTROL_FLOW or lacks:
        assert row.verdict == "refused"
        assert any((lacks or "while") in text for text in row.refused), row.refused
        return
    assert row.found is not None, row.refused
    assert row.found.ran, row.why
    assert max(row.found.steps) == 0, row.why


@pytest.mark.parametrize("name", [name for name in GIVEN_DATA if name.startswith(("mlperf", "tflm_hello"))])
def test_files_quantized_by_others_keep_their_own_differences(name: str) -> None:
    """They come out bit-equal to what went in, so they are no nearer to each other than before."""
    row = measure(name, "given", DEFAULT_CORPUS, SAMPLES)
    assert row.found is not None and row.found.ran, row.why
    assert max(row.found.steps) <= GIVEN_STEPS.get(name, 0), row.why
