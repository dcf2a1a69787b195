"""What is found in a saved configuration before Keras sees it; no TensorFlow needed."""

from __future__ import annotations

import json
import zipfile
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgec.diagnostics import CompileError
from edgec.frontends.detect import Format
from edgec.frontends.keras import load_keras, open_program
from edgec.frontends.keras.config import check_layers, read_keras_config, saved_layers, shims
from edgec.frontends.keras.importer import pin_inputs
from edgec.frontends.keras.program import ProgramInput
from edgec.frontends.keras.savedmodel import _natural

KERAS = SimpleNamespace(
    layers=SimpleNamespace(
        Dense=object, LSTM=object, Bidirectional=object, Lambda=object, DepthwiseConv2D=object
    )
)


def layer(class_name: str, name: str, **settings: object) -> dict[str, object]:
    return {"class_name": class_name, "config": {"name": name, **settings}}


def sequential(*layers: dict[str, object]) -> dict[str, object]:
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}}


def refusals(config: dict[str, object]) -> list[str]:
    with pytest.raises(CompileError) as caught:
        check_layers(list(saved_layers(config)), KERAS)
    return [str(item) for item in caught.value.diagnostics]


def test_layers_are_found_in_nested_models_and_wrappers() -> None:
    """A model in a model, a wrapped layer, and both directions."""
    wrapped = layer("Bidirectional", "bi", layer=layer("LSTM", "inner"), backward_layer=layer("LSTM", "back"))
    config = sequential(sequential(layer("Dense", "d")), wrapped)
    assert [item.name for item in saved_layers(config)] == ["s", "s", "d", "bi", "inner", "back"]
    check_layers(list(saved_layers(config)), KERAS)


def test_code_in_a_file_is_refused_by_the_layers_name() -> None:
    """A Lambda is neither run nor dropped."""
    (message,) = refusals(
        sequential(sequential(layer("Lambda", "scale_pixels", function=["4wEAAAA=", None, None])))
    )
    assert message.startswith(
        "E0117 layer 'scale_pixels' (Lambda): holds Python code, and code in model files is not executed."
    )
    assert "Rescaling" in message
    hidden = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
    (message,) = refusals(sequential(layer("Dense", "sneaky", activation=hidden)))
    assert message.startswith("E0117 layer 'sneaky' (Dense): holds Python code")


def test_classes_that_are_not_keras_own_are_named_together() -> None:
    """Every layer gets its message; a registered name outside of keras is custom even if the class exists."""
    gate = {**layer("Dense", "gate"), "registered_name": "yard>ChannelGate", "module": None}
    first, second = refusals(sequential(layer("QDense", "q"), layer("Dense", "d"), gate))
    assert "layer 'q' (QDense): is of class 'QDense', which is not part of Keras." in first
    assert "layer 'gate' (Dense)" in second
    assert "edgec.compile(model)" in second


def test_operations_of_keras_2_are_explained() -> None:
    """TFOpLambda cannot be rebuilt by Keras 3 at all."""
    (message,) = refusals(sequential(layer("TFOpLambda", "tf.math.add")))
    assert "is an operation of Keras 2 that Keras 3 cannot rebuild" in message
    assert "tf_keras" in message


@pytest.mark.parametrize(
    ("class_name", "key", "harmless", "harmful"),
    [
        ("DepthwiseConv2D", "groups", 1, 2),
        ("LSTM", "time_major", False, True),
    ],
)
def test_settings_of_keras_2_are_dropped_only_where_they_mean_nothing(
    class_name: str, key: str, harmless: object, harmful: object
) -> None:
    """groups=1 goes without a word; groups=2 would be another layer."""
    check_layers(list(saved_layers(sequential(layer(class_name, "a", **{key: harmless})))), KERAS)
    (message,) = refusals(sequential(layer(class_name, "a", **{key: harmful})))
    assert f"sets {key} to {harmful!r}, which Keras 3 does not have" in message


def test_a_shim_builds_keras_own_layer_without_the_setting() -> None:
    """Only classes that carry such a setting get one."""

    class Depthwise:
        def __init__(self, **config: object) -> None:
            self.config = config

        @classmethod
        def from_config(cls, config: dict[str, object]) -> Depthwise:
            return cls(**config)

    library = SimpleNamespace(layers=SimpleNamespace(DepthwiseConv2D=Depthwise, Dense=object))
    layers = list(saved_layers(sequential(layer("DepthwiseConv2D", "a", groups=1), layer("Dense", "b"))))
    custom = shims(layers, library)
    assert list(custom) == ["DepthwiseConv2D"]
    built = custom["DepthwiseConv2D"].from_config({"name": "a", "groups": 1})  # type: ignore[attr-defined]
    assert type(built) is Depthwise
    assert built.config == {"name": "a"}


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    """No config.json, and no zip."""
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other", "")
    for _ in range(2):
        with pytest.raises(CompileError, match=r"E0102 .*a\.keras: this is not a whole \.keras file"):
            read_keras_config(path)
        path.write_bytes(b"PK\x03\x04 and then nothing")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(sequential()))
    assert read_keras_config(path)["class_name"] == "Sequential"


def test_without_tensorflow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out is one command."""

    def absent(name: str) -> object:
        if name == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'")
        return import_module(name)

    monkeypatch.setattr("edgec.frontends.foreign.import_module", absent)
    path = tmp_path / "a.keras"
    path.write_bytes(b"PK")
    with pytest.raises(
        CompileError, match=r"E0115 a\.keras: .*needs TensorFlow.*pip install 'edgec\[keras\]'"
    ):
        open_program(load_keras(path))


def test_identity_is_that_of_the_content(tmp_path: Path) -> None:
    """A folder is all of its files with their names."""
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"abc")
    first = load_keras(folder, Format.SAVEDMODEL)
    (folder / "saved_model.pb").rename(folder / "other.pb")
    assert load_keras(folder, Format.SAVEDMODEL).sha256 != first.sha256
    assert first.size_bytes == len("saved_model.pb") + 3
    with pytest.raises(CompileError, match="E0101"):
        load_keras(tmp_path / "no.keras")


def test_only_the_batch_has_a_default() -> None:
    """Other open dimensions are asked for by the option that gives them."""
    images, ids = (
        ProgramInput("images", "float32", (None, 8, 8, 3)),
        ProgramInput("ids", "int32", (None, None)),
    )
    assert pin_inputs([images], {}) == {"images": (1, 8, 8, 3)}
    assert pin_inputs([images], {"": (2, 8, 8, 3)}) == {"images": (2, 8, 8, 3)}
    assert pin_inputs([images, ids], {"ids": (1, 9)})["ids"] == (1, 9)
    with pytest.raises(CompileError) as caught:
        pin_inputs([images, ids], {"images": (1, 9, 8, 3), "x": (1,)})
    assert [item.code for item in caught.value.diagnostics] == ["E0601", "E0109", "E0109"]
    assert "--input-shape ids=..." in str(caught.value)


def test_numbered_outputs_are_in_the_order_of_their_numbers() -> None:
    """output_10 comes after output_9."""
    names = [f"output_{index}" for index in (10, 9, 0)]
    assert sorted(names, key=_natural) == ["output_0", "output_9", "output_10"]
