"""How often the injected fault is named first, over a recorded day sent through the front door.

    python -m tests.benchmarks.rootcause --dataset nezha --data FILE [--fault-free FILE] [--warmup FILE]
                                         [--ask-after 90,120,150]

Starts a layer of its own, sends the day as OTLP in event time, asks "why is latency up?" after each injection
and ranks pods and services by the answer. The last line is JSON: pods, services and floor with AS@1, AS@3 and
AS@5 at 120 s, by_fault, cases, the same for every delay under by_delay, and answer_ms. A recording without
faults (``--fault-free``, or as ``--data``) goes to a tenant of its own and is asked about every ten seconds from
the middle to the end of its spans; fault_free then says how often a cause was named (none should be).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from actors.runtime import Layer
from agent.settings import load
from chatops.terminal.client import Client
from chatops.terminal.replay import Plan, Progressed, read, run_replay
from tests.benchmarks.live import free_ports
from tests.benchmarks.measure import end_on_sigterm, say

QUIET_STEP_S = 10


def told(progress: Progressed) -> None:
    if progress.case is not None:
        say(str(progress.case))


def run(plan: Plan, fault_free: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={**os.environ, **free_ports(folder)})
        with Layer(settings, lambda what, detail: say(f"{what}: {detail}")) as layer:
            url = layer.address("http")
            quiet = {"fault_free": ask_quiet(url, fault_free)} if fault_free else {}
            return {**run_replay(plan, Client(url), told), **quiet}


def ask_quiet(url: str, file: Path) -> dict[str, Any]:
    """Questions about a recording in which nothing is wrong."""
    recording = read(file)
    start_s, end_s = recording.spans.start_ns.min() / 1e9, recording.spans.end_ns.max() / 1e9
    at_s = tuple(
        float(s) for s in range(math.ceil((start_s + end_s) / 2), math.ceil(end_s) + 1, QUIET_STEP_S)
    )
    found = run_replay(Plan(file, tenant="fault-free", at_s=at_s), Client(url), told)
    return {
        "asked": len(at_s),
        "named": sum(bool(question["named"]) for question in found["questions"]),
        "verdicts": [question["verdict"] for question in found["questions"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=["nezha"], default="nezha")
    parser.add_argument("--data", type=Path, required=True, help="a recorded day: .tar.zst or folder")
    parser.add_argument("--warmup", type=Path, help="a fault-free recording to learn from first")
    parser.add_argument("--ask-after", default="90,120,150", help="seconds after each injection")
    parser.add_argument("--fault-free", type=Path, help="a recording in which nothing is wrong")
    options = parser.parse_args()
    end_on_sigterm()
    if not options.data.exists():
        parser.error(f"{options.data} does not exist; the recorded days are described in docs/root-cause.md")
    after_s = tuple(float(part) for part in options.ask_after.split(","))
    print(json.dumps(run(Plan(options.data, options.warmup, after_s=after_s), options.fault_free)))


if __name__ == "__main__":
    main()
