"""Windows and the mel filter bank are constants, equal to onnxruntime's within float32 rounding."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgec.diagnostics import CompileError
from edgec.ir import Array
from tests.support.onnx_models import (
    check_against_onnxruntime,
    graph_model,
    import_model,
    run_onnxruntime,
)


def known(op: str, constants: dict[str, Array], **attributes: object) -> tuple[Array, onnx.ModelProto]:
    node = helper.make_node(op, list(constants), ["y"], name="node", **attributes)
    proto = graph_model([node], {}, ["y"], constants=constants)
    (output,) = import_model(proto).graph.outputs
    return output.constant(), proto


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("size", [2, 9, 10])
@pytest.mark.parametrize("to", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32])
def test_window(op: str, periodic: int, size: int, to: int) -> None:
    """Periodic and symmetric, in every element type."""
    ours, proto = known(op, {"n": np.array(size, np.int64)}, periodic=periodic, output_datatype=to)
    (expected,) = run_onnxruntime(proto, {})
    assert ours.dtype == (np.int32 if to == TensorProto.INT32 else np.float32)
    # onnxruntime computes angles in float32
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_window_of_a_computed_size(op: str, periodic: int) -> None:
    """The size is an input; angles in float32 cost a few units in the last place."""
    feeds = {"n": np.array(10, np.int64)}
    proto = graph_model([helper.make_node(op, ["n"], ["y"], periodic=periodic)], feeds, ["y"])
    check_against_onnxruntime(proto, feeds, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [(8, 16, 8192, 0.0, 4096.0), (20, 512, 16000, 80.0, 7600.0)])
def test_mel_weights(settings: tuple[int, int, int, float, float]) -> None:
    """Triangles of peak 1, also where two corners fall into one bin."""
    names = ["bands", "length", "rate", "low", "high"]
    types = [np.int64, np.int64, np.int64, np.float32, np.float32]
    constants = {n: np.array(v, t) for n, v, t in zip(names, settings, types, strict=True)}
    ours, proto = known("MelWeightMatrix", constants)
    np.testing.assert_allclose(ours, run_onnxruntime(proto, {})[0], rtol=1e-6)
    np.testing.assert_array_equal(ours.max(axis=0), 1.0)


def test_bands_beyond_the_spectrum_are_refused() -> None:
    """8 kHz do not exist at 8192 samples a second."""
    constants = {
        "bands": np.array(4, np.int64),
        "length": np.array(16, np.int64),
        "rate": np.array(8192, np.int64),
        "low": np.array(0, np.float32),
        "high": np.array(9000, np.float32),
    }
    with pytest.raises(CompileError, match="bands from 0 to 9000 Hz"):
        known("MelWeightMatrix", constants)
