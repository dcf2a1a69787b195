"""What was measured, on disk: an interrupted search goes on, and a choice is made once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from edgec.atomic_write import write_text
from edgec.diagnostics import CompileError
from edgec.recipes.evaluate import Score
from edgec.recipes.recipe import Recipe
from edgec.recipes.search import Trial
from edgec.recipes.tune import Tried, Tuning


class NoJournal:
    """Remembers nothing."""

    def get(self, digest: str) -> Trial | None:
        """Return None."""
        return None

    def put(self, trial: Trial) -> None:
        """Forget the trial."""


class FileJournal:
    """Trials in one JSON file; the caller's path stands for model, samples, metric and version.

    A file that is damaged counts as empty, and one that cannot be written is done without: a journal only
    saves time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trials = _read(path)

    def get(self, digest: str) -> Trial | None:
        """Return a trial measured before."""
        return self._trials.get(digest)

    def put(self, trial: Trial) -> None:
        """Remember a trial, at once on disk."""
        self._trials[trial.recipe.digest] = trial
        _write(self._path, [asdict(item) for item in self._trials.values()])


class Memory:
    """One tuning in a JSON file; the caller's path stands for all that decides about it. Without, nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def recall(self) -> Tuning | None:
        """Return what was kept, None where nothing readable is."""
        if self._path is None:
            return None
        try:
            fields = json.loads(self._path.read_text(encoding="utf-8"))
            tried = [Tried(_recipe(item["recipe"]), float(item["gain_db"])) for item in fields["tried"]]
            return Tuning(tuple(tried), tried[fields["best"]].recipe, int(fields["judges"]))
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            return None

    def keep(self, tuning: Tuning) -> None:
        """Remember a tuning, where the folder can be written."""
        if self._path is not None:
            tried = [{"recipe": asdict(item.recipe), "gain_db": item.gain_db} for item in tuning.tried]
            best = [item.recipe for item in tuning.tried].index(tuning.recipe)
            _write(self._path, {"tried": tried, "best": best, "judges": tuning.judges})


def _write(path: Path, fields: object) -> None:
    """Write JSON, or do without."""
    with suppress(OSError, CompileError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(fields, indent=1) + "\n")


def _read(path: Path) -> dict[str, Trial]:
    try:
        trials = [_trial(fields) for fields in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {trial.recipe.digest: trial for trial in trials}


def _trial(fields: dict[str, dict[str, object]]) -> Trial:
    score = fields["score"]
    sqnr = score["sqnr_db"]
    if not isinstance(sqnr, list):
        raise ValueError("sqnr_db is no list")
    made = Score(float(str(score["value"])), float(str(score["drop"])), tuple(map(float, sqnr)))
    size, cost = int(str(fields["size_bytes"])), float(str(fields["cost"]))
    return Trial(_recipe(fields["recipe"]), made, size, cost)


def _recipe(fields: Mapping[str, object]) -> Recipe:
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Recipe(**lists)  # pyright: ignore[reportArgumentType]
