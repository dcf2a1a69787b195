"""The inspection as one self-contained page: no script, no network; details open by `:target`.

A click on a box follows `#n12`, which shows the panel of that name; the panel's × goes to no place at all.
"""

from __future__ import annotations

from importlib import resources

from edgec.diagnostics import CompileError, Diagnostic, Severity
from edgec.inspection import words
from edgec.inspection.drawing import draw
from edgec.inspection.model import Inspection
from edgec.inspection.picture import HEIGHT, picture_of
from edgec.inspection.reasons import place_of
from edgec.reports import words as numbers
from edgec.reports.escape import visible

_PLACES = 6


def render_html(found: Inspection) -> str:
    """Return the page; CompileError (E0503) where jinja2 (the `report` extra) is not installed."""
    try:
        import jinja2
    except ImportError as error:
        raise CompileError(_missing_extra(error)) from error
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = resources.files("edgec.inspection")
    source = folder.joinpath("templates/inspection.html.jinja").read_text(encoding="utf-8")
    drawing = draw(found.outline, _blocked(found))
    picture = picture_of(drawing)
    return (
        environment.from_string(source).render(
            found=found,
            words=words,
            numbers=numbers,
            picture=picture,
            height=HEIGHT,
            places=_PLACES,
            is_collapsed=any(box.role == "run" for box in drawing.boxes),
            total=len(found.outline.operators),
        )
        + "\n"
    )


def _blocked(found: Inspection) -> set[str]:
    """Return the names of nodes that an error of the import names."""
    errors = (item for item in found.diagnostics if item.severity is Severity.ERROR)
    return {place_of(item.where)[0] for item in errors}


def _missing_extra(error: ImportError) -> Diagnostic:
    return Diagnostic(
        "E0503",
        "--html",
        "the page needs a package that is not installed",
        str(error),
        'Install it with: pip install "edgec[report]" (--json needs nothing more).',
    )
