"""Values from files, and files of values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgec_runtime import RuntimeInputError, TensorInfo
from edgec_runtime.samples import ImageScaling, load_values, random_raw, save_npz, split_samples

AS_IS = ImageScaling()


def tensor(name: str, shape: tuple[int, ...], dtype: str = "float32", scale: float = 0.0) -> TensorInfo:
    return TensorInfo(name, shape, shape, dtype, scale, 0, 0)


ONE = (tensor("x", (1, 3)),)
TWO = (tensor("a/b:0", (1, 2)), tensor("file", (1, 2)))


def test_npz_round_trip_with_any_names(tmp_path: Path):
    """'file' is an argument of numpy.savez and 'a/b:0' looks like a path: both are names of real models."""
    values = {"a/b:0": np.array([[1.0, 2.0]]), "file": np.array([[3, 4]])}
    save_npz(tmp_path / "v.npz", values)
    loaded = load_values(tmp_path / "v.npz", TWO, AS_IS)
    assert {name: array.tolist() for name, array in loaded.items()} == {"a/b:0": [[1, 2]], "file": [[3, 4]]}


def test_same_values_same_bytes(tmp_path: Path):
    for name in ("one.npz", "two.npz"):
        save_npz(tmp_path / name, {"x": np.arange(5)})
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_positional_names(tmp_path: Path):
    np.savez(tmp_path / "v.npz", in0=[1, 2], in1=[3, 4])
    loaded = load_values(tmp_path / "v.npz", TWO, AS_IS)
    assert [loaded[info.name].tolist() for info in TWO] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("missing.npz", ONE, "No such file"),
        ("text.npz", ONE, "cannot be read"),
        ("text.npy", ONE, "cannot be read"),
        ("array.npz", ONE, "it is not a .npz archive"),
        ("pickle.npy", ONE, "cannot be read"),
        ("other.npz", ONE, "no array for input 'x'; it holds y"),
        ("text.csv", ONE, r"expected a .npz, a .npy or an image, got '.csv'"),
        ("array.npy", TWO, r"the model has 2 inputs \(a/b:0, file\): use .npz"),
    ],
)
def test_unfit_files_are_named(tmp_path: Path, name: str, inputs: tuple[TensorInfo, ...], message: str):
    for text in ("text.npz", "text.npy", "text.csv"):
        (tmp_path / text).write_text("1,2,3\n")
    np.save(tmp_path / "array.npy", np.zeros((1, 3)))
    (tmp_path / "array.npz").write_bytes((tmp_path / "array.npy").read_bytes())
    np.save(tmp_path / "pickle.npy", np.array([{"x": 1}]), allow_pickle=True)
    np.savez(tmp_path / "other.npz", y=[1])
    with pytest.raises(RuntimeInputError, match=message) as caught:
        load_values(tmp_path / name, inputs, AS_IS)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "count"), [((1, 3), 1), ((3,), 1), ((5, 3), 5), ((5, 1, 3), 5), ((1, 1, 3), 1), ((0, 3), 0)]
)
def test_samples_along_the_first_axis(shape: tuple[int, ...], count: int):
    samples = list(split_samples({"x": np.arange(np.prod(shape)).reshape(shape)}, ONE))
    assert len(samples) == count
    assert all(sample["x"].shape in {(3,), (1, 3)} for sample in samples)


def test_different_numbers_of_samples_are_refused():
    values = {"a/b:0": np.zeros((4, 2)), "file": np.zeros((5, 2))}
    with pytest.raises(RuntimeInputError, match="different numbers of samples"):
        list(split_samples(values, TWO))


def test_random_values_depend_on_the_seed_only():
    inputs = (tensor("f", (1, 50)), tensor("q", (1, 500), "int8", 0.1), tensor("i", (1, 50), "int32"))
    first, again, other = random_raw(inputs, 7), random_raw(inputs, 7), random_raw(inputs, 8)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])
    assert {name: str(array.dtype) for name, array in first.items()} == {
        "f": "float32",
        "q": "int8",
        "i": "int32",
    }
    assert first["q"].min() < -100
    assert first["q"].max() > 100
    assert set(first["i"].ravel().tolist()) == {0, 1}


def test_images_are_scaled(tmp_path: Path):
    """A red picture as (pixel - 127.5) / 127.5: 1 in the first channel, -1 in the others."""
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (10, 6), (255, 0, 0)).save(tmp_path / "red.png")
    values = load_values(tmp_path / "red.png", (tensor("x", (1, 4, 5, 3)),), ImageScaling(127.5, 127.5))
    assert values["x"].shape == (1, 4, 5, 3)
    assert values["x"][0, 2, 2].tolist() == [1, -1, -1]


def test_an_image_for_another_kind_of_input(tmp_path: Path):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (4, 4)).save(tmp_path / "grey.png")
    with pytest.raises(
        RuntimeInputError, match=r"an image fits shape \[1, height, width, 1 or 3\], not \[1, 3\]"
    ):
        load_values(tmp_path / "grey.png", ONE, AS_IS)
