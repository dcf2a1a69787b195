"""Keras models from memory and from files equal themselves after the front end; needs tensorflow."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from edgec.calibrate.data import InputSpec, random_samples
from edgec.diagnostics import CompileError, Diagnostics
from edgec.emit import emit
from edgec.frontends.detect import Format, detect
from edgec.frontends.foreign import quiet
from edgec.frontends.keras import import_keras, load_keras, open_program
from edgec.frontends.keras.tensorflow import keras
from edgec.ir import Model
from edgec.kernels import Runner
from edgec.ops.verify_ir import verify_ir
from edgec.verify.keras_source import KerasSource
from edgec.verify.run import NO_TOLERANCE, verify
from tests.conftest import CORPUS

pytestmark = [
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="tensorflow (edgec[keras]) is not installed"),
    pytest.mark.slow,
]

Live = Any


@pytest.fixture(scope="module")
def library() -> Live:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = keras("tests")
    found.utils.set_random_seed(0)
    return found


def compiled(source: object, format: Format = Format.KERAS, **arguments: Any) -> tuple[Model, float]:
    """Return the IR, and the worst SQNR of its outputs against the source."""
    file = load_keras(source, format)
    signature = arguments.get("signature")
    model = import_keras(file, arguments.get("input_shapes", {}), Diagnostics(), signature=signature)
    program = open_program(file, signature)
    verify_ir(model)
    samples = random_samples([InputSpec(p.name, p.shape, p.dtype.numpy) for p in model.inputs], 2)
    runner = Runner(emit(model).to_bytes())
    result = verify(model, runner, KerasSource(program), samples, NO_TOLERANCE, "")
    return model, min(output.sqnr_db for output in result.outputs)


def names(model: Model) -> tuple[list[str], list[str]]:
    return [port.name for port in model.inputs], [port.name for port in model.outputs]


def xor(library: Live) -> Live:
    layers = [
        library.Input((2,), name="bits"),
        library.layers.Dense(4, "tanh"),
        library.layers.Dense(1, "sigmoid"),
    ]
    return library.Sequential(layers)


def cifar(library: Live) -> Live:
    x = image = library.Input((16, 16, 3), name="image")
    for channels in (4, 8, 8):
        x = library.layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = library.layers.BatchNormalization()(x)
        x = library.layers.MaxPooling2D()(x)
    return library.Model(
        image, library.layers.Dense(10, "softmax", name="classes")(library.layers.Flatten()(x))
    )


def recurrent(library: Live) -> Live:
    x = library.Input((7, 3), name="clip")
    y = library.layers.Bidirectional(library.layers.LSTM(4, return_sequences=True))(x)
    y = library.layers.GRU(5)(y)
    return library.Model(x, library.layers.Dense(3, name="gesture")(y))


def attention(library: Live) -> Live:
    x = library.Input((6, 8), name="tokens")
    y = library.layers.MultiHeadAttention(2, 4)(x, x)
    y = library.layers.LayerNormalization()(library.layers.Add()([x, y]))
    return library.Model(x, library.layers.GlobalAveragePooling1D(name="pooled")(y))


def decoder(library: Live) -> Live:
    x = library.Input((6,), name="latent")
    y = library.layers.Reshape((3, 3, 4))(library.layers.Dense(36, "relu")(x))
    y = library.layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="leaky_relu")(y)
    return library.Model(
        x, library.layers.Conv2DTranspose(1, 3, strides=2, padding="same", name="picture")(y)
    )


def swish(library: Live) -> Live:
    x = library.Input((8,), name="x")
    return library.Model(x, library.layers.Dense(3, "swish", name="y")(x))


MODELS = (xor, cifar, recurrent, attention, decoder, swish)
"""`swish` carries a custom gradient, which TensorFlow cannot save."""


@pytest.mark.parametrize("build", MODELS)
def test_a_live_model_keeps_its_numbers(build: Callable[[Live], Live], library: Live) -> None:
    """90 dB or better against Keras's own prediction; no loop is left."""
    live = build(library)
    model, sqnr = compiled(live)
    assert sqnr >= 90
    assert detect(live) is Format.KERAS
    assert not any(node.kind == "while" for node in model.graph)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".bin"])
def test_a_saved_model_is_the_live_one(suffix: str, library: Live, tmp_path: Path) -> None:
    """Both formats, and a suffix that says nothing; the bytes do not depend on where the model came from."""
    live = xor(library)
    path = tmp_path / f"model{suffix if suffix != '.bin' else '.h5'}"
    with quiet():
        live.save(path)
    if suffix == ".bin":
        path = path.rename(tmp_path / "model.bin")
    model, sqnr = compiled(path, detect(path))
    assert sqnr >= 90
    assert names(model) == (["bits"], [live.layers[-1].name])


def test_order_and_names_are_the_models(library: Live) -> None:
    """The converter sorts; zeta comes before alpha here, and score, box, mid stay in this order."""
    zeta, alpha = library.Input((4,), name="zeta"), library.Input((4,), name="alpha")
    mixed = library.layers.Subtract()([zeta, alpha])
    outputs = [library.layers.Dense(3, name=name)(mixed) for name in ("score", "box", "mid")]
    model, sqnr = compiled(library.Model([zeta, alpha], outputs))
    assert names(model) == (["zeta", "alpha"], ["score", "box", "mid"])
    assert sqnr >= 90


def test_an_output_given_twice_stays_two_outputs(library: Live) -> None:
    """TFLite has one tensor for both; the ports still are two."""
    x = library.Input((4,), name="x")
    y = library.layers.Dense(3, name="y")(x)
    model, sqnr = compiled(library.Model(x, [y, y]))
    assert len(model.outputs) == 2
    assert sqnr >= 90


def test_a_mixed_precision_model_computes_in_float32(library: Live) -> None:
    """The policy's casts are gone, and the model itself is as it was."""
    x = library.Input((8,), name="x")
    layer = library.layers.Dense(4, name="d", dtype="mixed_float16")
    model, sqnr = compiled(library.Model(x, layer(x)))
    assert sqnr >= 90
    assert layer.dtype_policy.name == "mixed_float16"
    assert {node.kind for node in model.graph} == {"fully_connected"}


def test_recurrent_layers_are_unrolled_for_the_trace_alone(library: Live) -> None:
    """The user's model keeps its setting."""
    live = recurrent(library)
    compiled(live)
    assert not any(layer.unroll for layer in live._flatten_layers() if hasattr(layer, "unroll"))


def test_a_savedmodel_signature_is_chosen_by_name(library: Live, tmp_path: Path) -> None:
    """serving_default without a wish; another name is refused with those there are."""
    with quiet():
        xor(library).export(tmp_path / "saved")
    path = tmp_path / "saved"
    model, sqnr = compiled(path, detect(path))
    assert sqnr >= 90
    assert names(model) == (["bits"], ["output_0"])
    with pytest.raises(CompileError, match=r"E0114 saved: there is no signature 'train'.*serving_default"):
        compiled(path, Format.SAVEDMODEL, signature="train")


def test_a_damaged_savedmodel_and_a_stateful_layer_are_refused(library: Live, tmp_path: Path) -> None:
    """Both with the reason."""
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(CompileError, match="E0102"):
        compiled(tmp_path, Format.SAVEDMODEL)
    x = library.Input(batch_shape=(1, 5, 2))
    with pytest.raises(CompileError, match=r"E0121 layer 'memory' .*stateful"):
        compiled(library.Model(x, library.layers.LSTM(3, stateful=True, name="memory")(x)))


def test_an_unbuilt_model_is_refused_with_the_way_out(library: Live) -> None:
    """No Input, no shapes."""
    with pytest.raises(CompileError, match=r"E0120 .*no declared inputs"):
        compiled(library.Sequential([library.layers.Dense(2)]))


def test_operations_without_a_builtin_are_named(library: Live) -> None:
    """The converter's thousand words become the operation's name."""
    x = library.Input((8,), name="x")
    with pytest.raises(CompileError) as caught:
        compiled(library.Model(x, library.ops.erfinv(x)))
    assert caught.value.diagnostics[0].code == "E0119"
    assert "Erfinv" in str(caught.value)


def test_nothing_reaches_the_terminal(library: Live, capfd: pytest.CaptureFixture[str]) -> None:
    """Not from Python and not from C++."""
    compiled(xor(library))
    assert capfd.readouterr() == ("", "")


def test_converting_twice_gives_the_same_bytes(library: Live, tmp_path: Path) -> None:
    """Names that count up while the process lives do not reach the file."""
    path = tmp_path / "model.keras"
    with quiet():
        cifar(library).save(path)
    first, second = (emit(import_keras(load_keras(path), {}, Diagnostics())).to_bytes() for _ in range(2))
    assert first == second


FILES = sorted((CORPUS / "keras").iterdir()) if CORPUS.is_dir() else []


@pytest.mark.corpus
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_fields_files_keep_their_numbers(path: Path, library: Live) -> None:
    """Keras 2 and 3, HDF5 and SavedModel: 90 dB or better."""
    _, sqnr = compiled(path, detect(path))
    assert sqnr >= 90


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "reason"),
    [("crepe_tiny_weights_only.h5", "holds weights without a model"), ("qkeras_ad08.h5", "QDenseBatchnorm")],
)
def test_files_without_a_whole_model_are_refused(name: str, reason: str, library: Live) -> None:
    """Weights alone, and layers of another library."""
    (path,) = CORPUS.rglob(name)
    with pytest.raises(CompileError, match=reason):
        compiled(path, detect(path))
