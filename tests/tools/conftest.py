"""Makes the scripts in `tools/` importable the way they import each other."""

from __future__ import annotations

import sys
from pathlib import Path

TOOLS = str(Path(__file__).resolve().parents[2] / "tools")
if TOOLS not in sys.path:
    sys.path.append(TOOLS)  # at the end: no module of a test may be shadowed
