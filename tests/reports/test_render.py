"""Renderers: the right one per suffix, true numbers in each, and no name that acts as markup."""

from __future__ import annotations

import html.parser
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as Xml

import pytest
from markdown_it import MarkdownIt

from edgec.diagnostics import CompileError
from edgec.reports.escape import markdown_code, markdown_text, visible
from edgec.reports.html import RangeAxis, range_axis, render_html
from edgec.reports.junit import render_junit
from edgec.reports.markdown import render_markdown
from edgec.reports.model import (
    Breaker,
    FloatOp,
    Gate,
    Partitions,
    PixelFeed,
    PrunedLayer,
    Pruning,
    Quantization,
    Report,
    ReportedDiagnostic,
    TensorInfo,
    TensorRange,
    TransposeSite,
    TriedRecipe,
)
from edgec.reports.render import RENDERERS, renderer_for, write_report


@pytest.mark.parametrize("suffix", sorted(RENDERERS))
@pytest.mark.parametrize("name", ["FLOAT", "INT8", "EXACT"])
def test_every_form_renders_every_report(samples: ModuleType, tmp_path: Path, suffix: str, name: str) -> None:
    """Sections of stages that did not run are absent, not an error; the same report gives the same bytes."""
    report: Report = getattr(samples, name)
    path = tmp_path / f"report{suffix.upper()}"
    write_report(report, path)
    text = path.read_bytes().decode("utf-8")
    assert "digits.onnx" in text
    assert text == RENDERERS[suffix](report)


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_recipes_and_repairs_are_told(samples: ModuleType, suffix: str) -> None:
    """What was tried, what it won, what was chosen, and what a search has to choose from, in numbers."""
    trials = (
        TriedRecipe("int8 minmax", 0.75, 31.0, 34_560, 2.0),
        TriedRecipe("int8 minmax +1 int16", 0.25, 38.5, 34_600, 5.0),
    )
    quantization = replace(samples.INT8.quantization, trials=trials)
    report = RENDERERS[suffix](replace(samples.INT8, quantization=quantization))
    text = re.sub(r"\\([-+.])", r"\1", report)
    for words in ("+4.2 dB", "chosen", "11 nodes better, the median one by 3.1 dB", "2.50x", "38.5 dB"):
        assert words in text
    assert "equalize: no node better" in text


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_an_unknown_suffix_lists_the_known_ones(name: str) -> None:
    with pytest.raises(CompileError, match=r"E0502 --report .*Use one of: \.json, \.md, \.html, \.xml"):
        renderer_for(Path(name))


def test_html_without_its_extra_names_the_extra(samples: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(CompileError, match=r'E0503 .*pip install "edgec\[report\]"'):
        render_html(samples.FLOAT)
    assert render_markdown(samples.FLOAT), "the other forms need no extra"


class _Elements(html.parser.HTMLParser):
    """Collects the tags, the attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_self_contained(samples: ModuleType) -> None:
    """It can be mailed: no script, nothing loaded from anywhere, and a policy that forbids both."""
    page = _Elements(render_html(samples.INT8))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_the_page_says_what_the_report_says(samples: ModuleType) -> None:
    text = re.sub(r"\s+", " ", _Elements(render_html(samples.INT8)).text)
    for expected in (
        "int8 outputs match the source at 36.5 dB or better; 1 transpose; 3 XNNPACK partitions",
        "34.6 kB",
        "71% smaller than the source",  # 34560 / 120000 = 0.288
        "27 of 29 nodes delegated",
        "close: the error is 1.5% of the signal",  # 10 ** (-36.5 / 20) = 0.01496
        "not met max-drop: 0.75 points, limit 0.5 points",
        "0.00392157 × (q + 128)",
        "the reshape needs the source's element order",
        "there is no int8 kernel for exp",
        "49.9% of the weights were removed (50% asked for)",
        "only 100 samples were found. Ranges may be narrow. Give more.",
        "edgec compile digits.onnx --target rpi4 --int8",
    ):
        assert expected in text, expected
    lowest_first = [
        text.index(name) for name in ("block1/Add_output", "block5/HardSwish_output", "stem/Conv_output")
    ]
    assert lowest_first == sorted(lowest_first)


def test_bars_are_as_long_as_their_numbers(samples: ModuleType) -> None:
    """12 convolutions fill the track, 9 depthwise ones three quarters of it."""
    page = render_html(samples.INT8)
    assert 'conv_2d</bdi></span><span class="track"><i style="width:100.0%">' in page
    assert 'depthwise_conv_2d</bdi></span><span class="track"><i style="width:75.0%">' in page


def test_the_range_axis_holds_every_bound_and_zero() -> None:
    """Symmetric bounds put zero in the middle; a log axis keeps a small range visible beside a large one."""
    tensors = [TensorRange("a", "int8", -8.0, 8.0, 0.06, 0), TensorRange("b", "int8", 0.0, 1.0, 0.004, -128)]
    axis = range_axis(tensors)
    assert [axis.percent(value) for value in (-8.0, 0.0, 8.0)] == [0.0, 50.0, 100.0]
    # log(1 + 1/1) / log(1 + 8/1) = 0.3155 of the right half
    assert axis.percent(1.0) == pytest.approx(50 + 50 * 0.3155, abs=0.01)
    assert (axis.percent(math.inf), axis.percent(-math.inf)) == (100.0, 0.0)


def test_an_axis_of_nothing_divides_by_nothing() -> None:
    assert range_axis([]) == RangeAxis(1.0, 0.0, 0.0)
    assert range_axis([TensorRange("dead", "int8", 0.0, 0.0, 1.0, 0)]).percent(0.0) == 0.0


def _hostile(samples: ModuleType, name: str) -> Report:
    """A report in which every text that a model or its path can choose is `name`."""
    tensor = TensorRange(name, name, 0.0, 1.0, 1.0, 0)
    return replace(
        samples.INT8,
        source=replace(samples.INT8.source, file=name),
        artifact=replace(samples.INT8.artifact, file=name),
        inputs=(TensorInfo(name, (1, -1), name, layout=name),),
        outputs=(TensorInfo(name, (), name),),
        ops={name: 1},
        transpose_sites=(TransposeSite(name, name),),
        partitions=Partitions("XNNPACK", 2, 1, 2, (Breaker(name, name, name),)),
        verification=replace(samples.verified(samples.check(name, 30.0, passed=False)), inputs=name),
        quantization=Quantization(name, None, (tensor,), (FloatOp(name, name, name),)),
        pruning=Pruning(name, 0.5, 0.5, (PrunedLayer(name, name, (1,), 1, 2, 0.5),), name),
        gates=(Gate(name, 1.0, 2.0, name, False),),
        timings={name: 1.0},
        diagnostics=(ReportedDiagnostic(name, name, name, name, name, name),),
        command=name,
    )


@pytest.fixture(params=range(14))
def hostile(samples: ModuleType, request: pytest.FixtureRequest) -> str:
    assert len(samples.HOSTILE) == 14
    return samples.HOSTILE[request.param]


def test_html_names_never_act(samples: ModuleType, hostile: str) -> None:
    """The page has the same elements whatever the names are, and shows the name itself."""
    page, plain = (_Elements(render_html(_hostile(samples, name))) for name in (hostile, "name"))
    assert page.tags == plain.tags
    assert len(page.attributes) == len(plain.attributes)
    assert visible(hostile) in page.text


def test_xml_names_never_act(samples: ModuleType, hostile: str) -> None:
    """The XML parses (control characters and U+FFFE are not XML) and carries the name as it shows."""
    root, plain = (Xml.fromstring(render_junit(_hostile(samples, name))) for name in (hostile, "name"))
    assert [element.tag for element in root.iter()] == [element.tag for element in plain.iter()]
    cases = [case.get("name") for case in root.iter("testcase")]
    assert cases == [visible(hostile)] * 2


_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


def _markdown_shape(text: str) -> list[str]:
    """The block and inline structure; text and code count alike, as names differ in how they are quoted."""
    shape: list[str] = []
    for token in _MARKDOWN.parse(text):
        kinds = [child.type for child in token.children or []]
        shape.append(token.type)
        shape += [kind for kind in kinds if kind not in ("text", "text_special", "code_inline", "softbreak")]
    return shape


def test_markdown_names_never_act(samples: ModuleType, hostile: str) -> None:
    """No heading, link, emphasis, HTML or extra table cell comes from a name."""
    shapes = [_markdown_shape(render_markdown(_hostile(samples, name))) for name in (hostile, "name")]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("quote", [markdown_code, markdown_text])
def test_markdown_shows_the_name_itself(samples: ModuleType, hostile: str, quote: object) -> None:
    """In a table cell, where pipes cut first: what a reader sees is the name, character for character."""
    assert callable(quote)
    tokens = _MARKDOWN.parse(f"| a | b |\n| --- | --- |\n| {quote(hostile)} | end |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert [cell.content for cell in cells][-1] == "end"
    shown = "".join(child.content for child in cells[2].children or [])
    assert shown == visible(hostile).strip()


def test_markdown_makes_no_links_of_addresses() -> None:
    """GitHub links bare addresses; the escapes below are what stops it."""
    assert markdown_text("see http://evil.example or www.evil.example") == (
        "see http\\://evil.example or www\\.evil.example"
    )
    assert markdown_text("version 1.2: fine") == "version 1.2: fine"


def test_visible_keeps_what_shows() -> None:
    assert visible("größe/層_1 × 2") == "größe/層_1 × 2"
    assert visible("a\nb\x1b\u202e\ud800") == "a\\nb\\x1b\\u202e\\ud800"


def test_junit_has_a_case_per_output_and_gate(samples: ModuleType) -> None:
    """Counts are those of the cases, and a failure says the numbers and the limit."""
    root = Xml.fromstring(render_junit(samples.INT8))
    suite = root[0]
    cases = [
        (case.get("classname"), case.get("name"), case.find("failure") is None)
        for case in suite.iter("testcase")
    ]
    assert cases == [
        ("edgec.verification", "logits", True),
        ("edgec.verification", "embedding", True),
        ("edgec.gate", "max-size", True),
        ("edgec.gate", "max-drop", False),
    ]
    assert [suite.get(name) for name in ("tests", "failures", "skipped", "errors")] == ["4", "1", "0", "0"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "max-drop is 0.75 points, the limit is 0.5 points"


def test_junit_says_that_verification_was_skipped(samples: ModuleType) -> None:
    """A green suite without a comparison would claim what nobody checked."""
    suite = Xml.fromstring(render_junit(samples.FLOAT))[0]
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["1", "0", "1"]


def test_junit_failure_states_the_tolerance(samples: ModuleType) -> None:
    report = replace(samples.FLOAT, verification=samples.verified(samples.check("y", 12.0, passed=False)))
    failure = Xml.fromstring(render_junit(report)).find("testsuite/testcase/failure")
    assert failure is not None
    assert (
        failure.get("message")
        == "outside the tolerance; far from the source: the error is 25.1% of the signal"
    )
    assert "tolerance: SQNR ≥ 20 dB" in (failure.text or "")


def test_markdown_says_the_result_first(samples: ModuleType) -> None:
    lines = render_markdown(samples.INT8).splitlines()
    assert lines[0] == "# `digits.onnx` for rpi4, int8: FAILED"
    assert lines[2].startswith("int8 outputs match the source at 36.5 dB or better; 1 transpose;")
    assert (
        "| `logits` | 41.2 dB | 0.031 | 0.999810 | very close: the error is 0.868% of the signal |" in lines
    )
    assert "Not compared (`--no-verify`)." in render_markdown(samples.FLOAT)


def test_long_tables_say_what_they_leave_out(samples: ModuleType) -> None:
    tensors = tuple(TensorRange(f"t{index}", "int8", 0.0, 1.0, 0.004, -128, 50.0) for index in range(30))
    report = replace(samples.INT8, quantization=Quantization("int8", None, tensors))
    assert "… and 18 more in the JSON report." in render_markdown(report)
    assert "The first 24 of 30 tensors; the JSON report has them all." in render_html(report)
    assert len(json.loads(report.to_json())["quantization"]["tensors"]) == 30


def test_every_page_says_what_to_feed_an_input_of_pixels(samples: ModuleType) -> None:
    """The sentence stands in HTML and Markdown; inputs without pixels have their scale there."""
    (info,) = samples.INT8.inputs
    fed = replace(samples.INT8, inputs=(replace(info, pixels=PixelFeed("rgb", 8, 8, None, 0)),))
    sentence = "uint8 pixels 0..255, RGB, 8 x 8; nothing to subtract"
    for render in (render_html, render_markdown):
        assert sentence in re.sub(r"\s+", " ", render(fed))
        assert sentence not in re.sub(r"\s+", " ", render(samples.INT8))


def test_the_page_says_where_accuracy_goes(samples: ModuleType) -> None:
    """Causes, the match after each layer, the most sensitive layers, clipping, both models' metric."""
    page = render_html(samples.EXPLAINED)
    text = re.sub(r"\s+", " ", _Elements(page).text)
    for expected in (
        "top1 81.5, float 82 (600 labelled samples of test.npz)",
        "+3.2 dB saturation tensor 'stem'",
        "Measured: widened.",
        "activations, range -1 to 1, 10% clipped",  # 2 of 20 values
        "weights, range -1 to 1",
    ):
        assert expected in text, expected
    ranking = text[text.index("The most sensitive layers") :]
    assert ranking.index(samples.LONG_NAME) < ranking.index("head22%") < ranking.index("stem8%")
    assert f'<span class="name" title="{samples.LONG_NAME}, activations">' in page


def test_markdown_says_where_accuracy_goes(samples: ModuleType) -> None:
    text = render_markdown(samples.EXPLAINED)
    assert "- **saturation**, `tensor 'stem'`: 2 tensors leave it (+3.2 dB without it: widened)." in text
    assert f"| `{samples.LONG_NAME}` | conv\\_2d | 21.0 dB | 70% |" in text


def test_hundreds_of_layers_stay_on_a_phone(samples: ModuleType) -> None:
    """Bars of a pixel with a gap of one are wider than the page from 200 on: many stand without gaps."""
    few, many = samples.EXPLAINED.explanation, samples.EXPLAINED.explanation.layers[:1] * 300
    crowded = replace(samples.EXPLAINED, explanation=replace(few, layers=many))
    assert '<div class="columns-of dense"' in render_html(crowded)
    assert '<div class="columns-of dense"' not in render_html(samples.EXPLAINED)
