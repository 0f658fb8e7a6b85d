"""Does the layer answer as Prometheus does? Random series in both, a few thousand random queries asked of both.

    python -m tests.benchmarks.promql_peer [--queries 3000] [--seed 1] [--show 20]

A query agrees when both refuse it, or when the same series have values at the same times that differ by at most
a fraction of 1e-5 (the tolerance of Prometheus' own compliance tester). Range queries over an hour, and an
instant query of each. The last line is JSON: {"agree": n, "total": m, "disagree": [{"query", "why"}, ...]}.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from typing import Any

from agent.telemetry.remote_write_client import encode_write_request
from tests.benchmarks.measure import end_on_sigterm, say
from tests.benchmarks.peer_queries import STEP_MS, Series, random_queries, random_series
from tests.benchmarks.systems import System, layer, prometheus

TOLERANCE = 1e-5
HOURS = 2.0
STEP_S = 60
SHOWN = 50
OFF_S = 7  # steps lie off the multiples of a subquery's step, which open and closed ranges differ in


def send(system: System, series: list[Series], start_ms: int, steps: int) -> None:
    """Stretch by stretch, so that time goes forward for all."""
    for first in range(0, steps, 100):
        low, high = start_ms + first * STEP_MS, start_ms + (first + 100) * STEP_MS
        part = [(labels, [(t, v) for t, v in points if low <= t < high]) for labels, points in series]
        request = urllib.request.Request(
            system.url,
            data=encode_write_request([one for one in part if one[1]]),
            headers={"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
        )
        urllib.request.urlopen(request, timeout=60).close()


def ask(system: System, path: str, form: dict[str, Any]) -> Any:
    """What the API says: the series and their values, or None where it refuses."""
    url = f"{system.query_url}/api/v1/{path}"
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=120) as response:
            data = json.load(response)["data"]
    except urllib.error.HTTPError as error:
        error.close()
        return None
    if data["resultType"] == "scalar":
        return {(): [data["result"]]}
    return {
        tuple(sorted(one["metric"].items())): one.get("values") or [one["value"]] for one in data["result"]
    }


def difference(ours: Any, theirs: Any) -> str:
    """Why two answers are not the same, empty where they are."""
    if ours is None or theirs is None:
        refused = "the layer" if ours is None else "Prometheus"
        return "" if ours is theirs else f"only {refused} refuses"
    if ours.keys() != theirs.keys():
        mine, other = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
        return f"series only here: {sorted(mine)[:2]}, only in Prometheus: {sorted(other)[:2]}"
    for labels, points in ours.items():
        others = theirs[labels]
        if [t for t, _ in points] != [t for t, _ in others]:
            return f"{dict(labels)}: {len(points)} points here, {len(others)} in Prometheus"
        for (at, mine), (_, other) in zip(points, others, strict=True):
            if not _same(float(mine), float(other)):
                return f"{dict(labels)} at {at}: {mine} here, {other} in Prometheus"
    return ""


def _same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9)


def compare(ours: System, theirs: System, queries: list[str], end_s: int) -> dict[str, Any]:
    wrong, refused = [], 0
    for number, query in enumerate(queries):
        window = {"query": query, "start": end_s - 3600, "end": end_s, "step": STEP_S}
        moment = {"query": query, "time": end_s - 1800}
        found = ask(ours, "query_range", window)
        refused += found is None
        why = difference(found, ask(theirs, "query_range", window)) or difference(
            ask(ours, "query", moment), ask(theirs, "query", moment)
        )
        if why:
            wrong.append({"query": query, "why": why})
        if number % 250 == 249:
            say(f"{number + 1} queries, {len(wrong)} disagree")
    return {
        "agree": len(queries) - len(wrong),
        "total": len(queries),
        "refused_by_both": refused,
        "disagree": wrong,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1, help="of the series")
    parser.add_argument(
        "--show", type=int, default=20, help="how many differences are printed as they are found"
    )
    options = parser.parse_args()
    end_on_sigterm()
    steps = round(HOURS * 3600_000 / STEP_MS)
    end_s = int(time.time()) // 60 * 60 - 120 + OFF_S
    start_ms = end_s * 1000 - steps * STEP_MS
    series = random_series(start_ms, steps, options.seed)
    with ExitStack() as running:
        ours, theirs = running.enter_context(layer()), running.enter_context(prometheus())
        for system in (ours, theirs):
            send(system, series, start_ms, steps)
            system.applied()
        found = compare(ours, theirs, random_queries(options.queries), end_s)
    for one in found["disagree"][: options.show]:
        say(f"{one['query']}\n    {one['why']}")
    print(json.dumps({**found, "disagree": found["disagree"][:SHOWN]}))


if __name__ == "__main__":
    main()
