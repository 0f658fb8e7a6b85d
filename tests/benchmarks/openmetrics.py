"""How many cases of a folder the strict OpenMetrics parser judges right.

    python -m tests.benchmarks.openmetrics --data DIR

A case is a folder with ``test.json`` (``{"type": "text", "file": "metrics", "shouldParse": bool}``) and the
exposition. The last line is ``{"passed": n, "total": m, "failed": [...]}``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from agent.telemetry.openmetrics import parse
from agent.telemetry.openmetrics_model import BadExposition


def verdict(body: bytes) -> str:
    """Empty where the exposition is accepted, else the reason."""
    try:
        parse(body)
    except BadExposition as error:
        return error.message
    return ""


def cases(folder: Path) -> list[tuple[str, bool, bytes]]:
    """``(name, whether it should parse, exposition)``, by name."""
    found = []
    for file in sorted(folder.rglob("test.json")):
        case = json.loads(file.read_text(encoding="utf-8"))
        name = str(file.parent.relative_to(folder))
        found.append((name, bool(case["shouldParse"]), (file.parent / case["file"]).read_bytes()))
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder of cases")
    failed = []
    found = cases(options.parse_args().data)
    for name, should_parse, body in found:
        reason = verdict(body)
        if (not reason) != should_parse:
            failed.append(name)
            print(f"{name}: {'refused: ' + reason if reason else 'accepted'}")
    print(json.dumps({"passed": len(found) - len(failed), "total": len(found), "failed": failed}))


if __name__ == "__main__":
    main()
