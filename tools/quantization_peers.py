"""Quantize a float model with another tool: the child process of `bench_quantization.py`.

    python tools/quantization_peers.py TOOL MODEL CALIBRATION.npz OUT.tflite

Runs with the interpreter that has the peer; needs NumPy and that peer alone, never edgec. The calibration
file holds in0, in1, … [samples, *input shape]. Full int8, inputs and outputs included, where the peer can.

tflite-converter   TensorFlow's TFLiteConverter on a Keras file, post-training int8
litert-legacy      the same quantizer in C++ on a float .tflite, from the ai-edge-litert wheel (private API)
ai-edge-quantizer  its recipe static_wi8_ai8 on a float .tflite
keras-float        no quantization: TFLiteConverter's float file of a Keras model, its batch pinned to 1
keras-zoo          no quantization: NAME of keras.applications, weights=None, written as OUT.keras
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

INT8, INT32 = 1, 5  # NumPy's type numbers, as the private API wants them


def main() -> None:
    """Run one peer; its own words go to standard error, the exit code says whether OUT was written."""
    if len(sys.argv) != 5 or sys.argv[1] not in PEERS:
        sys.exit(f"usage: {Path(sys.argv[0]).name} {'|'.join(PEERS)} MODEL CALIBRATION.npz OUT.tflite")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tool, model, calibration, out = sys.argv[1:]
    arrays: list[np.ndarray] = []
    if Path(calibration).is_file():
        with np.load(calibration) as file:
            arrays = [file[f"in{index}"] for index in range(len(file.files))]
    content = PEERS[tool](model, arrays)
    Path(out).write_bytes(content)


def samples(arrays: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Yield the inputs of one sample after another."""
    for index in range(len(arrays[0])):
        yield [array[index] for array in arrays]


def litert_legacy(model: str, arrays: list[np.ndarray]) -> bytes:
    """Calibrate and quantize with the C++ calibrator that TFLiteConverter uses, too."""
    calibration = import_module("ai_edge_litert._pywrap_tensorflow_lite_calibration_wrapper")
    content = Path(model).read_bytes()  # the wrapper reads from it to the end, but does not keep it alive
    wrapper = calibration.CalibrationWrapper(content, [], [])
    wrapper.Prepare([list(array.shape[1:]) for array in arrays])
    for sample in samples(arrays):
        wrapper.FeedTensor(sample)
    per_tensor = per_tensor_dense = False
    for allow_float in (False, True):  # operators without int8 kernel stay float only where there are such
        try:
            return wrapper.QuantizeModel(INT8, INT8, allow_float, INT8, INT32, per_tensor, per_tensor_dense)
        except RuntimeError:
            if allow_float:
                raise
    raise AssertionError


def ai_edge_quantizer(model: str, arrays: list[np.ndarray]) -> bytes:
    """Calibrate and quantize with the recipe for static int8 weights and activations."""
    from ai_edge_litert.interpreter import Interpreter

    aeq = import_module("ai_edge_quantizer")
    content = Path(model).read_bytes()
    interpreter = Interpreter(model_content=content)
    key, signature = next(iter(interpreter.get_signature_list().items()))
    runner = interpreter.get_signature_runner(key)
    order = [detail["index"] for detail in interpreter.get_input_details()]
    indices = {name: detail["index"] for name, detail in runner.get_input_details().items()}
    names = sorted(signature["inputs"], key=lambda name: order.index(indices[name]))
    quantizer = aeq.Quantizer(content, aeq.recipe.static_wi8_ai8())
    feeds = [dict(zip(names, sample, strict=True)) for sample in samples(arrays)]
    ranges = quantizer.calibrate({key: feeds}, num_threads=1)
    return bytes(quantizer.quantize(ranges).quantized_model)


def tflite_converter(model: str, arrays: list[np.ndarray]) -> bytes:
    """Convert a Keras file with full int8 post-training quantization."""
    tf = import_module("tensorflow")
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: samples(arrays)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def keras_float(model: str, arrays: list[np.ndarray]) -> bytes:
    """Convert a Keras file to float TFLite."""
    del arrays
    return _converter(model).convert()


def keras_zoo(model: str, arrays: list[np.ndarray]) -> bytes:
    """Return a model of keras.applications with seeded random weights, as a .keras file's bytes."""
    del arrays
    keras = import_module("keras")
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        getattr(keras.applications, model)(input_shape=(224, 224, 3), weights=None).save(path)
        return path.read_bytes()


def _converter(model: str) -> Any:
    """Return TensorFlow's converter of a Keras file with a batch of one."""
    keras, tf = import_module("keras"), import_module("tensorflow")

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
        """Reads files of Keras 2, which wrote an attribute that Keras 3 refuses."""

        def __init__(self, *args: Any, groups: int = 1, **kwargs: Any) -> None:
            del groups
            super().__init__(*args, **kwargs)

    classes = {"DepthwiseConv2D": DepthwiseConv2D}
    loaded = keras.models.load_model(model, compile=False, custom_objects=classes)
    spec = tf.TensorSpec((1, *loaded.inputs[0].shape[1:]), loaded.inputs[0].dtype)
    program = tf.function(lambda x: loaded(x, training=False)).get_concrete_function(spec)
    frozen = import_module("tensorflow.python.framework.convert_to_constants")
    constant = frozen.convert_variables_to_constants_v2(program)
    return tf.lite.TFLiteConverter.from_concrete_functions([constant], loaded)


PEERS: dict[str, Callable[[str, list[np.ndarray]], bytes]] = {
    "tflite-converter": tflite_converter,
    "litert-legacy": litert_legacy,
    "ai-edge-quantizer": ai_edge_quantizer,
    "keras-float": keras_float,
    "keras-zoo": keras_zoo,
}

if __name__ == "__main__":
    main()
