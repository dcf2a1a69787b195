"""The layout keeps its promises on any graph: arrows lead down, boxes do not overlap, results repeat."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.inspection.layered import lay_out


def random_arrows(boxes: int, seed: int) -> list[tuple[int, int]]:
    random = np.random.default_rng(seed)
    pairs = {tuple(sorted(map(int, random.choice(boxes, 2, replace=False)))) for _ in range(2 * boxes)}
    return sorted((a, b) for a, b in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_arrows_lead_down_and_boxes_stand_apart(seed: int) -> None:
    arrows = random_arrows(30, seed)
    widths = [80.0 + 7 * (index % 5) for index in range(30)]
    layout = lay_out(widths, arrows)
    assert all(layout.layer[start] < layout.layer[end] for start, end in arrows)
    for a in range(30):
        for b in range(a):
            if layout.layer[a] == layout.layer[b]:
                assert abs(layout.x[a] - layout.x[b]) >= (widths[a] + widths[b]) / 2
    assert min(layout.x[box] - widths[box] / 2 for box in layout.x) >= -1e-9


@pytest.mark.parametrize("seed", range(5))
def test_arrows_pass_every_layer_once(seed: int) -> None:
    """So a long arrow runs beside the boxes it skips, not through them."""
    arrows = random_arrows(20, seed)
    layout = lay_out([80.0] * 20, arrows)
    for (start, end), path in layout.paths.items():
        layers = [layer for _, layer in path]
        assert layers == list(range(layout.layer[start], layout.layer[end] + 1))
        for x, layer in path[1:-1]:
            beside = (box for box in layout.x if layout.layer[box] == layer)
            assert all(abs(layout.x[box] - x) >= 40.0 for box in beside)


def test_a_chain_is_straight() -> None:
    layout = lay_out([80.0, 120.0, 90.0], [(0, 1), (1, 2)])
    assert layout.x[0] == pytest.approx(60.0)  # half of the widest
    assert layout.x[1] == pytest.approx(60.0)
    assert layout.x[2] == pytest.approx(60.0)


def test_an_input_stands_above_its_first_reader() -> None:
    layout = lay_out([80.0] * 5, [(0, 2), (2, 3), (3, 4), (1, 4)])
    assert layout.layer[1] == layout.layer[4] - 1


def test_nothing_to_draw() -> None:
    assert lay_out([], []).x == {}


def test_the_same_graph_gives_the_same_picture() -> None:
    arrows = random_arrows(40, 7)
    assert lay_out([80.0] * 40, arrows) == lay_out([80.0] * 40, arrows)
