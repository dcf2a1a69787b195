"""The sample model's IR after each step that changes its structure, as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import edgec
from edgec.ir import Model, format_model

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "digits_cnn.onnx"


@pytest.mark.parametrize("step", ["import", "propagate_layout", "separate_outputs"])
def test_float_pipeline(step: str, golden: Callable[[str, str], None]) -> None:
    """Structure and types stay as reviewed; small constants are shown with their values."""
    texts: dict[str, str] = {}

    def keep(name: str, model: Model) -> None:
        texts[name] = format_model(model)

    edgec.compile(SAMPLE, options=edgec.CompileOptions(target="rpi4", verify=False, on_pass=keep))
    golden(f"digits_cnn.{step}.ir", texts[step])
