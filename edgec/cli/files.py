"""The files of one compile: none overwrites another or what is read, and Ctrl-C does not part them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgec.cli.exits import uninterrupted

if TYPE_CHECKING:
    from edgec.compile import Compiled
    from edgec.diagnostics import Diagnostic
    from edgec.reports.model import Report


@dataclass(frozen=True)
class Files:
    """What a compile writes; `recipe` where a search finds one."""

    artifact: Path
    reports: tuple[Path, ...] = ()
    recipe: Path | None = None

    @property
    def by_role(self) -> dict[str, Path]:
        """All files under the name that the summary gives them."""
        from edgec.reports.manifest import manifest_path

        found = {"model": self.artifact, "manifest": manifest_path(self.artifact)}
        for path in self.reports:
            role = f"report {path.suffix}"
            found[role if role not in found else f"report {path}"] = path
        return found if self.recipe is None else found | {"recipe": self.recipe}

    def check(self, sources: Mapping[str, object]) -> None:
        """Refuse now what would end a long compile badly; `sources` are what it reads, by role.

        Raises:
            CompileError: E0501 for a path that cannot be written, E0502 and E0503 for a report that cannot be
                made, E0507 for a file that would overwrite another.
        """
        from edgec.atomic_write import check_writable
        from edgec.diagnostics import CompileError
        from edgec.reports.render import renderer_for

        for path in self.reports:
            renderer_for(path)
        clashes = list(self._clashes(sources))
        if clashes:
            raise CompileError(clashes)
        for path in self.by_role.values():
            check_writable(path)

    def save(self, compiled: Compiled, command: str) -> Report:
        """Write all files; Ctrl-C waits until they are there. Returns the report as written."""
        from edgec.atomic_write import write_text
        from edgec.reports.render import write_report

        with uninterrupted():
            saved = compiled.saved(self.artifact, command=command)
            if self.recipe is not None and compiled.recipe is not None:
                write_text(self.recipe, compiled.recipe.to_toml())
            for path in self.reports:
                write_report(saved.report, path)
        return saved.report

    def _clashes(self, sources: Mapping[str, object]) -> Iterator[Diagnostic]:
        from edgec.diagnostics import Diagnostic

        paths = {role: Path(item) for role, item in sources.items() if isinstance(item, str | Path)}
        taken = {path.resolve(): f"the {role} is read from here" for role, path in paths.items()}
        for role, path in self.by_role.items():
            if path.resolve() in taken:
                what = f"the {role} would be written over another file of this compile"
                why = f"{taken[path.resolve()].capitalize()}."
                yield Diagnostic("E0507", str(path), what, why, "Choose another path.")
            taken.setdefault(path.resolve(), f"the {role} goes here")


def recipe_path(artifact: Path) -> Path:
    """Return where the recipe of an artifact goes: `model.tflite` → `model.recipe.toml`."""
    return artifact.with_suffix(".recipe.toml")
