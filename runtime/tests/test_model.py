"""The Model class: real values in and out, by name, and errors that name the input."""

from __future__ import annotations

import numpy as np
import pytest

from edgec_runtime import BackendError, Model, ModelFileError, RuntimeInputError


def test_int8_model_takes_and_returns_real_values(int8_copy: bytes):
    """scale 0.5, zero point -1: 0.3 becomes round(0.6) = 1 step = 0.5; 100 saturates at (127 + 1) / 2."""
    outputs = Model(int8_copy)({"x": np.array([[0.0, 0.3, -2.0, 100.0]])})
    assert list(outputs) == ["y"]
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].ravel().tolist() == [0.0, 0.5, -2.0, 64.0]


@pytest.mark.parametrize(
    ("dtype", "zero_point", "top"), [("uint8", 100, 77.5), ("int16", 0, 16383.5), ("int8", -1, 64.0)]
)
def test_every_quantized_type_round_trips(copies, dtype: str, zero_point: int, top: float):
    """The largest value is (limit - zero point) / 2; -1.5 is exact in all three."""
    outputs = Model(copies(dtype, (0.5, zero_point)))(np.array([[1e6, -1.5, 0.0, 2.0]]))
    assert outputs["y"].ravel().tolist() == [top, -1.5, 0.0, 2.0]


def test_raw_values_pass_untouched(int8_copy: bytes):
    raw = np.array([[-128, 0, 1, 127]], np.int8)
    outputs = Model(int8_copy).run_raw({"x": raw})
    assert outputs["y"].dtype == np.int8
    np.testing.assert_array_equal(outputs["y"].ravel(), raw.ravel())


def test_raw_values_of_another_type_are_refused(int8_copy: bytes):
    with pytest.raises(RuntimeInputError, match="input 'x': expected raw int8, got float32"):
        Model(int8_copy).run_raw(np.zeros((1, 4), np.float32))


def test_names_come_from_the_signature_and_order_from_the_file(difference: bytes):
    """The signature lists right before left; the file's inputs are left, right."""
    model = Model(difference)
    assert [one.name for one in model.inputs] == ["left", "right"]
    assert [one.name for one in model.outputs] == ["minus", "twice"]
    outputs = model({"right": [1, 2, 3], "left": [5, 5, 5]})
    assert outputs["minus"].tolist() == [[4, 3, 2]]
    assert outputs["twice"].tolist() == [[8, 6, 4]]


def test_without_a_signature_tensor_names_are_used(int8_copy: bytes):
    model = Model(int8_copy)
    (x,), (y,) = model.inputs, model.outputs
    assert (x.name, x.shape, x.dtype, x.scale, x.zero_point) == ("x", (1, 4), "int8", 0.5, -1)
    assert (y.name, y.shape) == ("y", (4, 1))


def test_duplicate_and_empty_tensor_names_are_replaced(new_model):
    """Two inputs of one name could not both be fed by name."""
    from ai_edge_litert import schema_py_generated as schema

    model = new_model()
    a, b = model.tensor("same", [1]), model.tensor("same", [1])
    y = model.tensor("", [1])
    model.operator("SUB", [a, b], [y], schema.SubOptionsT())
    loaded = Model(model.build([a, b], [y]))
    assert [one.name for one in loaded.inputs] == ["same", "in1"]
    assert loaded({"same": [3], "in1": [1]})["out0"].tolist() == [2]


def test_one_tensor_under_two_output_names(new_model):
    """A signature may name one output twice; the file then lists the tensor twice."""
    from ai_edge_litert import schema_py_generated as schema

    model = new_model()
    x, y = model.tensor("x", [2]), model.tensor("y", [2])
    model.operator("ABS", [x], [y], schema.AbsOptionsT())
    model.signature({"x": x}, {"first": y, "second": y})
    outputs = Model(model.build([x], [y, y]))([-1, 2])
    assert {name: array.tolist() for name, array in outputs.items()} == {"first": [1, 2], "second": [1, 2]}


def test_missing_batch_axis_is_added(int8_copy: bytes):
    assert Model(int8_copy)([1, 2, 3, 4])["y"].ravel().tolist() == [1, 2, 3, 4]


def test_non_contiguous_and_big_endian_arrays_are_fed_rightly(difference: bytes):
    """A transposed or byte-swapped view has other bytes in memory than its values say."""
    left = np.arange(6, dtype=">f8").reshape(3, 2).T[:1]
    assert Model(difference)({"left": left, "right": [0, 0, 0]})["minus"].tolist() == [[0, 2, 4]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"left": [1, 2, 3]}, "missing 'right': expected the inputs 'left', 'right'"),
        ({"left": [1, 2, 3], "rihgt": [1, 2, 3]}, "missing 'right' and unknown 'rihgt'"),
        ([1, 2, 3], r"the model has 2 inputs \('left', 'right'\): expected a dict .* got one list"),
        ({"left": [1, 2, 3], "right": [1, 2]}, r"input 'right': expected shape \[1, 3\], got \[2\]"),
        (
            {"left": np.zeros((2, 3)), "right": [1, 2, 3]},
            r"input 'left': expected shape \[1, 3\], got \[2, 3\]",
        ),
        ({"left": ["a", "b", "c"], "right": [1, 2, 3]}, "input 'left': expected numbers for float32"),
        (
            {"left": np.array([None, 1, 2]), "right": [1, 2, 3]},
            "input 'left'.*no rectangular array of numbers",
        ),
        ({"left": [[1, 2], [3]], "right": [1, 2, 3]}, "input 'left'.*no rectangular array of numbers"),
    ],
)
def test_wrong_inputs_are_named(difference: bytes, values: object, message: str):
    with pytest.raises(RuntimeInputError, match=message):
        Model(difference)(values)


def test_free_dimensions_follow_the_values(new_model):
    """shape_signature [-1, 2]: three rows, then one, then five; a wrong fixed axis is still refused."""
    from ai_edge_litert import schema_py_generated as schema

    builder = new_model()
    x, y = builder.tensor("x", [1, 2], signature=[-1, 2]), builder.tensor("y", [1, 2], signature=[-1, 2])
    builder.operator("ABS", [x], [y], schema.AbsOptionsT())
    model = Model(builder.build([x], [y]))
    for rows in (3, 1, 5):
        assert model(np.full((rows, 2), -1.0))["y"].tolist() == [[1.0, 1.0]] * rows
    with pytest.raises(RuntimeInputError, match=r"expected shape \[any, 2\], got \[3, 3\]"):
        model(np.zeros((3, 3)))


def test_a_kernel_that_fails_is_a_backend_error(new_model):
    """GATHER checks its indices when it runs: row 9 of 3 does not exist."""
    from ai_edge_litert import schema_py_generated as schema

    builder = new_model()
    table = builder.constant("table", np.array([10.0, 20.0, 30.0], np.float32))
    index, y = builder.tensor("index", [2], "int32"), builder.tensor("y", [2])
    builder.operator("GATHER", [table, index], [y], schema.GatherOptionsT())
    model = Model(builder.build([index], [y]))
    assert model([2, 0])["y"].tolist() == [30.0, 10.0]
    with pytest.raises(BackendError, match="the model failed while running"):
        model([0, 9])


def test_path_and_bytes_load_the_same(int8_copy: bytes, saved):
    values = [1, 2, 3, 4]
    assert Model(saved(int8_copy))(values)["y"].tolist() == Model(int8_copy)(values)["y"].tolist()


@pytest.mark.parametrize("kernels", ["auto", "xnnpack", "builtin", "reference"])
def test_every_kernel_set_computes_the_same(difference: bytes, kernels: str):
    """Sums of small integers are exact in float32, whatever the kernel."""
    model = Model(difference, kernels=kernels)
    assert model({"left": [5, 6, 7], "right": [1, 1, 1]})["twice"].tolist() == [[8, 10, 12]]
    assert model.delegate.used == ("xnnpack" if kernels in ("auto", "xnnpack") else kernels)


def test_delegate_state_counts_operators(difference: bytes):
    state = Model(difference).delegate
    assert (state.partitions, state.delegated, state.operators, state.fallback) == (1, 2, 2, "")
    assert str(state) == "xnnpack (2 of 2 operators, 1 partition(s))"


def test_names_that_are_not_utf_8_do_not_stop_a_model(new_model):
    """The interpreter cannot list such a model's operators, so the delegate is unknown; it still runs."""
    from ai_edge_litert import schema_py_generated as schema

    builder = new_model()
    x, y = builder.tensor("in", [2]), builder.tensor("OUT-NAME", [2])
    builder.operator("ABS", [x], [y], schema.AbsOptionsT())
    model = Model(builder.build([x], [y]).replace(b"OUT-NAME", b"OUT\xff\xfeAME"))
    assert model([-1, 2])["OUT\ufffd\ufffdAME"].tolist() == [1, 2]
    assert model.delegate.partitions is None
    assert str(model.delegate) == "xnnpack asked for, what runs is unknown"


def test_a_model_that_xnnpack_refuses_runs_on_builtin_kernels(refused_by_xnnpack: bytes):
    """The fallback is told with its reason; asked for XNNPACK alone, it is an error."""
    model = Model(refused_by_xnnpack)
    assert model.delegate.used == "builtin"
    assert "failed to delegate MAX_POOL_2D" in model.delegate.fallback
    assert model.run_raw(np.arange(16, dtype=np.int8).reshape(1, 4, 4, 1))["y"].ravel().tolist() == [
        5,
        7,
        13,
        15,
    ]
    with pytest.raises(BackendError, match=r"ai-edge-litert .* cannot prepare this model"):
        Model(refused_by_xnnpack, kernels="xnnpack")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"kernels": "fast"}, "unknown kernels 'fast'"),
        (
            {"backend": "onnx"},
            "unknown backend 'onnx'; known are auto, ai-edge-litert, tflite-runtime, tensorflow",
        ),
    ],
)
def test_wrong_options_are_named(int8_copy: bytes, options: dict[str, object], message: str):
    with pytest.raises(BackendError, match=message):
        Model(int8_copy, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, this is no model at all\n", "not a TFLite model: it is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"PK\x03\x04" + bytes(60), "it is a ZIP archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "it is an HDF5 file"),
        (bytes(16), "it starts with bytes 00 00"),
    ],
)
def test_files_that_are_no_models(saved, content: bytes, message: str):
    """The message says what the file looks like, because that is what went wrong."""
    path = saved(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        Model(path)
    assert str(path) in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ModelFileError, match="No such file"):
        Model(tmp_path / "none.tflite")
    with pytest.raises(ModelFileError, match="Is a directory"):
        Model(tmp_path)
