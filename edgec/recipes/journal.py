"""What a search has measured so far, on disk, so that an interrupted search goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from edgec.atomic_write import write_text
from edgec.diagnostics import CompileError
from edgec.recipes.evaluate import Score
from edgec.recipes.recipe import Recipe
from edgec.recipes.search import Trial


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
        text = json.dumps([asdict(item) for item in self._trials.values()], indent=1)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, text + "\n")
        except (OSError, CompileError):
            return


def _read(path: Path) -> dict[str, Trial]:
    try:
        trials = [_trial(fields) for fields in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {trial.recipe.digest: trial for trial in trials}


def _trial(fields: dict[str, dict[str, object]]) -> Trial:
    lists = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields["recipe"].items()
    }
    score = fields["score"]
    sqnr = score["sqnr_db"]
    if not isinstance(sqnr, list):
        raise ValueError("sqnr_db is no list")
    made = Score(float(str(score["value"])), float(str(score["drop"])), tuple(map(float, sqnr)))
    size, cost = int(str(fields["size_bytes"])), float(str(fields["cost"]))
    return Trial(Recipe(**lists), made, size, cost)  # pyright: ignore[reportArgumentType]
