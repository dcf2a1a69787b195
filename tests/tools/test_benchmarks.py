"""The peer benchmarks: what they choose, what they sum up, what they tell about a wrong call."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from bench_latency import CONVERTER_INT8, OWN, ZOO, Pair, ratios
from bench_latency import summary as latency_summary
from bench_quantization import choice, chosen_models, listed_models, variant
from corpus_data import MODELS, Split
from peers import PeerError, Peers
from quantization_results import Result, Row, as_json, summary
from scoring import Score


def row(model: str, **decibels: float) -> Row:
    tools = {"edgec": "edgec", "legacy": "litert-legacy", "aeq": "ai-edge-quantizer"}
    results = tuple(Result(tools[tool], Score((figure,))) for tool, figure in decibels.items())
    return Row(model, "data", 1, 1, None, results)


def test_the_gap_is_to_the_better_peer() -> None:
    """30 dB beside peers of 20 and 29 dB is a gain of one, not of ten."""
    assert row("m", edgec=30.0, legacy=29.0, aeq=20.0).gap("edgec") == pytest.approx(1.0)
    assert np.isnan(row("m", edgec=30.0).gap("edgec"))


def test_the_summary_names_the_models_that_are_below() -> None:
    """0.4 dB below is tolerated, 0.6 dB is named; a model without a peer counts for the median alone."""
    rows = [row("near", edgec=20.0, aeq=20.4), row("far", edgec=20.0, aeq=20.6), row("alone", edgec=50.0)]
    said = summary(rows, "edgec")
    assert said.startswith("median 20.0 dB over 3 models; against the better peer -0.5 dB")
    assert said.endswith("below by more than 0.5 dB: far (-0.6)")


def test_json_has_no_infinity() -> None:
    """`json.dumps(allow_nan=False)` takes it: other programs read the file."""
    text = json.dumps(as_json([row("m", edgec=float("inf"))], ["edgec"], {"samples": 1}), allow_nan=False)
    assert json.loads(text)["models"][0]["results"][0]["score"]["sqnr_db"] == ["inf"]


def test_choices_are_literals_or_words() -> None:
    """`observer=mse` is a word, `float_islands=True` is true."""
    assert choice("observer=mse") == ("observer", "mse")
    assert choice("float_islands=True") == ("float_islands", True)
    assert variant("a:observer=mse,threads=1") == ("a", {"observer": "mse", "threads": 1})
    with pytest.raises(argparse.ArgumentTypeError, match="'mse' is not KEY=VALUE"):
        choice("mse")
    with pytest.raises(argparse.ArgumentTypeError, match="with a name of its own"):
        variant("edgec:observer=mse")


def test_unknown_models_are_named() -> None:
    """All of them, not the first alone."""
    with pytest.raises(argparse.ArgumentTypeError, match="unknown: a, b"):
        listed_models("a,cls_mnist_cntk,b", tuple(MODELS))


def test_a_network_counts_once() -> None:
    """Where Keras models can be read, their TFLite twins are left out; without, the twins are taken."""
    with_keras = {model.name for model in chosen_models(None, keras=True)}
    without = {model.name for model in chosen_models(None, keras=False)}
    assert "ic_resnet8_mlperf" in with_keras and "mlperf_resnet8_fp32" not in with_keras
    assert "ic_resnet8_mlperf" not in without and "mlperf_resnet8_fp32" in without
    assert [model.name for model in chosen_models(["mlperf_resnet8_fp32"], keras=True)] == [
        "mlperf_resnet8_fp32"
    ]


def test_limited_samples_are_spread() -> None:
    """Sorted data must not lose its last classes; labels stay with their samples."""
    data = np.arange(10, dtype=np.float32)[:, None]
    few = Split((data,), (data,), np.arange(10)).limited(2, 5)
    assert few.calibration[0].ravel().tolist() == [0, 5]
    assert few.evaluation[0].ravel().tolist() == [0, 2, 4, 6, 8]
    assert few.labels is not None and few.labels.tolist() == [0, 2, 4, 6, 8]
    assert len(Split((data,), (data,)).limited(0, 0).evaluation[0]) == 10


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.twin])
def test_twins_are_models(name: str) -> None:
    """A misspelled twin would count a network twice."""
    assert MODELS[name].twin in MODELS


def test_a_peer_that_fails_says_why(tmp_path: Path) -> None:
    """The last line of the child's words, and nothing left in the folder."""
    others = Peers(tmp_path, python=Path(sys.executable))
    model = tmp_path / "broken.tflite"
    model.write_bytes(b"no model")
    with pytest.raises(PeerError, match=r"litert-legacy: exit code 1: .*Error"):
        others.make("litert-legacy", model, [np.zeros((1, 1, 2), np.float32)])
    assert [path.name for path in tmp_path.iterdir()] == ["broken.tflite"]


def test_a_peer_without_its_interpreter_names_the_option(tmp_path: Path) -> None:
    """Which option it is depends on the tool."""
    with pytest.raises(PeerError, match="tflite-converter needs --keras-python"):
        Peers(tmp_path).make("tflite-converter", tmp_path / "m.h5")
    with pytest.raises(PeerError, match="litert-legacy needs --peer-python"):
        Peers(tmp_path).make("litert-legacy", tmp_path / "m.tflite")


def test_latency_is_the_median_of_paired_ratios() -> None:
    """One disturbed turn of five changes neither figure."""
    times = [(1.0, 2.0), (1.0, 2.0), (9.0, 2.0), (1.1, 2.2), (1.2, 2.0)]
    median, shortest, first, second = ratios(times)
    assert (median, shortest, first, second) == pytest.approx((0.5, 0.5, 1000, 2000))


def test_latency_budgets() -> None:
    """MobileNetV3-Small has a budget of its own against the converter's int8; failures count as nothing."""
    pairs = [Pair("a", OWN, 0.6), Pair("b", OWN, 0.8), Pair("c", OWN, error="refused")]
    assert latency_summary(pairs, OWN) == (
        "int8/float: median 0.700 (budget 0.5) of 2; above the budget of one: b 0.80"
    )
    assert Pair(ZOO, CONVERTER_INT8, 0.4).missed and not Pair("other", CONVERTER_INT8, 0.4).missed
