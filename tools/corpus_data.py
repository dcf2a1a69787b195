"""What the float models of the corpus are fed with: preprocessing, calibration, evaluation, labels.

    entry = MODELS["mlperf_resnet8_fp32"]
    split = entry.split(corpus)            # arrays [samples, ...] in the order of the source's inputs
    entry.file(corpus)                     # the source model

Calibration and evaluation never share a sample: photos and recordings are divided as a whole, so that no
evaluation crop comes from a photo that was calibrated on. Preprocessing is that of the corpus's CATALOG.md.
`entry.data` says in words what the samples are; synthetic ones are called so, and every draw is seeded.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Arrays = tuple[Floats, ...]

DEFAULT_CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
RATE = 16000


@dataclass(frozen=True, slots=True)
class Split:
    """Samples of one model, an array [samples, ...] for each input; `labels` belong to the evaluation."""

    calibration: Arrays
    evaluation: Arrays
    labels: Labels | None = None

    def limited(self, calibration: int, evaluation: int) -> Split:
        """Return at most so many samples, spread over all there are; 0 is all."""
        chosen = _spread(len(self.evaluation[0]), evaluation)
        labels = None if self.labels is None else self.labels[chosen]
        few = _spread(len(self.calibration[0]), calibration)
        return Split(
            tuple(array[few] for array in self.calibration),
            tuple(array[chosen] for array in self.evaluation),
            labels,
        )


@dataclass(frozen=True, slots=True)
class CorpusModel:
    """A float model of the corpus and its data.

    `classes` is the output whose largest entry is the answer, None where there is no such thing. `twin` names
    the Keras source of the same network; `cnn` says that convolutions do most of the work.
    """

    path: str
    data: str
    make: Callable[[Path], Split]
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    classes: int | None = None
    twin: str = ""
    cnn: bool = True

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return Path(self.path).stem

    @property
    def keras(self) -> bool:
        """Whether TensorFlow is needed to read it."""
        return self.path.startswith("keras/")

    def file(self, corpus: Path) -> Path:
        """Return where the model is."""
        return corpus / self.path

    def split(self, corpus: Path) -> Split:
        """Return its samples."""
        return self.make(corpus / "data")


def _spread(count: int, wanted: int) -> npt.NDArray[np.int64]:
    if wanted <= 0 or wanted >= count:
        return np.arange(count)
    return (np.arange(wanted) * count) // wanted


# --- images ------------------------------------------------------------------------------------------------


def photo_views(
    data: Path,
    size: tuple[int, int],
    *,
    evaluation: bool,
    count: int = 8,
    zoom: tuple[float, float] = (0.5, 1.0),
    keep_shape: bool = False,
) -> Floats:
    """Return RGB 0..255 [views, height, width, 3] of every second photo: the whole one, then seeded crops.

    `zoom` bounds a crop's share of each side. Photos are stretched to (width, height), or with `keep_shape`
    put in its upper left corner on grey 114.
    """
    from PIL import Image as Images

    paths = sorted((data / "images").glob("*.jpg"))[1 if evaluation else 0 :: 2]
    generator = np.random.default_rng(1 if evaluation else 0)
    views: list[Floats] = []
    for path in paths:
        photo = Images.open(path).convert("RGB")
        for view in range(count):
            share = 1.0 if view == 0 else float(generator.uniform(*zoom))
            width, height = round(photo.width * share), round(photo.height * share)
            left = int(generator.integers(photo.width - width + 1))
            top = int(generator.integers(photo.height - height + 1))
            crop = photo.crop((left, top, left + width, top + height))
            crop = crop.transpose(Images.Transpose.FLIP_LEFT_RIGHT) if view % 2 else crop
            views.append(_placed(crop, size) if keep_shape else np.asarray(crop.resize(size), np.float32))
    return np.stack(views)


def _placed(image: Image, size: tuple[int, int]) -> Floats:
    """Scale an image to fit into (width, height) and pad it with 114, as YOLOX does."""
    ratio = min(size[0] / image.width, size[1] / image.height)
    small = np.asarray(image.resize((int(image.width * ratio), int(image.height * ratio))), np.float32)
    canvas = np.full((size[1], size[0], 3), 114, np.float32)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas


def _photos(
    size: tuple[int, int],
    mean: float,
    std: float,
    *,
    bgr: bool = False,
    nchw: bool = True,
    count: int = 8,
    zoom: tuple[float, float] = (0.5, 1.0),
    keep_shape: bool = False,
) -> Callable[[Path], Split]:
    def make(data: Path) -> Split:
        def one(evaluation: bool) -> Arrays:
            pixels = photo_views(
                data, size, evaluation=evaluation, count=count, zoom=zoom, keep_shape=keep_shape
            )
            pixels = (pixels[..., ::-1] if bgr else pixels) - np.float32(mean)
            scaled = pixels / np.float32(std)
            return (np.ascontiguousarray(scaled.transpose(0, 3, 1, 2) if nchw else scaled),)

        return Split(one(False), one(True))

    return make


def _grey(size: tuple[int, int], *, nchw: bool, offset: float, factor: float) -> Callable[[Path], Split]:
    """Return luma views: `(y / 255 - offset) * factor`."""

    def make(data: Path) -> Split:
        def one(evaluation: bool) -> Arrays:
            pixels = photo_views(data, size, evaluation=evaluation)
            luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
            scaled = (luma / np.float32(255) - np.float32(offset)) * np.float32(factor)
            return (scaled[:, None] if nchw else scaled[..., None],)

        return Split(one(False), one(True))

    return make


def _cifar(prepare: Callable[[Floats], Floats]) -> Callable[[Path], Split]:
    def make(data: Path) -> Split:
        with np.load(data / "cifar10_jpg_train_calib.npz") as calibration:
            few = prepare(calibration["x"].astype(np.float32))
        with np.load(data / "cifar10_jpg_test.npz") as test:
            return Split((few,), (prepare(test["x"].astype(np.float32)),), test["y"])

    return make


def _imagenet_normalized(pixels: Floats) -> Floats:
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    return np.ascontiguousarray(((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))


def _mnist(prepare: Callable[[Floats], Floats], count: int = 400) -> Callable[[Path], Split]:
    """Divide the 2000 digits: every fifth one (`count` in all, 40 of each digit) is for calibration."""

    def make(data: Path) -> Split:
        with np.load(data / "mnist2000.npz") as digits:
            return _every(len(digits["x"]) // count, (prepare(digits["x"].astype(np.float32)),), digits["y"])

    return make


def _lines(width: int) -> Callable[[Path], Split]:
    """Return crops of rendered text lines, BGR in -1..1; odd lines are for evaluation."""

    def make(data: Path) -> Split:
        with np.load(data / "ocr_lines120.npz") as lines:
            pixels = lines["x_rgb"][:, :, :width, ::-1].astype(np.float32)
        return _every(2, (((pixels / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2),))

    return make


def _pages(data: Path) -> Split:
    """Return 320x320 pages of six text lines each: a text detector needs text to look at."""
    with np.load(data / "ocr_lines120.npz") as lines:
        halves = [lines["x_rgb"][start::2] for start in (0, 1)]
    made: list[Arrays] = []
    for half in halves:
        pages = np.full((16, 320, 320, 3), 255, np.float32)
        for page in range(16):
            for row in range(6):
                pages[page, 10 + row * 52 : 58 + row * 52] = half[(page * 7 + row) % len(half)]
        pages = (pages[..., ::-1] / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
        made.append((pages.transpose(0, 3, 1, 2),))
    return Split(made[0], made[1])


def _every(step: int, arrays: Arrays, labels: Labels | None = None) -> Split:
    """Give every `step`-th sample to calibration and the others to evaluation."""
    calibration = np.arange(len(arrays[0])) % step == 0
    kept = None if labels is None else labels[~calibration]
    return Split(
        tuple(np.ascontiguousarray(array[calibration]) for array in arrays),
        tuple(np.ascontiguousarray(array[~calibration]) for array in arrays),
        kept,
    )


# --- sound -------------------------------------------------------------------------------------------------


def recording(data: Path, *, evaluation: bool) -> Floats:
    """Return 16 kHz mono sound in -1..1: half of the noisy speech, half of the noise, and one other word."""
    halves = [
        _half(_wave(data / "audio" / name), evaluation) for name in ("gtcrn_mix.wav", "noise_1000ms.wav")
    ]
    word = "no" if evaluation else "yes"
    return np.concatenate([*halves, _wave(data / "audio" / f"{word}_1000ms.wav")])


def _half(signal: Floats, second: bool) -> Floats:
    middle = len(signal) // 2
    return signal[middle:] if second else signal[:middle]


def _wave(path: Path) -> Floats:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / np.float32(32768)


def frames_of(signal: Floats, length: int, hop: int) -> Floats:
    """Return overlapping pieces [pieces, length]."""
    return np.lib.stride_tricks.sliding_window_view(signal, length)[::hop].copy()


def mel_power(
    signal: Floats, *, bands: int, window: int, hop: int, low: float = 0, high: float = 8000
) -> Floats:
    """Return a mel power spectrogram [frames, bands]: Hann windows, triangles on the mel scale."""
    spectrum = np.abs(np.fft.rfft(frames_of(signal, window, hop) * np.hanning(window))) ** 2
    frequencies = np.fft.rfftfreq(window, 1 / RATE)
    edges = _from_mel(np.linspace(_to_mel(low), _to_mel(high), bands + 2))
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return (spectrum @ np.maximum(0, np.minimum(rising, falling))).astype(np.float32)


def _to_mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _from_mel(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 700 * (10 ** (mel / 2595) - 1)


def _sound(prepare: Callable[[Floats], Arrays]) -> Callable[[Path], Split]:
    def make(data: Path) -> Split:
        return Split(prepare(recording(data, evaluation=False)), prepare(recording(data, evaluation=True)))

    return make


def _decibels(power: Floats, floor: float = 1e-10) -> Floats:
    return (10 * np.log10(np.maximum(power, floor))).astype(np.float32)


def _machine_mel(signal: Floats) -> Arrays:
    """Five frames of 128 mel decibels in one row, as the anomaly detector takes them."""
    mel = _decibels(mel_power(signal, bands=128, window=1024, hop=512), np.finfo(np.float64).eps)
    return (frames_of(mel.reshape(-1), 640, 128),)


def _embedding_mel(signal: Floats) -> Arrays:
    power = mel_power(signal * np.float32(32768), bands=32, window=400, hop=160, low=60, high=3800)
    mel = _decibels(power / np.float32(400)) / np.float32(10) + np.float32(2)
    return (np.stack([mel[start : start + 76, :, None] for start in range(0, len(mel) - 76, 8)]),)


def _opinion_mel(signal: Floats) -> Arrays:
    """900 frames of 120 mel decibels below the loudest: pieces of the recording, repeated to nine seconds."""
    rows: list[Floats] = []
    for start in range(0, len(signal) - RATE, RATE // 2):
        power = mel_power(np.resize(signal[start:], 9 * RATE + 400), bands=120, window=320, hop=160)[:900]
        mel = _decibels(power)
        rows.append((mel - mel.max() + np.float32(40)) / np.float32(40))
    return (np.stack(rows),)


def _echo_mel(signal: Floats) -> Arrays:
    """Three planes of 100 frames of log mel (far end, microphone, residual): one recording, delayed."""
    planes = [np.roll(signal, delay) * gain for delay, gain in ((0, 1.0), (800, 0.5), (1600, 0.25))]
    mels = [
        _decibels(mel_power(p.astype(np.float32), bands=160, window=512, hop=160)) / 80 + 1 for p in planes
    ]
    stacked = np.stack(mels)
    pieces = np.stack([stacked[:, start : start + 100] for start in range(0, len(mels[0]) - 100, 20)])
    return pieces.astype(np.float32), np.zeros((len(pieces), 4, 1, 64), np.float32)


def _speaker_mel(signal: Floats) -> Arrays:
    mel = mel_power(signal, bands=40, window=400, hop=160)
    return (np.stack([mel[start : start + 160] for start in range(0, len(mel) - 160, 10)]),)


def _pitch_frames(signal: Floats) -> Arrays:
    frames = frames_of(signal, 1024, 480)
    centred = frames - frames.mean(1, keepdims=True)
    spread = np.maximum(frames.std(1, keepdims=True), 1e-3)
    return ((centred / spread).astype(np.float32),)


def _music(signal: Floats) -> Arrays:
    """Two seconds at 22.05 kHz: the recording is played on at that rate, over seeded chords."""
    generator = np.random.default_rng(len(signal))
    time = np.arange(43844) / 22050
    rows = []
    for start in range(0, len(signal) - 43844, 6000):
        tones = 440 * 2 ** (generator.integers(-24, 24, 3) / 12)
        chord = sum(np.sin(2 * np.pi * tone * time) for tone in tones) / 6
        rows.append(signal[start : start + 43844] * 0.5 + chord)
    return (np.stack(rows).astype(np.float32)[..., None],)


def _magnitudes(signal: Floats) -> Arrays:
    frames = frames_of(signal, 512, 512)
    states = np.random.default_rng(0).uniform(-0.5, 0.5, (len(frames), 1, 2, 128, 2))
    return np.abs(np.fft.rfft(frames))[:, None, :].astype(np.float32), states[:, 0].astype(np.float32)


def _time_frames(signal: Floats) -> Arrays:
    frames = frames_of(signal, 512, 512)
    states = np.random.default_rng(0).uniform(-0.5, 0.5, (len(frames), 2, 128, 2))
    return frames[:, None, :], states.astype(np.float32)


def _keywords(data: Path) -> Split:
    """Return the labelled MFCC of the keyword test set; every fifth sample is for calibration."""
    with np.load(data / "kws_mfcc_int8.npz") as file:
        features = (file["x_int8"].astype(np.float32) - file["zero_point"]) * file["scale"]
        order = np.argsort(file["y"], kind="stable")  # so that calibration holds every word
        return _every(5, (features[order].astype(np.float32),), file["y"][order])


# --- numbers -----------------------------------------------------------------------------------------------


def _gestures(data: Path) -> Split:
    with np.load(data / "gesture_keypoint.npz") as file:
        return _every(5, (file["x"],), file["y"])


def _observations(size: int) -> Callable[[Path], Split]:
    def make(data: Path) -> Split:
        generator = np.random.default_rng(0)
        drawn = generator.uniform(-1, 1, (400, size)).astype(np.float32)
        return _every(2, (drawn, generator.uniform(-1, 1, 400).astype(np.float32)))

    return make


def _sine_inputs(data: Path) -> Split:
    values = np.linspace(0, 2 * np.pi, 200, dtype=np.float32)[:, None]
    return _every(2, (values,))


# --- the table ---------------------------------------------------------------------------------------------

_PHOTO = "crops of the corpus's photos; calibration and evaluation photos differ"
_CIFAR = "CIFAR-10: 1000 training images for calibration, 2000 test images"
_DIGITS = "2000 labelled digits, every fifth for calibration"
_SOUND = "the corpus's recordings, divided in time; features by corpus_data.py"
_DRAWN = "synthetic: uniform -1..1, seeded"
_FACE_ZOOM = (0.1, 0.5)

_ALL = (
    CorpusModel("onnx/ic_mobilenet_cifar10_alibaba.onnx", _CIFAR, _cifar(_imagenet_normalized), classes=0),
    CorpusModel("onnx/cls_efficientnet_lite0.onnx", _PHOTO, _photos((224, 224), 127, 128), classes=0),
    CorpusModel("onnx/cls_mnist_cntk.onnx", _DIGITS, _mnist(lambda x: x[:, None]), classes=0),
    CorpusModel("onnx/face_ultraface_rfb320.onnx", _PHOTO, _photos((320, 240), 127, 128, count=5)),
    CorpusModel(
        "onnx/face_yunet_2026may.onnx",
        _PHOTO,
        _photos((320, 320), 0, 1, bgr=True, count=5),
        {"": (1, 3, 320, 320)},
    ),
    CorpusModel(
        "onnx/det_yolox_nano.onnx", _PHOTO, _photos((416, 416), 0, 1, bgr=True, count=4, keep_shape=True)
    ),
    CorpusModel(
        "onnx/face_mtcnn_pnet.onnx", _PHOTO, _photos((48, 48), 127.5, 128, nchw=False), {"": (1, 48, 48, 3)}
    ),
    CorpusModel(
        "onnx/face_mtcnn_rnet.onnx",
        _PHOTO,
        _photos((24, 24), 127.5, 128, nchw=False, count=16, zoom=_FACE_ZOOM),
        {"": (1, 24, 24, 3)},
        classes=1,
    ),
    CorpusModel("onnx/ocr_ppocrv4_det.onnx", "pages of rendered text lines", _pages, {"": (1, 3, 320, 320)}),
    CorpusModel(
        "onnx/ocr_ppocrv4_rec.onnx", "rendered text lines", _lines(320), {"": (1, 3, 48, 320)}, classes=0
    ),
    CorpusModel(
        "onnx/ocr_textline_cls.onnx", "rendered text lines", _lines(192), {"": (1, 3, 48, 192)}, classes=0
    ),
    CorpusModel(
        "onnx/sr_superresolution_core.onnx", _PHOTO, _grey((224, 224), nchw=True, offset=0, factor=1)
    ),
    CorpusModel("onnx/rl_BallChase.onnx", _DRAWN, _observations(21), cnn=False),
    CorpusModel("onnx/rl_3DCarParking.onnx", _DRAWN, _observations(26), cnn=False),
    CorpusModel("onnx/rl_ScoreTheGoal.onnx", _DRAWN, _observations(16), cnn=False),
    CorpusModel("onnx/audio_dnsmos_p808.onnx", _SOUND, _sound(_opinion_mel)),
    CorpusModel("onnx/audio_speech_embedding.onnx", _SOUND, _sound(_embedding_mel)),
    CorpusModel(
        "onnx/audio_aecmos_gru.onnx", _SOUND, _sound(_echo_mel), {"input": (1, 3, 100, 160)}, cnn=False
    ),
    CorpusModel("onnx/audio_basic_pitch_nmp.onnx", f"{_SOUND}, over synthetic chords", _sound(_music)),
    CorpusModel("onnx/audio_speaker_embedding_lstm.onnx", _SOUND, _sound(_speaker_mel), cnn=False),
    CorpusModel("onnx/denoise_dtln_1.onnx", f"{_SOUND}; states synthetic", _sound(_magnitudes), cnn=False),
    CorpusModel("onnx/denoise_dtln_2.onnx", f"{_SOUND}; states synthetic", _sound(_time_frames), cnn=False),
    CorpusModel(
        "refs/mlperf_resnet8_fp32.tflite",
        _CIFAR,
        _cifar(lambda x: x),
        classes=0,
        twin="ic_resnet8_mlperf",
    ),
    CorpusModel("refs/mlperf_resnet_large_fp32.tflite", _CIFAR, _cifar(lambda x: x), classes=0),
    CorpusModel(
        "refs/mlperf_kws_fp32.tflite",
        "498 labelled keyword MFCC, every fifth for calibration",
        _keywords,
        classes=0,
        twin="kws_dscnn_mlperf_rebuilt",
    ),
    CorpusModel(
        "refs/mlperf_vww96_fp32.tflite",
        _PHOTO,
        _photos((96, 96), 0, 255, nchw=False, count=16),
        classes=0,
        twin="vww_mobilenet96_mlperf",
    ),
    CorpusModel(
        "refs/mlperf_ad01_fp32.tflite",
        f"{_SOUND}; no machine sounds",
        _sound(_machine_mel),
        twin="ad_autoencoder_mlperf",
        cnn=False,
    ),
    CorpusModel(
        "refs/ultraface_rfb320_fp32.tflite", _PHOTO, _photos((320, 240), 127, 128, nchw=False, count=5)
    ),
    CorpusModel("refs/tflm_hello_world_float.tflite", "0..2π, every second value", _sine_inputs, cnn=False),
    CorpusModel(
        "refs/tflm_trained_lstm.tflite", _DIGITS, _mnist(lambda x: x / np.float32(255)), classes=0, cnn=False
    ),
    CorpusModel(
        "refs/mediapipe_face_short_range_fp16.tflite", _PHOTO, _photos((128, 128), 127.5, 127.5, nchw=False)
    ),
    CorpusModel(
        "refs/mediapipe_hand_landmark_lite_fp16.tflite", _PHOTO, _photos((224, 224), 0, 255, nchw=False)
    ),
    CorpusModel("keras/ic_resnet8_mlperf.h5", _CIFAR, _cifar(lambda x: x), classes=0),
    CorpusModel(
        "keras/kws_dscnn_mlperf_rebuilt.keras",
        "498 labelled keyword MFCC, every fifth for calibration",
        _keywords,
        classes=0,
    ),
    CorpusModel(
        "keras/vww_mobilenet96_mlperf.h5", _PHOTO, _photos((96, 96), 0, 255, nchw=False, count=16), classes=0
    ),
    CorpusModel(
        "keras/ad_autoencoder_mlperf.h5", f"{_SOUND}; no machine sounds", _sound(_machine_mel), cnn=False
    ),
    CorpusModel(
        "keras/emotion_mini_xception_fer.hdf5",
        _PHOTO,
        _grey((64, 64), nchw=False, offset=0.5, factor=2),
        classes=0,
    ),
    CorpusModel(
        "keras/gesture_keypoint_mlp.hdf5",
        "2225 labelled rows of landmarks, every fifth for calibration",
        _gestures,
        classes=0,
        cnn=False,
    ),
    CorpusModel("keras/pitch_crepe_tiny.keras", _SOUND, _sound(_pitch_frames), classes=0),
    CorpusModel(
        "refs/gesture_keypoint.tflite",
        "2225 labelled rows of landmarks, every fifth for calibration",
        _gestures,
        classes=0,
        twin="gesture_keypoint_mlp",
        cnn=False,
    ),
    CorpusModel(
        "refs/speech_embedding.tflite", _SOUND, _sound(_embedding_mel), twin="audio_speech_embedding"
    ),
    CorpusModel(
        "refs/basic_pitch_nmp.tflite",
        f"{_SOUND}, over synthetic chords",
        _sound(_music),
        twin="audio_basic_pitch_nmp",
    ),
)

MODELS: Mapping[str, CorpusModel] = {model.name: model for model in _ALL}
