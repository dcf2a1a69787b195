"""`python -m edgec_runtime` is `edgec-runtime`."""

from __future__ import annotations

import sys

from edgec_runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
