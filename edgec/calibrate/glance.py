"""A first look at calibration samples, as every compile takes it: what is plainly wrong is said at once.

Eight samples are read and run, whatever there is; `edgec calibrate-audit` looks at all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from edgec.calibrate import problems
from edgec.calibrate.other_scale import suspicions_that_matter
from edgec.calibrate.ranges import collect_histograms
from edgec.calibrate.samples import Sample, SampleSet
from edgec.calibrate.verdict import GOOD_COUNT, LEAST_COUNT
from edgec.diagnostics import Diagnostic
from edgec.ir import Model

LOOKED_AT = 8

_ADVICE = f"Give {GOOD_COUNT} or more that differ as the device will see them."


def glance(
    model: Model,
    samples: SampleSet,
    threads: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Diagnostic]:
    """Yield a warning for each: few samples, samples of one value, equal ones, values in the wrong scale.

    `model` is the float model, in the state that will be quantized.
    """
    source, count = samples.describe().source, len(samples)
    if count < LEAST_COUNT:
        what = f"{problems.counted(count, 'sample')} to take ranges from"
        why = "Each one decides about ranges, and the device will see values outside of them."
        yield problems.warning(problems.FEW, source, what, why, _ADVICE)
    first = list(islice(samples, LOOKED_AT))
    looked = f"the first {problems.counted(len(first), 'sample')}"
    flat = sum(map(_is_flat, first))
    if flat and 2 * flat >= len(first):
        what = f"{flat} of {looked} show nothing: one value all over"
        yield problems.warning(problems.FLAT, source, what, "They give no ranges.", _ADVICE)
    elif len(first) > 2 and len({_content(sample) for sample in first}) * 2 <= len(first):
        what = f"{looked} repeat each other"
        yield problems.warning(problems.REPEATED, source, what, "Copies tell nothing new.", _ADVICE)
    if flat < len(first):
        histograms = collect_histograms(model, first, threads=threads, progress=progress)
        for found in suspicions_that_matter(model, histograms, first):
            yield found.diagnostic()


def _is_flat(sample: Sample) -> bool:
    """Whether every input that has more than one element holds one value."""
    wide = [values for values in sample.values() if values.size > 1]
    return bool(wide) and all(values.min() == values.max() for values in wide)


def _content(sample: Sample) -> bytes:
    return b"".join(sample[name].tobytes() for name in sorted(sample))
