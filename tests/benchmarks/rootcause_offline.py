"""The ranking alone over a recorded Nezha day, without the layer: learn every minute, ask after each fault.

``python -m tests.benchmarks.rootcause_offline --data FILE [--warmup FILE] [--after 120]``. Only what was
recorded before a question is read. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent.rootcause.answer import Answer
from agent.rootcause.baseline import NS, Baseline
from agent.rootcause.engine import analyse
from agent.rootcause.question import Scope
from agent.rootcause.ranking import find
from agent.rootcause.settings import RootCauseSettings
from agent.telemetry.frames import Telemetry
from agent.telemetry.nezha import Fault, Recording, files_of

MINUTE_NS = 60 * NS
TOP = (1, 3, 5)
LAST = 99


def rank_of(scores: Mapping[str, float], truth: str) -> int:
    """Ties share the worst rank; what was not named has the last."""
    mine = scores.get(truth, 0.0)
    return sum(score >= mine for score in scores.values()) if mine > 0 else LAST


class Replayed:
    """A day as it would come in: each minute is learned when it is over, late by ``late_s``."""

    def __init__(self, day: Recording, settings: RootCauseSettings, late_s: float = 5.0) -> None:
        self.day, self.baseline, self.late_ns = day, Baseline(settings), int(late_s * NS)
        self.next_ns = day.start_ns // MINUTE_NS * MINUTE_NS

    def learn_until(self, now_ns: int) -> None:
        while self.next_ns + MINUTE_NS + self.late_ns <= now_ns:
            self.baseline.learn(self.day.telemetry(self.next_ns, self.next_ns + MINUTE_NS, now_ns))
            self.next_ns += MINUTE_NS

    def ask(self, now_ns: int) -> tuple[Answer, Telemetry]:
        """The answer, with what it was made from; a stretch with a cause is not normal time."""
        self.learn_until(now_ns)
        settings = self.baseline.settings
        window = self.day.telemetry(now_ns - int(settings.window_s * NS), now_ns, now_ns)
        answer = analyse(Scope("why is latency up?"), window, self.baseline, settings)
        return answer, window

    def mark(self, answer: Answer, window: Telemetry) -> None:
        if answer.causes:
            self.baseline.exclude(int(answer.start_s * NS), window.end_ns)


def warm_up(baseline: Baseline, normal: Recording, before_ns: int) -> None:
    """Learn a fault-free recording as if it had ended just before ``before_ns``."""
    spans = normal.spans
    start, end = int(spans.start_ns.min()), int(spans.end_ns.max()) + 1
    baseline.learn(shifted(normal.telemetry(start, end), before_ns - end))


def shifted(telemetry: Telemetry, by_ns: int) -> Telemetry:
    spans, logs, metrics = telemetry.spans, telemetry.logs, telemetry.metrics
    return Telemetry(
        start_ns=telemetry.start_ns + by_ns,
        end_ns=telemetry.end_ns + by_ns,
        spans=replace(spans, start_ns=spans.start_ns + by_ns, end_ns=spans.end_ns + by_ns),
        logs=replace(logs, time_ns=logs.time_ns + by_ns),
        metrics=replace(metrics, time_ns=metrics.time_ns + by_ns),
    )


def describe(fault: Fault, window: Telemetry, baseline: Baseline) -> str:
    """The three first places with what each signal gives them, confident or not."""
    found = find(window, baseline, baseline.history(window.start_ns))
    places = found.window.places
    lines = []
    for place in np.argsort(-found.score)[:3]:
        parts = " ".join(f"{s.name} {s.scores()[place]:.2f} ({s.value[place]:.3g})" for s in found.signals)
        mark = "*" if places.label(place) == fault.pod else " "
        lines.append(f"     {mark}{places.label(place)[:40]:40s} {found.score[place]:.2f}  {parts}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--warmup", type=Path)
    parser.add_argument("--after", type=float, nargs="+", default=[120.0])
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--segment-s", type=float, default=20.0)
    args = parser.parse_args()
    settings = RootCauseSettings(segment_s=args.segment_s)
    replayed = Replayed(load(args.data), settings)
    if args.warmup:
        warm_up(replayed.baseline, load(args.warmup), replayed.day.start_ns)
    ranks: dict[float, list[tuple[int, int]]] = {after: [] for after in args.after}
    took: list[float] = []
    for fault in replayed.day.faults:
        for after in args.after:
            now_ns = fault.time_ns + int(after * NS)
            replayed.learn_until(now_ns)
            begin = time.perf_counter()
            answer, window = replayed.ask(now_ns)
            took.append(time.perf_counter() - begin)
            blamed = {c.instance: 1.0 / c.rank for c in reversed(answer.causes)}
            services = {c.service: 1.0 / c.rank for c in reversed(answer.causes)}
            pod, service = rank_of(blamed, fault.pod), rank_of(services, fault.service)
            ranks[after].append((pod, service))
            kind = answer.causes[0].kind.value if answer.causes else ""
            print(
                f"+{after:.0f}s {fault.kind:15s} {fault.pod:45s} pod {pod:2d} service {service:2d} {answer.verdict.value} "
                f"{kind} {answer.confidence:.2f}, {len(window.spans)} spans, {took[-1] * 1e3:.0f} ms"
            )
            if args.verbose or pod > 1:
                print(describe(fault, window, replayed.baseline))
            replayed.mark(answer, window)
    result = {
        f"{after:.0f}": {
            "pods": {f"AS@{k}": round(np.mean([p <= k for p, _ in r]), 4) for k in TOP},
            "services": {f"AS@{k}": round(np.mean([s <= k for _, s in r]), 4) for k in TOP},
        }
        for after, r in ranks.items()
    }
    print(
        json.dumps(
            {
                "cases": len(replayed.day.faults),
                "p50_ms": round(np.median(took) * 1e3),
                "max_ms": round(max(took[1:]) * 1e3),
                **result,
            }
        )
    )


def load(path: Path) -> Recording:
    return Recording(files_of(path))


if __name__ == "__main__":
    main()
