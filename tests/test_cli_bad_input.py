"""Bad input ends in a diagnostic on one screen and exit code 1: no traceback, no partial file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from edgec.cli import main
from tests.support.onnx_models import graph_model

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "digits_cnn.onnx"
ONE_SCREEN = 30


def compile_cli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compile", *map(str, arguments)])


def assert_refused(result: Result, folder: Path, *words: str) -> None:
    """Exit 1, a short text with all the words, no traceback, and no new .tflite or temporary file."""
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for word in words:
        assert word in " ".join(result.output.split()), result.output
    assert len(result.output.splitlines()) <= ONE_SCREEN
    assert "Traceback" not in result.output
    assert "E0900" not in result.output
    assert not [path for path in folder.rglob("*") if path.suffix in (".tflite", ".tmp")]


def truncated(folder: Path) -> Path:
    path = folder / "cut.onnx"
    path.write_bytes(SAMPLE.read_bytes()[:5000])
    return path


def text_file(folder: Path) -> Path:
    path = folder / "notes.onnx"
    path.write_text("this is not a model\n" * 20)
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.onnx"
    path.write_bytes(b"")
    return path


def empty_graph(folder: Path) -> Path:
    path = folder / "hollow.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [])), path)
    return path


def lfs_pointer(folder: Path) -> Path:
    path = folder / "pointer.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    return path


def dense(weights: np.ndarray) -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")
    return graph_model([node], {"x": np.zeros((1, 4), np.float32)}, ["y"], constants={"w": weights})


def nan_weights(folder: Path) -> Path:
    path = folder / "nan.onnx"
    weights = np.ones((4, 2), np.float32)
    weights[1, 1] = np.nan
    onnx.save(dense(weights), path)
    return path


def external(folder: Path, location: str) -> Path:
    """Return a model whose weight says its data is in another file."""
    model = dense(np.ones((4, 2), np.float32))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    path = folder / "external.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (truncated, ("E0102", "cut.onnx", "not a complete ONNX model")),
        (text_file, ("E0102", "It is a text file")),
        (empty_file, ("E0102", "The file is empty")),
        (lfs_pointer, ("E0102", "git lfs pull")),
        (empty_graph, ("E0103", "the graph is empty")),
        (nan_weights, ("E0112", "initializer 'w' [4, 2]", "holds NaN in 1 of 8 values")),
        (lambda folder: external(folder, "weights.bin"), ("E0107", "weights.bin", "missing")),
        (lambda folder: external(folder, "../secret.bin"), ("E0106", "outside the model's folder")),
        (lambda folder: external(folder, "/etc/passwd"), ("E0106", "outside the model's folder")),
        (lambda folder: folder / "absent.onnx", ("E0101", "no such file")),
        (lambda folder: folder, ("E0101", "is a folder")),
    ],
)
def test_unusable_models(make: Callable[[Path], Path], words: tuple[str, ...], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(32))
    model = make(home)
    assert_refused(compile_cli(model, "-o", home / "out.tflite"), home, *words)


def test_external_data_through_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A symbolic link beside the model must not reach files elsewhere."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(32))
    (home / "data.bin").symlink_to(tmp_path / "secret.bin")
    result = compile_cli(external(home, "data.bin"), "-o", home / "out.tflite")
    assert_refused(result, home, "E0106", "outside the model's folder")


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    """The same form with its file present compiles, and to the values in that file."""
    weights = np.arange(8, dtype=np.float32).reshape(4, 2)
    (tmp_path / "weights.bin").write_bytes(weights.tobytes())
    model = external(tmp_path, "weights.bin")
    assert compile_cli(model, "-o", tmp_path / "out.tflite").exit_code == 0


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": np.zeros((5, 1, 9, 9), np.float32)}, ("image", "[5,1,9,9]", "[1,1,8,8]")),
        ({"image": np.array(["a", "b"])}, ("image",)),
        ({"image": np.full((2, 1, 8, 8), np.nan, np.float32)}, ("NaN",)),
        ({"image": np.zeros((0, 1, 8, 8), np.float32)}, ("holds no samples",)),
    ],
    ids=["shape", "dtype", "nan", "no samples"],
)
def test_unusable_calibration(arrays: dict[str, np.ndarray], words: tuple[str, ...], tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, **arrays)
    result = compile_cli(SAMPLE, "--int8", "--calibration", data, "-o", tmp_path / "out.tflite")
    assert_refused(result, tmp_path, "E03", *words)


def test_int8_without_calibration_says_what_to_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = compile_cli(SAMPLE, "--int8", "-o", "out.tflite")
    assert_refused(result, tmp_path, "E0301", "--calibration PATH")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert_refused(compile_cli(SAMPLE, "-o", tmp_path / "out.tflite"), tmp_path, "E0501", "cannot write")


def test_unwritable_output(tmp_path: Path) -> None:
    """The output's folder does not exist: said before any work is done."""
    result = compile_cli(SAMPLE, "-o", tmp_path / "nowhere" / "out.tflite")
    assert_refused(result, tmp_path, "E0501", "cannot write this file")


def test_unknown_report_format_is_refused_before_compiling(tmp_path: Path) -> None:
    result = compile_cli(SAMPLE, "-o", tmp_path / "out.tflite", "--report", tmp_path / "report.docx")
    assert_refused(result, tmp_path, "report.docx")


def test_unknown_target_suggests_the_nearest(tmp_path: Path) -> None:
    result = compile_cli(SAMPLE, "--target", "rpi44", "-o", tmp_path / "out.tflite")
    assert_refused(result, tmp_path, "E0401", "Did you mean 'rpi4'?")


def test_two_precisions_are_a_usage_error() -> None:
    assert compile_cli(SAMPLE, "--int8", "--float16").exit_code == 2


def test_open_dimensions_name_the_option_to_add(tmp_path: Path) -> None:
    model = onnx.load(SAMPLE)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    path = tmp_path / "open.onnx"
    onnx.save(model, path)
    result = compile_cli(path, "-o", tmp_path / "out.tflite")
    assert_refused(result, tmp_path, "E0109", "--input-shape", "height")


def test_many_unsupported_nodes_stay_on_one_screen(tmp_path: Path) -> None:
    """Sixty nodes without a lowering are one message with a list, not sixty."""
    x = np.zeros((1, 3), np.float32)
    nodes = [
        helper.make_node("Mystery", ["x"], [f"y{i}"], name=f"node{i}", domain="com.example")
        for i in range(60)
    ]
    path = tmp_path / "many.onnx"
    onnx.save(graph_model(nodes, {"x": x}, ["y0"]), path)
    assert_refused(compile_cli(path, "-o", tmp_path / "out.tflite"), tmp_path, "60 places", "node0")


def test_damaged_files_never_crash(tmp_path: Path) -> None:
    """Flipping bytes anywhere in a model gives a diagnostic or a compile, never another exception."""
    raw = SAMPLE.read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    for _ in range(60):
        damaged = bytearray(raw)
        for position in generator.integers(0, len(raw), 3):
            damaged[position] = int(generator.integers(0, 256))
        path.write_bytes(bytes(damaged))
        result = compile_cli(path, "--no-verify", "-q", "-o", tmp_path / "out.tflite")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code in (0, 1), result.output
        assert "E0900" not in result.output  # an internal error is our fault, not the file's


def test_initializer_with_impossible_shape(tmp_path: Path) -> None:
    """A shape that its data does not fill is named, not guessed."""
    model = dense(np.ones((4, 2), np.float32))
    model.graph.initializer[0].dims[0] = 1 << 40
    path = tmp_path / "huge.onnx"
    path.write_bytes(model.SerializeToString())
    assert_refused(compile_cli(path, "-o", tmp_path / "out.tflite"), tmp_path, "E0111", "'w'")


def test_numpy_helper_is_the_reader() -> None:
    """Guards the construction above: the helper really refuses such a tensor."""
    tensor = numpy_helper.from_array(np.ones(4, np.float32))
    tensor.dims[0] = 1 << 40
    with pytest.raises((ValueError, TypeError)):
        numpy_helper.to_array(tensor)


def test_internal_errors_are_owned_up_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours is one line that says so; the traceback appears only on request."""
    from edgec import stages

    def broken(*args: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(stages, "emit", broken)
    result = compile_cli(SAMPLE, "-o", tmp_path / "out.tflite")
    assert result.exit_code == 1
    assert "E0900 edgec: internal error: RuntimeError: boom" in result.output
    monkeypatch.setenv("EDGEC_TRACEBACK", "1")
    assert isinstance(compile_cli(SAMPLE, "-o", tmp_path / "out.tflite").exception, RuntimeError)


def filled(shape: list[int]) -> onnx.ModelProto:
    """Return a model that adds its input to a constant it makes at run time, of the given shape."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["c"], name="fill"),
        helper.make_node("Add", ["x", "c"], ["y"], name="sum"),
    ]
    x = np.zeros((1,), np.float32)
    return graph_model(nodes, {"x": x}, ["y"], constants={"shape": np.array(shape, np.int64)})


def test_a_tensor_beyond_every_kernel_is_refused_without_being_made(tmp_path: Path) -> None:
    """Four terabytes of zeros: named, not allocated."""
    path = tmp_path / "vast.onnx"
    onnx.save(filled([1_000_000, 1_000_000]), path)
    result = compile_cli(path, "-o", tmp_path / "out.tflite")
    assert_refused(result, tmp_path, "E0202", "1000000000000 elements")
