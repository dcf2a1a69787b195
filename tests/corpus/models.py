"""Real models of the corpus: how their inputs are made, from CATALOG.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from edgec.ir import Array

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
DATA = CORPUS / "data"


def photos(size: tuple[int, int], mean: float, std: float, *, bgr: bool = False) -> Array:
    """Return the corpus's photos as NCHW floats, `(pixel - mean) / std`, stretched to (width, height)."""
    images = [
        np.asarray(Image.open(path).convert("RGB").resize(size), np.float32)
        for path in sorted((DATA / "images").glob("*.jpg"))
    ]
    pixels = (np.stack(images) - mean) / std
    return (pixels[..., ::-1] if bgr else pixels).transpose(0, 3, 1, 2).astype(np.float32)


def cifar(count: int = 100) -> Array:
    pixels = np.load(DATA / "cifar10_jpg_train_calib.npz")["x"][:count].astype(np.float32) / 255
    return cifar_normalized(pixels)


def cifar_normalized(pixels: Array) -> Array:
    """Return NCHW from NHWC pixels in 0..1, normalized as the model's catalogue entry says."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((pixels - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)


def text_lines() -> Array:
    """Return 48x192 crops of rendered text lines, BGR in -1..1."""
    lines = np.load(DATA / "ocr_lines120.npz")["x_rgb"][:60, :, :192, ::-1].astype(np.float32)
    return ((lines / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)


def text_pages() -> Array:
    """Return 320x320 pages of six text lines each, BGR in -1..1: a text detector needs text to look at."""
    lines = np.load(DATA / "ocr_lines120.npz")["x_rgb"]
    pages = np.full((16, 320, 320, 3), 255, np.uint8)
    for page in range(16):
        for row in range(6):
            pages[page, 10 + row * 52 : 58 + row * 52] = lines[(page * 6 + row) % len(lines)][:, :320]
    return ((pages[..., ::-1].astype(np.float32) / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)


def observations(size: int) -> dict[str, Array]:
    generator = np.random.default_rng(0)
    return {
        "obs": generator.uniform(-1, 1, (64, size)).astype(np.float32),
        "state_ins": generator.uniform(-1, 1, (64, 1)).astype(np.float32),
    }


@dataclass(frozen=True)
class RealModel:
    """A file of the corpus, its samples in source layout, and its pinned shapes."""

    file: str
    samples: Callable[[], dict[str, Array]]
    input_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    input_values: dict[str, float] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return CORPUS / "onnx" / f"{self.file}.onnx"


MODELS = (
    RealModel("ic_mobilenet_cifar10_alibaba", lambda: {"actual_input_1": cifar()}),
    RealModel("cls_efficientnet_lite0", lambda: {"input": photos((224, 224), 127, 128)}),
    RealModel(
        "cls_mnist_cntk",
        lambda: {"Input3": np.load(DATA / "mnist2000.npz")["x"][:100, None].astype(np.float32)},
    ),
    RealModel("face_ultraface_rfb320", lambda: {"input": photos((320, 240), 127, 128)}),
    RealModel(
        "face_yunet_2026may",
        lambda: {"input": photos((320, 320), 0, 1, bgr=True)},
        {"": (1, 3, 320, 320)},
    ),
    RealModel("det_yolox_nano", lambda: {"images": photos((416, 416), 0, 1, bgr=True)}),
    RealModel("ocr_ppocrv4_det", lambda: {"x": text_pages()}, {"": (1, 3, 320, 320)}),
    RealModel("ocr_textline_cls", lambda: {"x": text_lines()}, {"": (1, 3, 48, 192)}),
    RealModel(
        "face_mtcnn_rnet",
        lambda: {"input_2": photos((24, 24), 127.5, 128).transpose(0, 2, 3, 1)},
    ),
    RealModel("rl_BallChase", lambda: observations(21)),
    RealModel("rl_3DCarParking", lambda: observations(26)),
    RealModel("rl_ScoreTheGoal", lambda: observations(16)),
)


def no_samples() -> dict[str, Array]:
    """Random inputs will do: these models are compared with onnxruntime only."""
    return {}


OTHERS = (
    RealModel("audio_aecmos_gru", no_samples, {"input": (1, 3, 100, 160)}),
    RealModel("audio_basic_pitch_nmp", no_samples),
    RealModel("audio_dnsmos_p808", no_samples),
    RealModel("audio_speaker_embedding_lstm", no_samples),
    RealModel("audio_speech_embedding", no_samples),
    RealModel("denoise_dtln_1", no_samples),
    RealModel("denoise_dtln_2", no_samples),
    RealModel("face_mtcnn_pnet", no_samples, {"": (1, 48, 48, 3)}),
    RealModel("ocr_ppocrv4_rec", no_samples, {"": (1, 3, 48, 320)}),
    RealModel("sr_superresolution_core", no_samples),
    RealModel("text_magika_v3_3", no_samples),
    RealModel("text_romanizer_encoder_gru", no_samples, {"src": (1, 16), "src_mask": (1, 16)}),
    RealModel("vad_silero_16k_seq", no_samples, {"input": (4, 576)}),
    RealModel("vad_silero_op16_full", no_samples, {"input": (1, 576), "state": (2, 1, 128)}, {"sr": 16000}),
)
