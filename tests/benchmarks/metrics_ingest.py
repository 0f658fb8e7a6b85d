"""Ingest of metrics by remote write: the layer beside a real Prometheus and a real VictoriaMetrics.

    python -m tests.benchmarks.metrics_ingest [--rounds 500] [--only layer] [--million]

Each system starts with an empty folder, gets the same prepared bodies on five connections over HTTP, and is
ended before the next one starts: 10,000 series, requests of 2,000 series, once with 4 samples a series and once
with 1. The first requests, which make the series known, are not timed. Wall time is that until the last request
is answered and what it brought can be queried; processor time is that of all processes of a system (of the
layer: Ray's daemons, PostgreSQL, all actors and this process) over the same time and QUIET_S more, in which work
that was put off is done. The sender is a process of its own and not counted. ``--million`` adds a run of the layer
with a million series, and tells its processor time a sample against the run with ten thousand.

The last line is JSON: cpu_ratio_* and wall_ratio_* are samples a second of the layer over those of the peer; with
4 samples a series, and with ``_1`` at the end with 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import end_on_sigterm, say
from tests.benchmarks.systems import SYSTEMS, System, layer, senders
from tests.benchmarks.write_load import Case, prepare

QUIET_S = 2.0
PAST_S = 3000  # how far back the samples begin; Prometheus takes what is younger than its newest by an hour


@dataclass(frozen=True, slots=True)
class Result:
    samples: int
    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        wall, cpu = self.samples / self.wall_s / 1e6, self.samples / self.cpu_s / 1e6
        return f"{wall:.2f} M samples/s wall, {cpu:.2f} M samples a CPU second ({self.cpu_s:.2f} s)"


def measure(system: System, folder: Path, case: Case, untimed: int) -> Result:
    """Send the requests of a case; the first ``untimed`` of each connection before the clock starts."""
    send(system, folder, case, 0, untimed)
    system.applied()
    time.sleep(QUIET_S)
    before_s = system.cpu_s()
    sent_s = send(system, folder, case, untimed, case.requests)
    answered = time.monotonic()
    system.applied()
    wall_s = sent_s + time.monotonic() - answered
    time.sleep(QUIET_S)
    result = Result(case.samples_of(case.requests - untimed), wall_s, system.cpu_s() - before_s)
    say(f"{system.name}, {case.series} series x {case.samples}: {result}")
    return result


def send(system: System, folder: Path, case: Case, first: int, last: int) -> float:
    """The seconds from the first request to the last answer, by the sender's clock."""
    command = [sys.executable, "-m", "tests.benchmarks.write_load"]
    process = subprocess.Popen(
        [*command, str(folder), system.url, case.name, str(first), str(last)], stdout=subprocess.PIPE
    )
    senders.add(process.pid)
    answer, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{system.name} did not take the load")
    return float(json.loads(answer)["wall_s"])


def cases(rounds: int) -> tuple[Case, Case]:
    start_ms = int(time.time() - PAST_S) * 1000
    first = Case("four", 10_000, 4, rounds, start_ms, 1000)
    after_ms = start_ms + rounds * 4 * 1000
    return first, Case("one", 10_000, 1, rounds, after_ms, 1000)


def million(folder: Path, rounds: int) -> Result:
    case = Case("million", 1_000_000, 4, rounds, int(time.time() - PAST_S) * 1000, 1000)
    prepare(folder, case)
    with layer() as system:
        return measure(system, folder, case, case.requests // rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=500, help="requests for each block of 2,000 series")
    parser.add_argument("--only", choices=SYSTEMS, action="append", help="leave the others out")
    parser.add_argument("--million", action="store_true", help="the layer with a million series as well")
    options = parser.parse_args()
    end_on_sigterm()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        both = cases(options.rounds)
        for case in both:
            size = prepare(folder, case)
            say(f"{case.samples} a series: {case.requests} requests a connection, {size / 1e6:.0f} MB")
        results: dict[str, list[Result]] = {}
        for name in options.only or SYSTEMS:
            with SYSTEMS[name]() as system:
                results[name] = [measure(system, folder, case, untimed=5) for case in both]
        ours = results.pop("layer", None)
        for k, suffix in enumerate(("", "_1")):
            if ours:
                found[f"cpu_samples_s{suffix}"] = ours[k].samples / ours[k].cpu_s
                found[f"wall_samples_s{suffix}"] = ours[k].samples / ours[k].wall_s
            for name, theirs in results.items():
                if ours:
                    found[f"cpu_ratio_{name}{suffix}"] = theirs[k].cpu_s / ours[k].cpu_s
                    found[f"wall_ratio_{name}{suffix}"] = theirs[k].wall_s / ours[k].wall_s
        if options.million:
            result = million(folder, rounds=4)
            found["cpu_samples_s_million"] = result.samples / result.cpu_s
    print(json.dumps({key: round(value, 2) for key, value in found.items()}))


if __name__ == "__main__":
    main()
