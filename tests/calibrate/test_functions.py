"""Samples from the user's own functions: forms accepted, errors in them, repeatability."""

import sys

import numpy as np
import pytest

from edgec.calibrate.data import InputSpec, open_samples
from edgec.diagnostics import CompileError

ONE = InputSpec("x", (1, 3), np.dtype(np.float32))
TWO = InputSpec("y", (1, 2), np.dtype(np.int32))
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.arange(8).reshape(4, 2)


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Write a module with a name of its own into the current folder."""
    monkeypatch.chdir(tmp_path)
    name = f"calibration_{abs(hash(request.node.name))}"

    def write(source):
        (tmp_path / f"{name}.py").write_text("import numpy as np\n" + source)
        return name

    yield write
    sys.modules.pop(name, None)


def error(source, inputs=(ONE,), **options):
    with pytest.raises(CompileError) as caught:
        list(open_samples(source, inputs, **options))
    return str(caught.value)


FORMS = {
    "yield arrays": lambda: iter(ROWS),
    "yield with batch axis": lambda: (row[None] for row in ROWS),
    "yield dicts": lambda: ({"x": row} for row in ROWS),
    "yield by position": lambda: ({"in0": row} for row in ROWS),
    "yield lists of one array": lambda: ([row[None]] for row in ROWS),
    "yield plain numbers": lambda: (row.tolist() for row in ROWS),
    "list of arrays": lambda: list(ROWS),
    "stacked array": lambda: ROWS,
    "dict of stacked arrays": lambda: {"x": ROWS},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_for_one_input(form):
    """Every documented form gives the same samples, on every pass, and the same digest."""
    samples = open_samples(FORMS[form], [ONE])
    assert len(samples) == 4
    for _ in range(2):
        assert np.array_equal(np.concatenate([sample["x"] for sample in samples]), ROWS)
    assert samples.sha256 == open_samples(ROWS, [ONE]).sha256


@pytest.mark.parametrize(
    "function",
    [
        lambda: ({"y": label, "x": row} for row, label in zip(ROWS, LABELS, strict=True)),
        lambda: zip(ROWS, LABELS, strict=True),
        lambda: {"in1": LABELS, "in0": ROWS},
    ],
)
def test_forms_for_two_inputs(function):
    """Dicts go by name, tuples by the inputs' order."""
    samples = list(open_samples(function, [ONE, TWO]))
    assert np.array_equal(np.concatenate([sample["y"] for sample in samples]), LABELS)
    assert samples[0]["y"].dtype == np.int32


def test_module_function(module, tmp_path):
    """A module in the current folder is found, may import its neighbours late, and leaves sys.path alone."""
    (tmp_path / "neighbour_of_calibration.py").write_text("COUNT = 3\n")
    name = module(
        "def samples():\n"
        "    from neighbour_of_calibration import COUNT\n"
        "    for index in range(COUNT):\n"
        "        yield np.full(3, index, np.float32)\n"
    )
    before = list(sys.path)
    samples = open_samples(f"{name}:samples", [ONE])
    assert [float(sample["x"].max()) for sample in samples] == [0, 1, 2]
    assert str(samples.describe()) == f"3 samples from {name}:samples (called anew for every pass)"
    assert sys.path == before
    assert len(open_samples(f"{name}:samples", [ONE], limit=2)) == 2


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def samples():\n    raise KeyError('data/missing.csv')\n", "raised KeyError: 'data/missing.csv'"),
        ("def samples():\n    yield np.zeros(3)\n    1 / 0\n", "raised ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('stop')\n", "raised SystemExit: stop"),
        ("def samples(:\n", "raised SyntaxError"),
        ("import no_such_package_anywhere\n", "there is no module 'no_such_package_anywhere'"),
        ("samples = 3\n", "has no function 'samples'"),
        ("def samples():\n    return 3\n", "returned int"),
        ("def samples():\n    return None\n", "returned NoneType"),
        ("def samples(path):\n    return 3\n", "raised TypeError"),
    ],
)
def test_errors_inside_become_diagnostics(module, source, text):
    """The exception's text is shown with where it came from; there is no traceback."""
    reference = f"{module(source)}:samples"
    message = error(reference)
    assert message.startswith(f"E0310 {reference}: ") and text in message and "Traceback" not in message


def test_the_line_of_the_error_is_named(module):
    """The innermost line of the user's own file is where to look."""
    name = module("def helper():\n    return [][1]\n\ndef samples():\n    return helper()\n")
    assert f"({name}.py line 3)" in error(f"{name}:samples")


def test_missing_module():
    """A path that does not exist but reads like module:function is taken as one."""
    message = error("no_such_module_anywhere:samples")
    assert "there is no module 'no_such_module_anywhere'. It was looked for in the current folder" in message
    assert "E0301" in error("no/such/folder:samples")


@pytest.mark.parametrize(
    ("item", "code", "text"),
    [
        (np.zeros(4), "E0304", "sample 1"),
        ({"z": np.zeros(3)}, "E0303", "gives 'z', but not input 'x'"),
        ([np.zeros(3), np.zeros(3)], "E0303", "gives 2 arrays for 1 inputs"),
        (["a", "b"], "E0306", "sample 1"),
        ([[1, 2], [3]], "E0310", "that is no array"),
        (None, "E0306", "Python objects"),
        (np.full(3, np.nan), "E0307", "sample 1"),
    ],
)
def test_wrong_items_name_their_sample(item, code, text):
    """Sample 0 is right; the message is about sample 1."""
    message = error(lambda: [np.zeros(3), item])
    assert message.startswith(code) and text in message


def test_empty_and_changing_functions():
    """No samples, fewer on the second pass, or other values are errors: the build must be repeatable."""
    assert "E0308" in error(list)
    one_shot = iter([ROWS[0], ROWS[1]])
    assert "E0315" in error(lambda: one_shot)
    generator = np.random.default_rng()
    samples = open_samples(lambda: [generator.standard_normal(3)], [ONE])
    assert len(list(samples)) == 1
    with pytest.raises(CompileError, match=r"E0315 .*gives other samples on every pass.*Seed"):
        list(samples)


def test_endless_generators_need_a_limit():
    """With a limit, only that many samples are drawn."""

    def endless():
        while True:
            yield ROWS[0]

    assert len(list(open_samples(endless, [ONE], limit=5))) == 5
