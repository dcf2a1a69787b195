"""`edgec inspect`: a person at a terminal, a script that reads JSON, a page that loads nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import helper

from edgec.cli import main
from edgec.inspection import inspect_model
from edgec.inspection.html import render_html
from tests.support.onnx_models import graph_model

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "digits_cnn.onnx"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)], env={"COLUMNS": "160"})


def svg_of(page: str) -> ElementTree.Element:
    found = re.search(r"<svg.*</svg>", page, re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def test_the_terminal_shows_ports_operators_and_boards() -> None:
    result = run(SAMPLE)
    assert result.exit_code == 0
    for word in ("image", "batch × 1 × 8 × 8", "nchw", "BatchNormalization", "CONV_2D", "cortex-m7", "opset"):
        assert word in result.output


def test_json_alone_goes_to_standard_output() -> None:
    result = run(SAMPLE, "--json", "-")
    assert json.loads(result.stdout)["format"] == "onnx"


def test_files_are_written(tmp_path: Path) -> None:
    page, facts = tmp_path / "a.html", tmp_path / "a.json"
    assert run(SAMPLE, "--html", page, "--json", facts).exit_code == 0
    assert json.loads(facts.read_text())["name"] == "digits_cnn.onnx"
    assert "<svg" in page.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.json"]


def test_a_folder_that_is_not_there_is_found_first(tmp_path: Path) -> None:
    result = run(SAMPLE, "--html", tmp_path / "none" / "a.html")
    assert result.exit_code == 1
    assert "E0501" in result.output


def test_no_model_is_exit_1(tmp_path: Path) -> None:
    result = run(tmp_path / "none.onnx")
    assert result.exit_code == 1
    assert "E0101" in result.output


def test_the_page_loads_and_runs_nothing() -> None:
    page = render_html(inspect_model(SAMPLE))
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "prefers-color-scheme: dark" in page


def test_every_box_has_a_panel_with_its_details() -> None:
    """17 operators, one input, one output; a click on each leads to a panel of the page."""
    page = render_html(inspect_model(SAMPLE))
    svg = svg_of(page)
    links = [item.attrib["href"] for item in svg.iter("{http://www.w3.org/2000/svg}a")]
    assert len(links) == 19
    assert all(f'id="{link[1:]}"' in page for link in links)
    assert "kernel_shape" in page


def test_boxes_lie_inside_the_picture() -> None:
    svg = svg_of(render_html(inspect_model(SAMPLE)))
    for box in svg.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + width <= float(svg.attrib["width"])
        assert y + height <= float(svg.attrib["height"])


@pytest.mark.parametrize("name", ["</text><script>alert(1)</script>", "[bold]\x1b[31m", 'a"b', "\u202eabc"])
def test_names_from_the_model_are_shown_not_interpreted(name: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", [name], ["y"], name=name)]
    found = inspect_model(graph_model(nodes, {name: np.zeros((1, 4), np.float32)}, ["y"]))
    page = render_html(found)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    svg_of(page)
    assert json.loads(found.to_json())["inputs"][0]["name"] == name
