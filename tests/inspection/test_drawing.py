"""What is drawn: one box an operator, arrows along activations, long chains as one."""

from __future__ import annotations

from edgec.frontends.outline import Outline, SourceOperator, SourceTensor
from edgec.inspection.drawing import collapsed, draw

X = SourceTensor("x", (1, 8), "float32")


def chain(length: int) -> Outline:
    operators = [
        SourceOperator("Relu", f"relu{i}", ("x" if i == 0 else f"t{i}", "w"), (f"t{i + 1}",))
        for i in range(length)
    ]
    out = SourceTensor(f"t{length}", (1, 8), "float32")
    return Outline((X,), (out,), tuple(operators), {"x": X}, frozenset(("w",)))


def residual() -> Outline:
    operators = (
        SourceOperator("Conv", "a", ("x",), ("a",)),
        SourceOperator("Relu", "b", ("a",), ("b",)),
        SourceOperator("Conv", "c", ("b",), ("c",)),
        SourceOperator("Add", "d", ("c", "a"), ("y",)),
    )
    return Outline((X,), (SourceTensor("y", (1, 8), "float32"),), operators, {"x": X})


def test_constants_are_no_boxes() -> None:
    drawing = draw(chain(2))
    assert [box.role for box in drawing.boxes] == ["input", "operator", "operator", "output"]
    assert drawing.arrows == ((0, 1), (1, 2), (2, 3))
    assert ("reads", "constant w") in drawing.boxes[1].lines


def test_what_is_computed_from_constants_is_no_box_unless_it_fails() -> None:
    operators = (
        SourceOperator("Constant", "k", (), ("k",)),
        SourceOperator("Cast", "cast", ("k",), ("k2",)),
        SourceOperator("Add", "sum", ("x", "k2"), ("y",)),
    )
    outline = Outline((X,), (SourceTensor("y", (1, 8), "float32"),), operators, {"x": X})
    assert [box.title for box in draw(outline).boxes] == ["x", "Add", "y"]
    assert [box.title for box in draw(outline, ["cast"]).boxes] == ["x", "Cast", "Add", "y"]


def test_big_graphs_collapse_their_chains() -> None:
    """Input, one run, output: and the run still lists its members."""
    drawing = draw(chain(500), collapse_above=400)
    assert [box.role for box in drawing.boxes] == ["input", "run", "output"]
    assert drawing.arrows == ((0, 1), (1, 2))
    assert drawing.boxes[1].lines[0] == ("operators", "500")
    assert len(drawing.boxes[1].lines) == 501


def test_small_graphs_do_not() -> None:
    assert len(draw(chain(20)).boxes) == 22


def test_a_branch_ends_a_chain() -> None:
    """a has two readers and d two producers: only b and c are a run."""
    drawing = collapsed(draw(residual()))
    assert [box.role for box in drawing.boxes] == ["input", "operator", "run", "operator", "output"]
    assert set(drawing.arrows) == {(0, 1), (1, 2), (2, 3), (1, 3), (3, 4)}


def test_what_an_error_names_is_marked_also_inside_a_run() -> None:
    drawing = draw(residual(), blocked=["b"])
    assert [box.is_blocked for box in drawing.boxes] == [False, False, True, False, False, False]
    assert collapsed(drawing).boxes[2].is_blocked


def test_an_input_that_nothing_reads_and_an_output_that_is_an_input() -> None:
    same = Outline((X, SourceTensor("unused", None, "float32")), (X,), (), {"x": X})
    assert draw(same).arrows == ((0, 2),)
