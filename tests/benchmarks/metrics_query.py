"""Queries of PromQL: the layer beside a real Prometheus and a real VictoriaMetrics, on the same data.

    python -m tests.benchmarks.metrics_query [--hours 5] [--repeats 7] [--plot FILE]

All three run at the same time and get the same samples (``query_load``: 10,800 series, one each 15 s) by remote
write. Then each query is asked of one after the other, over a window that is a little later each time, so that no
cache of results helps (that of VictoriaMetrics is off besides); what counts is the median of the repeats, from the
request to the last byte of the answer. The answers of the layer and of Prometheus are compared, too.

The last line is JSON: median_ratio_* is the median over the queries of the peer's time over the layer's,
slowest_ratio the least of all of them; small_ms is a query over 10 series; queries has every figure.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import end_on_sigterm, say
from tests.benchmarks.query_load import Load
from tests.benchmarks.systems import layer, prometheus, victoriametrics

QUERIES: Mapping[str, str] = {
    "sum of rates": "sum by (service) (rate(http_requests_total[5m]))",
    "error ratio": 'sum by (service) (rate(http_requests_total{code=~"5.."}[5m])) '
    "/ sum by (service) (rate(http_requests_total[5m]))",
    "p99 of 8,000 buckets": "histogram_quantile(0.99, sum by (le, service) "
    "(rate(http_request_duration_seconds_bucket[5m])))",
    "topk": "topk(5, sum by (instance) (rate(http_requests_total[5m])))",
    "max over an hour": "max by (service) (max_over_time(process_resident_memory_bytes[1h]))",
    "join": "sum by (version) (rate(http_requests_total[5m]) * on (instance) group_left (version) build_info)",
    "all series": "process_resident_memory_bytes",
}
WINDOWS: Mapping[str, tuple[int, int]] = {"1 h at 15 s": (3600, 15), "3 h at 60 s": (3 * 3600, 60)}
SMALL = 'rate(http_requests_total{service="service-3",instance=~"10.1.3.[01]:8080"}[5m])'
SHIFT_S = 7  # from one repeat to the next; samples lie off the steps
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    write_url: str
    url: str
    parameters: Mapping[str, str]


def ask(peer: Peer, query: str, start_s: float, end_s: float, step_s: int) -> tuple[float, Any]:
    """``(seconds, matrix)``."""
    form = {"query": query, "start": start_s, "end": end_s, "step": step_s, **peer.parameters}
    request = urllib.request.Request(
        f"{peer.url}/api/v1/query_range", data=urllib.parse.urlencode(form).encode()
    )
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{peer.name} refuses {query}: {error.read()!r}")
    took = time.perf_counter() - began
    return took, json.loads(body)["data"]["result"]


def send(peers: list[Peer], load: Load) -> None:
    for number, body in enumerate(load.bodies()):
        for peer in peers:
            request = urllib.request.Request(
                peer.write_url,
                data=body,
                headers={"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                if response.status not in (200, 204):
                    sys.exit(f"{peer.name} answers {response.status}")
        if number % 100 == 0:
            say(f"sent {number} bodies")


def disagreements(ours: Any, theirs: Any) -> Iterator[str]:
    mine = {tuple(sorted(one["metric"].items())): dict(one["values"]) for one in ours}
    other = {tuple(sorted(one["metric"].items())): dict(one["values"]) for one in theirs}
    for labels in mine.keys() | other.keys():
        a, b = mine.get(labels, {}), other.get(labels, {})
        if a.keys() != b.keys():
            yield f"{dict(labels)}: {len(a)} points, Prometheus {len(b)}"
            continue
        for at, text in a.items():
            if not math.isclose(float(text), float(b[at]), rel_tol=TOLERANCE, abs_tol=1e-12):
                yield f"{dict(labels)} at {at}: {text}, Prometheus {b[at]}"
                break


def measured(
    peers: list[Peer], query: str, window: tuple[int, int], end_s: float, repeats: int
) -> dict[str, Any]:
    length_s, step_s = window
    took: dict[str, list[float]] = {peer.name: [] for peer in peers}
    problems: list[str] = []
    for repeat in range(repeats + 1):
        until_s = end_s - SHIFT_S * (repeats - repeat)
        found = {}
        for peer in peers:
            seconds, found[peer.name] = ask(peer, query, until_s - length_s, until_s, step_s)
            if repeat:  # the first makes each system ready for the query
                took[peer.name].append(seconds)
        if repeat == 1:
            problems = list(disagreements(found["layer"], found["prometheus"]))
    times = {name: round(statistics.median(all_) * 1000, 2) for name, all_ in took.items()}
    return {"ms": times, "disagreements": problems[:3]}


def run(options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as running:
        systems = [running.enter_context(start()) for start in (layer, prometheus, victoriametrics)]
        peers = [
            Peer(
                system.name,
                system.url,
                system.query_url,
                {"nocache": "1"} if system.name == "victoriametrics" else {},
            )
            for system in systems
        ]
        steps = round(options.hours * 240)
        now_ms = int(time.time()) * 1000
        load = Load((now_ms - steps * 15_000) // 15_000 * 15_000 + 1_234, steps)
        send(peers, load)
        for system in systems:
            system.applied()
        time.sleep(options.settle)
        end_s = load.end_ms // 1000 // 60 * 60
        found = {}
        for over, window in WINDOWS.items():
            for name, query in QUERIES.items():
                say(f"{name}, {over}")
                found[f"{name}, {over}"] = measured(peers, query, window, end_s, options.repeats)
        small = measured(peers, SMALL, (300, 15), end_s, 5 * options.repeats)
    return report(found, small)


def report(found: Mapping[str, Any], small: Mapping[str, Any]) -> dict[str, Any]:
    ratios = {
        peer: {name: one["ms"][peer] / one["ms"]["layer"] for name, one in found.items()}
        for peer in ("prometheus", "victoriametrics")
    }
    for name, one in found.items():
        shown = ", ".join(f"{peer} {ms} ms" for peer, ms in one["ms"].items())
        say(f"{name}: {shown} ({', '.join(f'{ratios[p][name]:.1f}x' for p in ratios)})")
        for problem in one["disagreements"]:
            say(f"  disagrees: {problem}")
    return {
        **{f"median_ratio_{peer}": round(statistics.median(of.values()), 2) for peer, of in ratios.items()},
        "slowest_ratio": round(min(min(of.values()) for of in ratios.values()), 2),
        "small_ms": small["ms"],
        "disagreements": sum(len(one["disagreements"]) for one in found.values()),
        "queries": {name: one["ms"] for name, one in found.items()},
    }


def plot(found: Mapping[str, Any], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    queries = found["queries"]
    figure, axes = plt.subplots(figsize=(9, 6))
    at = np.arange(len(queries))
    for i, name in enumerate(("layer", "victoriametrics", "prometheus")):
        axes.barh(at + 0.27 * i, [one[name] for one in queries.values()], 0.25, label=name)
    axes.set_yticks(at + 0.27, list(queries))
    axes.set_xscale("log")
    axes.set_xlim(left=1)
    axes.set_xlabel("ms, median of the repeats")
    axes.invert_yaxis()
    axes.legend()
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=5.0, help="how much is loaded")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--settle", type=float, default=10.0, help="seconds between loading and asking")
    parser.add_argument("--plot", type=Path, help="draw the figures into this file")
    options = parser.parse_args()
    end_on_sigterm()
    found = run(options)
    if options.plot:
        plot(found, options.plot)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
