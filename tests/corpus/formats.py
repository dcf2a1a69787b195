"""Keras and TFLite files of the corpus: how their inputs are made, from CATALOG.md."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgec.ir import Array
from tests.corpus.models import CORPUS, DATA, photos

Samples = Callable[[], Array]


def pictures(size: tuple[int, int], mean: float, std: float, *, grey: bool = False) -> Array:
    """Return the corpus's photos as NHWC floats, `(pixel - mean) / std`; grey ones have one channel."""
    images = photos(size, mean, std).transpose(0, 2, 3, 1)
    return images.mean(axis=3, keepdims=True) if grey else images


def features() -> Array:
    """Return MFCC of spoken words, as the float nets take them."""
    stored = np.load(DATA / "kws_mfcc_int8.npz")["x_int8"][:100].astype(np.float32)
    return ((stored - 83) * 0.5847029).reshape(-1, 49, 10, 1)


def sound() -> Array:
    """Return all recordings of the corpus in a row, 16 kHz."""
    recordings: list[Array] = []
    for path in sorted((DATA / "audio").glob("*.wav")):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            recordings.append(samples.reshape(-1, file.getnchannels())[:, 0])
    return np.concatenate(recordings).astype(np.float32) / 32768


def frames(length: int, count: int, *, normalized: bool = False) -> Array:
    """Return windows of sound; normalized ones have mean 0 and deviation 1."""
    rows = np.resize(sound(), (count, length))
    if not normalized:
        return rows
    return (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 1e-8)


def digits() -> Array:
    return np.load(DATA / "mnist2000.npz")["x"][:100].astype(np.float32) / 255


def thumbnails() -> Array:
    return np.load(DATA / "cifar10_jpg_train_calib.npz")["x"][:100].astype(np.float32)


def gestures() -> Array:
    return np.load(DATA / "gesture_keypoint.npz")["x"][:200].astype(np.float32)


def faces() -> Array:
    return pictures((64, 64), 127.5, 127.5, grey=True)


def unit_pictures(size: int) -> Samples:
    return lambda: pictures((size, size), 0, 255)


@dataclass(frozen=True)
class FormatModel:
    """A file of the corpus and its samples; None where the corpus has no data for it."""

    file: str
    samples: Samples | None = None

    @property
    def path(self) -> Path:
        return CORPUS / self.file

    def calibration(self) -> dict[str, Array] | str:
        """Return what to calibrate with: random numbers say nothing of accuracy, but all of coverage."""
        return "random" if self.samples is None else {"in0": self.samples()}


KERAS = (
    FormatModel("keras/ad_autoencoder_mlperf.h5"),
    FormatModel("keras/emotion_mini_xception_fer.hdf5", faces),
    FormatModel("keras/gesture_keypoint_mlp.hdf5", gestures),
    FormatModel("keras/ic_resnet8_mlperf.h5", thumbnails),
    FormatModel("keras/kws_dscnn_mlperf_rebuilt.keras", features),
    FormatModel("keras/kws_dscnn_mlperf_savedmodel", features),
    FormatModel("keras/pitch_crepe_tiny.keras", lambda: frames(1024, 80, normalized=True)),
    FormatModel("keras/vww_mobilenet96_mlperf.h5", unit_pictures(96)),
)

FLOAT_TFLITE = (
    FormatModel("refs/basic_pitch_nmp.tflite", lambda: frames(43844, 6)[..., None]),
    FormatModel("refs/dtln_1.tflite"),
    FormatModel("refs/dtln_2.tflite"),
    FormatModel("refs/dtln_quant_1.tflite"),
    FormatModel("refs/dtln_quant_2.tflite"),
    FormatModel("refs/fer_emotion_dynquant.tflite", faces),
    FormatModel("refs/gesture_keypoint.tflite", gestures),
    FormatModel("refs/mediapipe_face_short_range_fp16.tflite", lambda: pictures((128, 128), 127.5, 127.5)),
    FormatModel("refs/mediapipe_hand_landmark_lite_fp16.tflite", unit_pictures(224)),
    FormatModel("refs/mediapipe_selfie_segmentation_fp16.tflite", unit_pictures(256)),
    FormatModel("refs/mlperf_ad01_fp32.tflite"),
    FormatModel("refs/mlperf_kws_fp32.tflite", features),
    FormatModel("refs/mlperf_resnet8_fp32.tflite", thumbnails),
    FormatModel("refs/mlperf_resnet_large_fp32.tflite", thumbnails),
    FormatModel("refs/mlperf_vww96_fp32.tflite", unit_pictures(96)),
    FormatModel("refs/speech_embedding.tflite"),
    FormatModel(
        "refs/tflm_hello_world_float.tflite", lambda: np.linspace(0, 6.28, 100, dtype=np.float32)[:, None]
    ),
    FormatModel("refs/tflm_trained_lstm.tflite", digits),
    FormatModel("refs/ultraface_rfb320_fp32.tflite", lambda: pictures((320, 240), 127, 128)),
    FormatModel("refs/yolox_nano_dynamic_range.tflite", lambda: pictures((416, 416), 0, 1)),
)

STREAMING = ("microwakeword_hey_jarvis", "microwakeword_okay_nabu", "tflm_dtln_noise_suppression")
"""Files that remember: each run goes on where the last one ended."""
