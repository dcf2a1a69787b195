"""The import direction of docs/architecture.md, and what `--help` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgec"
FOREIGN = {"onnx": "frontends/onnx", "onnxruntime": "verify", "tensorflow": "frontends", "torch": "frontends"}
FORBIDDEN = {
    "ir": {"ops", "emit", "kernels", "rewrite", "passes", "frontends", "quantize", "legalize", "stages"},
    "ops": {"emit", "kernels", "rewrite", "passes", "frontends", "quantize", "legalize", "stages"},
    "emit": {"kernels", "rewrite", "passes", "frontends", "quantize", "legalize", "stages"},
    "kernels": {"rewrite", "passes", "frontends", "quantize", "legalize", "stages"},
}


def imports(path: Path) -> set[str]:
    """Return every module a file imports, also inside functions; type-checking blocks do not count."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_direction(path: Path) -> None:
    """Lower layers never import higher ones, and each foreign package has one home."""
    folder = path.relative_to(PACKAGE).parts[0]
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top == "edgec" and folder in FORBIDDEN:
            assert rest.split(".")[0] not in FORBIDDEN[folder], f"{path} imports {module}"
        if top in FOREIGN:
            assert str(path.relative_to(PACKAGE)).startswith(FOREIGN[top]), f"{path} imports {module}"


def test_runtime_never_imports_the_compiler() -> None:
    for path in (PACKAGE.parent / "runtime" / "src").rglob("*.py"):
        assert not any(module.split(".")[0] == "edgec" for module in imports(path)), path


def test_help_loads_nothing_heavy() -> None:
    """`edgec --help` imports neither NumPy nor any model library."""
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from edgec.cli import main\n"
        "assert CliRunner().invoke(main, ['compile', '--help']).exit_code == 0\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'ai_edge_litert', 'rich', 'pydantic', 'PIL', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
