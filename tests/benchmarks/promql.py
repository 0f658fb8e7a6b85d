"""Prometheus' own test scripts against the engine: ``python -m tests.benchmarks.promql --data DIR``.

Every eval of every ``.test`` file below the folder is run; the last line is
``{"passed": n, "total": m, "failed": [{"file", "line", "query", "reason"}, ...]}``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.promql.runner import Outcome, run_file


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder of .test files")
    arguments.add_argument("--divided", action="store_true", help="with the series in several streams")
    options = arguments.parse_args()
    print(report(options.data, divided=options.divided))


def report(folder: Path, *, divided: bool) -> str:
    outcomes: list[Outcome] = []
    for path in sorted(folder.rglob("*.test")):
        found = run_file(path, divided=divided)
        outcomes += found
        print(f"{path.name}: {sum(one.passed for one in found)} of {len(found)}")
    failed = [
        {"file": one.file, "line": one.line, "query": one.query, "reason": one.reason}
        for one in outcomes
        if not one.passed
    ]
    return json.dumps({"passed": len(outcomes) - len(failed), "total": len(outcomes), "failed": failed})


if __name__ == "__main__":
    main()
