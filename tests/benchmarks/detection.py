"""False alarms and delays of detection on a simulated shop, and the cost of the detectors.

    python -m tests.benchmarks.detection [--hours 200] [--seeds 10]

Healthy: independent runs of 20 simulated minutes, start-up included, counting incidents. Faults: after 75 s
of history, the delay from the fault to the incident. Cost: 2,000 series, a bin at a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from agent.correlation.incidents import ChangeKind, Incident, IncidentBook
from agent.correlation.topology import Topology
from agent.detection.bank import DetectorBank
from agent.detection.histogram import BUCKETS
from agent.detection.red import RedAccumulator, RedBins, RedKey, RedKind
from tests.unit.detection.shop import EPOCH_NS, FAULTS, Shop, batches

HISTORY_S = 75.0


def opened(shop: Shop, step_s: float) -> list[Incident]:
    """The incidents that were opened, as they were then; ``opened_ns`` includes lateness and poll."""
    red, bank, topology, book = RedAccumulator(), DetectorBank(), Topology(), IncidentBook()
    found = []
    for now_ns, spans in batches(shop.spans(), step_s):
        red.observe(spans)
        topology.observe(spans)
        changes = book.observe(bank.advance(red.drain(), now_ns), topology, now_ns)
        found += [c.incident for c in changes if c.kind is ChangeKind.OPENED]
    return found


def healthy(hours: float) -> dict[str, float]:
    runs, alarms = round(hours * 3), 0
    for seed in range(runs):
        incidents = opened(Shop(10_000 + seed, 1200, rate_hz=6 + 4 * (seed % 5) / 4), 5.0)
        alarms += bool(incidents)
        for incident in incidents:
            print(
                f"false alarm, seed {10_000 + seed}: {(incident.opened_ns - EPOCH_NS) / 1e9:.0f} s {incident.title}"
            )
            for a in incident.anomalies:
                print("   ", a.side, a.score, a.sentence)
    return {
        "hours": runs / 3,
        "runs": runs,
        "runs_with_alarm": alarms,
        "alarm_ratio": round(alarms / runs, 4),
    }


def faults(seeds: int) -> dict[str, dict[str, float | list[str]]]:
    table: dict[str, dict[str, float | list[str]]] = {}
    for fault in FAULTS:
        delays, titles = [], []
        for seed in range(seeds):
            at_s = HISTORY_S + 5 * seed / seeds
            incidents = opened(Shop(seed, at_s + 120, fault, at_s, rate_hz=6 + 4 * (seed % 5) / 4), 1.0)
            # The bin's end, plus two seconds of lateness and half a poll.
            delays.append(
                (incidents[0].opened_ns - EPOCH_NS) / 1e9 - at_s + 2.5 if incidents else float("inf")
            )
            titles += [incidents[0].title] if incidents else []
        table[fault] = {
            "median_s": round(statistics.median(delays), 1),
            "max_s": round(max(delays), 1),
            "missed_60s": sum(d > 60 for d in delays),
        }
        print(f"{fault:15} {table[fault]}   {max(set(titles), key=titles.count) if titles else 'never'}")
    return table


def cost(series: int = 2000, bins: int = 60) -> dict[str, float]:
    rng = np.random.default_rng(1)
    keys = tuple(RedKey(f"s{i // 10}", "", "default", f"op{i}", RedKind.SERVED) for i in range(series))
    bank, took = DetectorBank(), []
    for at in range(bins):
        count = rng.poisson(20, series)
        buckets = np.zeros((series, BUCKETS), np.int32)
        rows = np.repeat(np.arange(series), count)
        np.add.at(buckets, (rows, np.clip(rng.normal(50, 5, len(rows)), 0, BUCKETS - 1).astype(int)), 1)
        start = np.full(series, EPOCH_NS + at * 5 * 10**9)
        red = RedBins(
            keys, np.arange(series, dtype=np.int32), start, count, np.zeros_like(count), count * 1000, buckets
        )
        begin = time.perf_counter()
        bank.advance(red, EPOCH_NS + (at + 1) * 5 * 10**9 + 2 * 10**9)
        took.append((time.perf_counter() - begin) * 1e3)
    return {
        "series": series,
        "median_ms": round(statistics.median(took[15:]), 2),
        "max_ms": round(max(took[15:]), 2),
    }


def accumulate() -> dict[str, float]:
    spans = Shop(1, 1200).spans()
    red = RedAccumulator()
    red.observe(spans)
    red.drain()
    parts = list(batches(spans, 20.0))
    begin = time.perf_counter()
    for _, part in parts:
        red.observe(part)
    return {
        "spans": len(spans),
        "million_spans_per_s": round(len(spans) / (time.perf_counter() - begin) / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=200.0, help="simulated healthy hours")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each fault")
    options = parser.parse_args()
    result = {
        "cost": cost(),
        "accumulate": accumulate(),
        "faults": faults(options.seeds),
        "healthy": healthy(options.hours),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
