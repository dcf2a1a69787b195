"""What a file holds, and whether the manifest beside it speaks of this file."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from edgec_runtime.flatbuffer_check import read_model
from edgec_runtime.info import file_info, peak_activation_bytes


def test_facts(saved, difference: bytes):
    found = file_info(saved(difference))
    assert found.ops == {"add": 1, "sub": 1}
    assert (found.tensors, found.constant_bytes) == (4, 0)
    assert found.sha256 == hashlib.sha256(difference).hexdigest()
    assert found.signatures == ("serving_default",)
    assert found.manifest.status == "absent"


def test_operators_are_counted_most_frequent_first(saved, convolution: bytes):
    """Four convolutions of 64 × 3 × 3 × 64 floats and 64 biases."""
    found = file_info(saved(convolution))
    assert found.ops == {"conv_2d": 4}
    assert found.constant_bytes == 4 * 4 * (64 * 3 * 3 * 64 + 64)


def test_peak_activation_bytes_by_hand(new_model):
    """x(40) → a(80) → b(20) → y(40), x read again at the end.

    Alive: x a | x a b | x b y = 120, 140, 100: the widest operator needs 140 bytes.
    """
    model = new_model()
    x, a, b, y = (model.tensor(name, [size]) for name, size in zip("xaby", (10, 20, 5, 10)))
    model.operator("ABS", [x], [a])
    model.operator("ABS", [a], [b])
    model.operator("ADD", [b, x], [y])
    facts = read_model(model.build([x], [y]))
    assert peak_activation_bytes(facts, facts.subgraphs[0]) == 140


def test_constants_and_unused_tensors_take_no_activation_memory(new_model):
    model = new_model()
    x, y = model.tensor("x", [10]), model.tensor("y", [10])
    model.tensor("unused", [1000])
    weights = model.constant("w", np.zeros(10, np.float32))
    model.operator("ADD", [x, weights], [y])
    facts = read_model(model.build([x], [y]))
    assert peak_activation_bytes(facts, facts.subgraphs[0]) == 80


def test_the_page_shows_how_to_read_quantized_values(command, saved, int8_copy: bytes):
    done = command("info", saved(int8_copy))
    assert done.returncode == 0
    assert "x  int8 [1, 4]  real = 0.5 x (raw - -1)" in done.stdout
    assert done.stderr == ""


def test_json(command, saved, int8_copy: bytes):
    document = json.loads(command("info", saved(int8_copy), "--json").stdout)
    assert (document["schema_version"], document["kind"]) == (1, "edgec-runtime-info")
    (x,) = document["inputs"]
    assert (x["name"], x["shape"], x["dtype"], x["scale"], x["zero_point"]) == ("x", [1, 4], "int8", 0.5, -1)


@pytest.mark.parametrize("name", ["model.manifest.json", "model.tflite.manifest.json"])
def test_matching_manifest(command, saved, int8_copy: bytes, name: str):
    path = saved(int8_copy)
    digest = hashlib.sha256(int8_copy).hexdigest()
    (path.parent / name).write_text(json.dumps({"artifact": {"sha256": digest.upper()}}))
    done = command("info", path)
    assert done.returncode == 0
    assert f"{name} matches" in done.stdout


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ('{"artifact": {"sha256": "00ff"}}', "the manifest says sha256 00ff, the file has "),
        ('{"artifact": {}}', "the manifest has no artifact.sha256"),
        ("[]", "the manifest has no artifact.sha256"),
        ("{", "the manifest cannot be read"),
    ],
)
def test_manifest_mismatch_is_exit_1(command, saved, int8_copy: bytes, manifest: str, words: str):
    path = saved(int8_copy)
    (path.parent / "model.manifest.json").write_text(manifest)
    done = command("info", path)
    assert done.returncode == 1
    assert words in done.stderr
    assert "DOES NOT MATCH" in done.stdout
