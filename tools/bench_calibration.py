"""How fast calibration is, and how much memory it needs.

    python tools/bench_calibration.py speed MODEL… [--samples 200] [--peer]
    python tools/bench_calibration.py memory [--samples 10000]
    python tools/bench_calibration.py compile [--samples 10000]

`speed` runs the float model plainly and in calibration, sample by sample in turn, and compares the processor
time of the one thread that does the work: what else the machine does hits both alike. `--peer` adds how many
times as long ai-edge-quantizer takes for the same model and samples (skipped where it is not installed).
`memory` streams images of 224x224x3 through a small MobileNet and shows the peak resident memory. `compile`
shows that of a whole int8 compile of the same model in a process of its own, with all that defaults do
(choosing among recipes, repairs, verification) and a function that yields the images.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

import edgec
from edgec.calibrate.data import InputSpec, random_samples
from edgec.calibrate.ranges import collect_histograms, collect_ranges
from edgec.calibrate.watch import Sample, feed
from edgec.diagnostics import CompileError, Diagnostics
from edgec.emit import emit
from edgec.ir import DType, Graph, Model, Port, TensorType
from edgec.kernels import Runner
from edgec.ops import Builder
from edgec.ops.conv import (
    ActivationFunctionType,
    Conv2DAttributes,
    DepthwiseConv2DAttributes,
    Padding,
)
from edgec.options import CompileOptions
from edgec.pipeline import integer_pipeline, run_passes
from edgec.progress import Stopwatch

MEMORY_LIMIT_MB = 600


class Turns:
    """Samples that time a plain run of the model just before each goes to calibration."""

    def __init__(self, model: Model, samples: list[Sample], count: int) -> None:
        self._runner = Runner(emit(model).to_bytes())
        self._feeds = [[feed(port, sample) for port in model.inputs] for sample in samples]
        self._samples, self._count = samples, count
        self.plain: list[float] = []
        self.calibrating: list[float] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        for index in range(self._count):
            begin = time.thread_time()
            self._runner.run(self._feeds[index % len(self._feeds)])
            given = time.thread_time()
            yield self._samples[index % len(self._samples)]
            self.plain.append(given - begin)
            self.calibrating.append(time.thread_time() - given)

    def ratio(self) -> float:
        """Return mean calibration over mean plain time; the mean, as values are looked at in bursts."""
        return statistics.fmean(self.calibrating[1:]) / statistics.fmean(self.plain[1:])


def float_model(path: Path, shapes: dict[str, tuple[int, ...]]) -> Model:
    """Return the model as calibration gets it in a compile."""
    from edgec import stages

    options = CompileOptions(target="generic", precision="int8", input_shapes=shapes)
    job = stages.Job(options, Diagnostics(), Stopwatch())
    _, profile = stages.choose_target(job)
    ir = stages.import_and_optimize(job, stages.load(job, path), profile)
    return run_passes(ir, integer_pipeline(profile))


def speed(paths: list[Path], count: int, shapes: dict[str, tuple[int, ...]], peer: bool) -> None:
    """Print a line per model: milliseconds of a plain run, and calibration as a multiple of it."""
    print(f"{'model':34} {'plain ms':>9} {'extremes':>9} {'histograms':>11}" + ("  peer" if peer else ""))
    for path in paths:
        try:
            model = float_model(path, shapes)
        except CompileError as error:
            print(f"{path.stem:34} {error.diagnostics[0]}")
            continue
        specs = [InputSpec(p.name, p.shape, p.dtype.numpy) for p in model.inputs]
        samples: list[Sample] = list(random_samples(specs, 8))
        ratios: list[float] = []
        for values in (False, True):
            turns = Turns(model, samples, count)
            collect_histograms(model, turns, threads=1, values=values)
            ratios.append(turns.ratio())
        plain = statistics.median(turns.plain) * 1e3
        line = f"{path.stem:34} {plain:9.3f} {ratios[0]:8.2f}x {ratios[1]:10.2f}x"
        print(line + (f"  {_peer(model, samples)}" if peer else ""), flush=True)


def _peer(model: Model, samples: list[Sample]) -> str:
    """Return how many times as long ai-edge-quantizer takes for a sample, measured in turns with ours."""
    try:
        peer = import_module("ai_edge_quantizer")
    except ImportError:
        return "not installed"
    repeated = [*samples] * 8  # what either needs to set up counts little
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.tflite"
        path.write_bytes(emit(model).to_bytes())
        feeds = [{p.name: feed(p, s) for p in model.inputs} for s in repeated]
        theirs, ours = [], []
        for _ in range(3):
            tool = peer.Quantizer(str(path), peer.recipe.static_wi8_ai8())
            begin = time.process_time()
            tool.calibrate({"serving_default": feeds}, num_threads=1)
            given = time.process_time()
            collect_histograms(model, repeated, threads=1)
            theirs.append(given - begin)
            ours.append(time.process_time() - given)
    return f"{statistics.median(theirs) / statistics.median(ours):.1f}x"


def memory(count: int) -> bool:
    """Stream so many samples and say what was needed; True within the limit."""
    model = small_mobilenet()
    specs = [InputSpec(p.name, p.shape, p.dtype.numpy) for p in model.inputs]
    peaks: list[float] = []
    begin = time.perf_counter()

    def tell(done: int) -> None:
        if done in (100, 1000) or done % 2000 == 0:
            peaks.append(_peak_mb())
            left = (time.perf_counter() - begin) / done * (count - done)
            print(f"{done:6} samples  peak {peaks[-1]:6.0f} MB  {left:5.0f} s left", flush=True)

    collect_ranges(model, random_samples(specs, count), "mse", threads=1, progress=tell)
    print(f"{count} samples: peak resident memory {_peak_mb():.0f} MB (limit {MEMORY_LIMIT_MB} MB)")
    return _peak_mb() < MEMORY_LIMIT_MB


def compile_memory(count: int) -> bool:
    """Compile with so many samples and say what was needed; True within the limit."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.tflite").write_bytes(emit(small_mobilenet()).to_bytes())
        (Path(folder) / "images.py").write_text(_IMAGES.format(count=count))
        command = [sys.executable, "-m", "edgec", "compile", "net.tflite", "--int8", "--no-cache"]
        places = [str(Path(edgec.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
        begin = time.perf_counter()
        subprocess.run([*command, "--calibration", "images:samples"], cwd=folder, env=environment, check=True)
    peak = _peak_mb(resource.RUSAGE_CHILDREN)
    seconds = time.perf_counter() - begin
    print(f"compile with {count} samples: {seconds:.0f} s, peak resident memory {peak:.0f} MB", end=" ")
    print(f"(limit {MEMORY_LIMIT_MB} MB)")
    return peak < MEMORY_LIMIT_MB


_IMAGES = """
import numpy as np

def samples():
    for index in range({count}):
        random = np.random.default_rng(index)
        coarse = random.random((28, 28, 3), np.float32)
        yield coarse.repeat(8, 0).repeat(8, 1) - random.random(dtype=np.float32)
"""
"""Images of 8x8 patches, each brighter or darker than others: made as fast as they are read."""


def _peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    peak = resource.getrusage(who).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def small_mobilenet() -> Model:
    """Return a MobileNet of seven depthwise-separable blocks for 224x224x3, with seeded random weights."""
    random = np.random.default_rng(0)
    graph = Graph()
    x = graph.add_input("image", TensorType((1, 224, 224, 3)))
    build = Builder(graph)
    relu6 = ActivationFunctionType.RELU6

    def weights(*shape: int) -> np.ndarray:
        fan_in = int(np.prod(shape[1:]))
        return (random.standard_normal(shape) * (2 / fan_in) ** 0.5).astype(np.float32)

    def convolution(x, channels: int, size: int, stride: int):
        kernel = build.constant(weights(channels, size, size, x.shape[3]))
        bias = build.constant(np.zeros(channels, np.float32))
        return build.op("conv_2d", [x, kernel, bias], Conv2DAttributes(Padding.SAME, stride, stride, relu6))

    x = convolution(x, 16, 3, 2)
    for channels, stride in ((32, 1), (48, 2), (64, 1), (96, 2), (128, 1), (192, 2), (256, 2)):
        depth = x.shape[3]
        kernel = build.constant(weights(1, 3, 3, depth) * depth**0.5)
        bias = build.constant(np.zeros(depth, np.float32))
        settings = DepthwiseConv2DAttributes(Padding.SAME, stride, stride, 1, relu6)
        x = build.op("depthwise_conv_2d", [x, kernel, bias], settings)
        x = convolution(x, channels, 1, 1)
    x = build.op("mean", [x, build.constant([1, 2])])
    x = build.op(
        "fully_connected", [x, build.constant(weights(100, 256)), build.constant(np.zeros(100, np.float32))]
    )
    graph.set_outputs([x])
    ports = [Port("image", (1, 224, 224, 3), DType.FLOAT32)], [Port("scores", x.shape, x.dtype)]
    return Model(graph, *ports)


def main() -> int:
    """Run the tool; the exit code is 1 where memory passed its limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    timing = commands.add_parser("speed")
    timing.add_argument("models", nargs="+", type=Path)
    timing.add_argument("--samples", type=int, default=200)
    timing.add_argument("--shape", help="of the only input: 1,3,320,320")
    timing.add_argument("--peer", action="store_true")
    streaming = commands.add_parser("memory")
    streaming.add_argument("--samples", type=int, default=10_000)
    compiling = commands.add_parser("compile")
    compiling.add_argument("--samples", type=int, default=10_000)
    chosen = parser.parse_args()
    if chosen.command == "memory":
        return 0 if memory(chosen.samples) else 1
    if chosen.command == "compile":
        return 0 if compile_memory(chosen.samples) else 1
    shapes = {"": tuple(map(int, chosen.shape.split(",")))} if chosen.shape else {}
    speed(chosen.models, chosen.samples, shapes, chosen.peer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
