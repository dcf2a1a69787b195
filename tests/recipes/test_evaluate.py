"""Evaluation data: a file that is not there, what is no labelled data, and what is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgec.calibrate.data import InputSpec
from edgec.diagnostics import CompileError, Diagnostic
from edgec.recipes.evaluate import open_evaluation

INPUTS = [InputSpec("x", (1, 3), np.dtype(np.float32))]
ROWS = np.zeros((4, 3), np.float32)


def refused(source: Path | dict[str, np.ndarray]) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        open_evaluation(source, INPUTS)
    (problem,) = caught.value.diagnostics
    return problem


def test_a_missing_file_is_a_wrong_path(tmp_path: Path) -> None:
    """There is nothing to save again: the path is what to look at."""
    problem = refused(tmp_path / "no.npz")
    assert (problem.code, problem.where) == ("E0615", str(tmp_path / "no.npz"))
    assert problem.what == "cannot be opened: No such file or directory"
    assert problem.next_step.startswith("Check the path given to --eval")
    assert "again" not in problem.next_step


def test_a_folder_is_no_labelled_data(tmp_path: Path) -> None:
    """Calibration takes folders of images, evaluation needs labels: the message says what it takes."""
    problem = refused(tmp_path)
    assert (problem.code, problem.what) == ("E0615", "is a folder")
    assert ".npz" in problem.next_step


@pytest.mark.skipif(os.geteuid() == 0, reason="root opens every file")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, x=ROWS, labels=np.zeros(4))
    path.chmod(0)
    assert refused(path).what == "cannot be opened: Permission denied"


def test_a_damaged_file_has_to_be_saved_again(tmp_path: Path) -> None:
    """It is there and opens, but is no archive: here the old advice is right."""
    path = tmp_path / "e.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    problem = refused(path)
    assert problem.code == "E0302"
    assert problem.next_step == "Save the arrays again."


def test_labels_are_needed_one_for_each_sample(tmp_path: Path) -> None:
    assert refused({"x": ROWS}).what == "needs one array of labels, and has 'x'"
    assert refused({"x": ROWS, "labels": np.zeros(3)}).what == "has 3 labels for 4 samples"


def test_samples_and_labels_of_a_file(tmp_path: Path) -> None:
    """Rows in order, labels under any of their usual names."""
    np.savez(tmp_path / "e.npz", x=ROWS + np.arange(4, dtype=np.float32)[:, None], y=np.arange(4))
    found = open_evaluation(tmp_path / "e.npz", INPUTS)
    assert [float(sample["x"][0, 0]) for sample in found.samples] == [0, 1, 2, 3]
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2, 3]
    assert found.described.startswith("4 labelled samples of ")
