"""How often the injected fault is named first, over a recorded day sent through the front door.

    python -m tests.benchmarks.rootcause --dataset nezha --data FILE [--warmup FILE] [--ask-after 90,120,150]

Starts a layer of its own, sends the day as OTLP in event time, asks "why is latency up?" after each injection
and ranks pods and services by the answer. The last line is JSON: pods, services and floor with AS@1, AS@3 and
AS@5 at 120 s, by_fault, cases, and the same for every other delay under after_s.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from actors.runtime import Layer
from agent.settings import load
from chatops.terminal.client import Client
from chatops.terminal.replay import Plan, Progressed, run_replay
from tests.benchmarks.live import free_ports
from tests.benchmarks.measure import end_on_sigterm, say


def told(progress: Progressed) -> None:
    if progress.case is not None:
        say(str(progress.case))


def run(plan: Plan) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={**os.environ, **free_ports(folder)})
        with Layer(settings, lambda what, detail: say(f"{what}: {detail}")) as layer:
            return run_replay(plan, Client(layer.address("http")), told)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=["nezha"], default="nezha")
    parser.add_argument("--data", type=Path, required=True, help="a recorded day: .tar.zst or folder")
    parser.add_argument("--warmup", type=Path, help="a fault-free recording to learn from first")
    parser.add_argument("--ask-after", default="90,120,150", help="seconds after each injection")
    options = parser.parse_args()
    end_on_sigterm()
    if not options.data.exists():
        parser.error(f"{options.data} does not exist; the recorded days are described in docs/root-cause.md")
    after_s = tuple(float(part) for part in options.ask_after.split(","))
    print(json.dumps(run(Plan(options.data, options.warmup, after_s=after_s))))


if __name__ == "__main__":
    main()
