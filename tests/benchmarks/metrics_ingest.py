"""Ingest of metrics by remote write: the layer beside a real Prometheus and a real VictoriaMetrics.

    python -m tests.benchmarks.metrics_ingest [--rounds 500] [--repeats 1] [--only layer] [--million] [--plot FILE]

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
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
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


def run(names: Sequence[str], rounds: int, repeats: int) -> dict[str, list[Result]]:
    """For each system, what each case took: the median of the repeats, in which the systems take turns."""
    taken: dict[str, list[list[Result]]] = {name: [] for name in names}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as made:
            both = cases(rounds)
            for case in both:
                size = prepare(Path(made), case)
                say(f"{case.samples} a series: {case.requests} requests a connection, {size / 1e6:.0f} MB")
            for name in names:
                with SYSTEMS[name]() as system:
                    taken[name].append([measure(system, Path(made), case, untimed=5) for case in both])
    return {name: [_median(one) for one in zip(*results, strict=True)] for name, results in taken.items()}


def _median(results: Sequence[Result]) -> Result:
    wall_s, cpu_s = (statistics.median(getattr(one, of) for one in results) for of in ("wall_s", "cpu_s"))
    return Result(results[0].samples, wall_s, cpu_s)


def figures(results: Mapping[str, Sequence[Result]]) -> dict[str, float]:
    found: dict[str, float] = {}
    ours = results.get("layer", ())
    for one, suffix in zip(ours, ("", "_1"), strict=False):
        found[f"cpu_samples_s{suffix}"] = one.samples / one.cpu_s
        found[f"wall_samples_s{suffix}"] = one.samples / one.wall_s
    for name in [name for name in results if name != "layer"]:
        for our, their, suffix in zip(ours, results[name], ("", "_1"), strict=False):
            found[f"cpu_ratio_{name}{suffix}"] = their.cpu_s / our.cpu_s
            found[f"wall_ratio_{name}{suffix}"] = their.wall_s / our.wall_s
    return found


def plot(results: Mapping[str, Sequence[Result]], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, both = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axes, of, label in zip(both, ("cpu_s", "wall_s"), ("a processor second", "a second"), strict=True):
        for i, (name, cases_) in enumerate(results.items()):
            rates = [one.samples / getattr(one, of) / 1e6 for one in cases_]
            bars = axes.barh([k + 0.27 * i for k in range(len(rates))], rates, 0.25, label=name)
            axes.bar_label(bars, fmt="%.2f", padding=2)
        axes.set_xlabel(f"M samples {label}")
        axes.margins(x=0.15)
    both[0].set_yticks([0.27, 1.27], ["4 samples a series", "1 sample a series"])
    both[0].invert_yaxis()
    both[1].legend()
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=500, help="requests for each block of 2,000 series")
    parser.add_argument(
        "--repeats", type=int, default=1, help="runs of all systems, of which the median counts"
    )
    parser.add_argument("--only", choices=SYSTEMS, action="append", help="leave the others out")
    parser.add_argument("--million", action="store_true", help="the layer with a million series as well")
    parser.add_argument("--plot", type=Path, help="draw the figures into this file")
    options = parser.parse_args()
    end_on_sigterm()
    results = run(options.only or list(SYSTEMS), options.rounds, options.repeats)
    found = figures(results)
    if options.plot:
        plot(results, options.plot)
    if options.million:
        with tempfile.TemporaryDirectory() as made:
            result = million(Path(made), rounds=4)
        found["cpu_samples_s_million"] = result.samples / result.cpu_s
    print(json.dumps({key: round(value, 2) for key, value in found.items()}))


if __name__ == "__main__":
    main()
