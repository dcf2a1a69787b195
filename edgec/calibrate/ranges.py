"""Collects activation ranges by running the float model in LiteRT, the runtime it is made for.

    samples ──instrumented model──▶ Histograms ──observer──▶ Ranges ──▶ quantize_int8

The ranges belong to exactly the tensors that quantization will turn into integers. One pass collects all that
any observer needs. The work a sample costs beyond a plain run is kept small: see `instrument`; and what comes
out of the graph is gathered for many samples before it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass

from edgec.calibrate import problems
from edgec.calibrate.choose import OBSERVER_NAMES, needs_values, pick_ranges
from edgec.calibrate.statistics import Histograms
from edgec.calibrate.watch import Sample, Watch
from edgec.ir import Model

Progress = Callable[[int], None]

VALUES_WANTED = 1 << 17
"""Values that a tensor's histogram should get in all; more samples give fewer each."""
MOST_VALUES, LEAST_VALUES, USUAL_VALUES = 1 << 14, 1 << 8, 1 << 9
"""Bounds of the values per tensor and sample, and their number where nobody knows how many samples come."""


@dataclass(frozen=True, slots=True)
class Ranges(Mapping[str, tuple[float, float]]):
    """(min, max) by value name, from `samples` samples seen by `observer`."""

    by_name: Mapping[str, tuple[float, float]]
    samples: int
    observer: str = "minmax"

    def __getitem__(self, name: str) -> tuple[float, float]:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready fields; floats survive JSON exactly."""
        ranges = {name: list(found) for name, found in self.by_name.items()}
        return {"observer": self.observer, "samples": self.samples, "ranges": ranges}

    @staticmethod
    def from_dict(fields: Mapping[str, object]) -> Ranges:
        """Return the ranges `to_dict` wrote; ValueError where a field is missing or of the wrong kind."""
        ranges, samples = fields.get("ranges"), fields.get("samples")
        if not isinstance(ranges, Mapping) or not isinstance(samples, int):
            raise ValueError("'ranges' has to be a table and 'samples' a number")
        values = {str(name): (float(pair[0]), float(pair[1])) for name, pair in ranges.items()}
        return Ranges(values, samples, str(fields.get("observer", "minmax")))


def collect_ranges(
    model: Model,
    samples: Iterable[Sample],
    observer: str = "minmax",
    threads: int = 2,
    progress: Progress | None = None,
) -> Ranges:
    """Run every sample through the float model and return the ranges that `quantize_int8` needs.

    Args:
        model: the float model, in the state that will be quantized.
        samples: arrays by input name, each in the source model's layout (`Port.shape`).
        observer: a name in `OBSERVER_NAMES`.
        threads: threads of the kernels; the result does not depend on them.
        progress: called with the number of samples done, after each.

    Raises:
        CompileError: E0303/E0304/E0308 for samples that do not fit, E0314 for an unknown observer, E0316 for
            NaN or infinity in a tensor.
    """
    _check_observer(observer)
    found = collect_histograms(
        model, samples, threads=threads, progress=progress, values=needs_values(observer)
    )
    return choose_ranges(found, observer)


def collect_histograms(
    model: Model,
    samples: Iterable[Sample],
    *,
    threads: int = 2,
    progress: Progress | None = None,
    values: bool = True,
) -> Histograms:
    """Run every sample through the float model and return what all observers need; see `collect_ranges`.

    Without `values` only extremes are collected: all that `minmax` and `average` look at.
    """
    watch = Watch(model, _values_per_sample(samples) if values else 0, threads)
    for count, sample in enumerate(samples, 1):
        watch.see(sample)
        if progress is not None:
            progress(count)
    return watch.finish()


def choose_ranges(histograms: Histograms, observer: str = "minmax", bits: int = 8) -> Ranges:
    """Return the ranges that an observer takes from one pass over the samples.

    Args:
        histograms: what `collect_histograms` returned, with values unless the observer is minmax or average.
        observer: a name in `OBSERVER_NAMES`; `auto` starts from min/max.
        bits: of the activations, 8 or 16: no range is wider than what readers can tell apart in these.
    """
    _check_observer(observer)
    return Ranges(pick_ranges(histograms, observer, bits), histograms.samples, observer)


def _check_observer(observer: str) -> None:
    if observer not in OBSERVER_NAMES:
        known = f"Known: {', '.join(OBSERVER_NAMES)}."
        raise problems.fail(problems.OPTION, "calibration", f"observer '{observer}'", known)


def _values_per_sample(samples: Iterable[Sample]) -> int:
    """Return how many values of a tensor to keep of each sample; their order plays no part."""
    if not isinstance(samples, Sized):
        return USUAL_VALUES
    return min(max(VALUES_WANTED // max(len(samples), 1), LEAST_VALUES), MOST_VALUES)
