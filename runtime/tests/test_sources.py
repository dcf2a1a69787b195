"""What the sources may use: the syntax of Python 3.9, the standard library, NumPy."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
ALLOWED = {"edgec_runtime", "numpy", "PIL"}  # PIL inside one function, only when an image is given


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_syntax_is_python_3_9(path: Path):
    """Newer syntax (match, except*) does not parse; newer annotations are never evaluated."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert futures, "without it `X | None` is evaluated, which Python 3.9 cannot"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_imports_are_declared(path: Path):
    """Interpreters are imported by name at run time; the compiler, edgec, never."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert set(imported(tree)) - set(sys.stdlib_module_names) <= ALLOWED
