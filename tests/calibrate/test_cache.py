"""Ranges are found again by content, and a cache that does not work never fails a compile."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgec.calibrate.cache import NO_CACHE, SCHEMA, RangeCache, cache_folder, range_key, user_cache
from edgec.calibrate.data import InputSpec, SampleSet, open_samples, random_samples
from edgec.calibrate.preprocess import Preprocess
from edgec.calibrate.ranges import Ranges
from edgec.ir import DType, Graph, Model, Port, TensorType
from edgec.ops import Builder

SPEC = InputSpec("x", (1, 4), np.dtype(np.float32))
KEY = "0" * 64
RANGES = Ranges({"x": (-0.1, float(np.float32(1 / 3))), "y": (0.0, 2.0)}, 3, "mse")


def model(factor: float = 2.0) -> Model:
    graph = Graph()
    x = graph.add_input("x", TensorType((1, 4)))
    build = Builder(graph)
    y = build.op("mul", [x, build.constant(factor)], name="y")
    graph.set_outputs([y])
    return Model(graph, [Port("x", x.shape, DType.FLOAT32)], [Port("y", y.shape, DType.FLOAT32)])


def saved(path: Path, values: np.ndarray) -> SampleSet:
    np.save(path, values)
    return open_samples(path, [SPEC])


def samples(seed: int = 0) -> SampleSet:
    return random_samples([SPEC], 3, seed)


def entry(ranges: dict[str, list[float]], **changed: object) -> str:
    fields = {"schema": SCHEMA, "key": KEY, "samples_sha256": "0" * 64, "samples": 3, "ranges": ranges}
    return json.dumps(fields | changed)


def test_what_was_stored_is_found_again_exactly(tmp_path: Path) -> None:
    """The same floats, so the same bytes come out; and the samples know their digest without being read."""
    cache = RangeCache(tmp_path / "deep" / "ranges")
    assert cache.load(KEY, samples()) is None
    cache.store(KEY, RANGES, samples())
    again = samples()
    assert cache.load(KEY, again) == RANGES
    assert again._digest == samples().sha256
    note = str(cache.note(KEY, RANGES))
    assert note.startswith("W0311 calibration: is skipped: the same model and the same 3 samples")
    assert KEY in note


def test_without_a_folder_nothing_is_kept() -> None:
    NO_CACHE.store(KEY, RANGES, samples())
    assert NO_CACHE.load(KEY, samples()) is None


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        json.dumps({"schema": SCHEMA, "key": KEY}),
        entry({"x": [1]}),
        entry({"x": [2, 1]}),
        entry({"x": [float("nan"), 1]}),
        entry({"x": [0, 1]}, schema=0),
        entry({"x": [0, 1]}, samples_sha256="short"),
    ],
)
def test_damaged_entries_count_as_missing(tmp_path: Path, damage: str) -> None:
    """Half-written, foreign, of another version or with impossible ranges: calibrated again, and replaced."""
    cache = RangeCache(tmp_path)
    (tmp_path / f"{KEY}.json").write_text(damage)
    assert cache.load(KEY, samples()) is None
    cache.store(KEY, RANGES, samples())
    assert cache.load(KEY, samples()) == RANGES


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = RangeCache(tmp_path / "file" / "ranges")
    cache.store(KEY, RANGES, samples())
    assert cache.load(KEY, samples()) is None


def test_a_cancelled_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the file is written: no entry and no temporary file."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        RangeCache(tmp_path).store(KEY, RANGES, samples())
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    """Looking an entry up counts as use; files left by a killed compile go, too."""
    cache = RangeCache(tmp_path)
    keys = [str(number) * 64 for number in range(3)]
    for age, key in enumerate(keys):
        cache.store(key, RANGES, samples())
        os.utime(tmp_path / f"{key}.json", (1000 + age, 1000 + age))
    assert cache.load(keys[0], samples()) == RANGES
    left = tmp_path / ".edgec-0123.tmp"
    left.write_text("half")
    os.utime(left, (1000, 1000))
    size = (tmp_path / f"{keys[0]}.json").stat().st_size
    replace(cache, max_bytes=3 * size).store("3" * 64, RANGES, samples())
    assert {path.name[0] for path in tmp_path.iterdir()} == {"0", "2", "3"}


def test_the_key_depends_on_all_that_decides(tmp_path: Path) -> None:
    """Weights, samples, observer, settings; not on the time or on names of files."""
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    data = saved(tmp_path / "a.npy", values)
    key = range_key(model(), data, "mse")
    assert key == range_key(model(), saved(tmp_path / "a.npy", values), "mse")
    others = {
        range_key(model(3.0), data, "mse"),
        range_key(model(), saved(tmp_path / "a.npy", values + 1), "mse"),
        range_key(model(), open_samples(tmp_path / "a.npy", [SPEC], limit=1), "mse"),
        range_key(model(), data, "minmax"),
        range_key(model(), data, "mse", "rpi4"),
        range_key(model(), samples(), "mse"),
        range_key(model(), samples(1), "mse"),
    }
    assert key not in others and len(others) == 7


def test_the_key_of_images_depends_on_their_preprocessing(tmp_path: Path) -> None:
    """The same files with another mean are other samples."""
    images = pytest.importorskip("PIL.Image")
    images.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(tmp_path / "a.png")
    spec = InputSpec("x", (1, 4, 4, 3), np.dtype(np.float32), "nhwc")
    found = {
        open_samples(tmp_path, [spec], preprocess=Preprocess(mean=mean, std=(255.0,))).identity
        for mean in ((0.0,), (1.0,), (0.0,))
    }
    assert len(found) == 2


def test_arrays_in_memory_are_known_by_their_values() -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    first, same, other = (open_samples(array, [SPEC]) for array in (values, values.copy(), values + 1))
    assert first.identity == same.identity != other.identity


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"EDGEC_CACHE_DIR": "/somewhere"}, "/somewhere"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/edgec"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/edgec"),
        ("linux", {}, "~/.cache/edgec"),
        ("darwin", {}, "~/Library/Caches/edgec"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/edgec/Cache"),
    ],
)
def test_the_folder_follows_the_platform(platform: str, environment: dict[str, str], expected: str) -> None:
    """Relative XDG paths are to be ignored (XDG base directory specification)."""
    assert cache_folder(environment, platform) == Path(expected).expanduser()


def test_an_empty_variable_switches_the_cache_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", "")
    assert user_cache() is NO_CACHE
