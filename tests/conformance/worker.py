"""A process that judges cases one at a time: a test's name in, its verdict out, a JSON line each.

Kernels are native code. When one takes the process down, the parent (see `pool`) sees the pipe close, writes
the test down as a crash and starts another worker.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, replace


def main() -> None:
    """Serve until standard input closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not mix with answers
    from tests.conformance.cases import load_suite
    from tests.conformance.freeze import freeze
    from tests.conformance.judge import judge

    suite = load_suite()
    for line in sys.stdin:
        request = json.loads(line)
        case = suite.cases[request["name"]]
        if request["frozen"]:
            case = freeze(case, suite.signatures.get(case.name))
        started = time.perf_counter()
        verdict = judge(case)
        verdict = replace(verdict, seconds=round(time.perf_counter() - started, 4))
        print(json.dumps(asdict(verdict)), file=answers, flush=True)


if __name__ == "__main__":
    main()
