"""The metric window alone: cost of a sample, of a query, of a sealed sample, of a series.

``python -m tests.benchmarks.metrics_window [--series 1000000] [--small 10000]`` appends records as the gateway
writes them (2,000 series each, scraped every 15 s), seals every quarter of an hour of event time, and asks. Costs
are seconds of the process' CPU over all its threads, but for what says ``wall``. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from agent.promql.values import Matcher
from agent.telemetry.frames import F64, I64, U8, U64
from agent.telemetry.labels import encode_labels, hash_labels, labels_of
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.loading import load_kernels
from agent.windows.metrics.upkeep import MetricLimits
from agent.windows.metrics.window import MetricWindow

STEP_MS = 15_000
START_MS = 1_700_000_100_000
RECORD_SERIES = 2000
TICKS_A_BLOCK = 60
METRICS = [f"{area}_{what}" for area in ("http", "grpc", "queue", "db", "cache") for what in (
    "requests_total", "errors_total", "bytes_total", "temperature_celsius", "in_flight", "ratio",
    "latency_seconds_bucket", "info")]  # fmt: skip


def series_labels(number: int) -> bytes:
    """Forty metrics of services in pods, as a cluster has them."""
    pod = number // len(METRICS)
    return encode_labels(labels_of({
        "__name__": METRICS[number % len(METRICS)], "job": f"service-{pod % 50}", "namespace": f"team-{pod % 7}",
        "instance": f"10.{pod >> 16 & 255}.{pod >> 8 & 255}.{pod & 255}:8080",
        "pod": f"service-{pod % 50}-{pod * 2654435761 % 2**32:08x}",
    }))  # fmt: skip


class Load:
    """Series and their values from tick to tick: counters of very different rates, temperatures with two
    digits, small integers, ratios with three, buckets that mostly rest, constants."""

    def __init__(self, series: int, seed: int = 1) -> None:
        self.series = series
        self._random = np.random.default_rng(seed)
        encoded = [series_labels(i) for i in range(series)]
        self.hashes: U64 = np.asarray([hash_labels(one) for one in encoded], np.uint64)
        self.sizes: I64 = np.asarray([len(one) for one in encoded], np.int64)
        self.raw: U8 = np.frombuffer(b"".join(encoded), np.uint8)
        self._kind = np.arange(series) % 8
        self._rate = np.exp(self._random.normal(1.5, 2.0, series))
        self._rate[self._kind == 6] *= 0.02
        self.value: F64 = self._random.integers(0, 10**6, series).astype(np.float64)
        self.value[self._kind == 3] = 40.0
        self.value[self._kind == 7] = 1.0

    def tick(self) -> F64:
        """The values of all series at the next tick."""
        kind, random = self._kind, self._random
        counters = (kind < 3) | (kind == 6)
        self.value[counters] += random.poisson(self._rate[counters])
        walking = kind == 3
        steps = np.round(random.normal(0, 0.3, int(walking.sum())), 2)
        self.value[walking] = np.round(self.value[walking] + steps, 2)
        self.value[kind == 4] = random.poisson(8, int((kind == 4).sum()))
        self.value[kind == 5] = np.round(random.beta(2, 8, int((kind == 5).sum())), 3)
        return self.value

    def records(self, first_tick: int, ticks: int, define: bool) -> Iterator[SampleBatch]:
        values = np.stack([self.tick().copy() for _ in range(ticks)], axis=1)
        times = START_MS + STEP_MS * np.arange(first_tick, first_tick + ticks)
        for start in range(0, self.series, RECORD_SERIES):
            rows = slice(start, min(start + RECORD_SERIES, self.series))
            yield self._record(rows, times, values[rows], define)

    def _record(self, rows: slice, times: I64, values: F64, define: bool) -> SampleBatch:
        count, ends = len(values), np.cumsum(self.sizes[rows])
        begin = int(self.sizes[: rows.start].sum()) if define else 0
        none64, none32 = np.empty(0, np.int64), np.empty(0, np.int32)
        fields: dict[str, Any] = dict.fromkeys(("histogram_time_ms", "histogram_off", "histogram_len", "exemplar_time_ms", "exemplar_off", "exemplar_len", "metadata_off", "metadata_len"), none64)  # fmt: skip
        return SampleBatch(
            raw=self.raw[begin : begin + int(ends[-1])] if define else np.empty(0, np.uint8),
            defined_since=np.zeros(1, np.int64),
            series_hash=self.hashes[rows],
            sample_count=np.full(count, len(times), np.int32),
            histogram_count=np.zeros(count, np.int32),
            time_ms=np.tile(times, count),
            value=np.ascontiguousarray(values).reshape(-1),
            define_hash=self.hashes[rows] if define else np.empty(0, np.uint64),
            define_off=ends - self.sizes[rows] if define else none64,
            define_len=self.sizes[rows] if define else none64,
            exemplar_series=none32,
            exemplar_value=np.empty(0, np.float64),
            **fields,
        )


class Cost:
    """CPU and wall seconds of what runs in its blocks."""

    def __init__(self) -> None:
        self.cpu_s = self.wall_s = self.longest_s = 0.0

    def __enter__(self) -> None:
        self._from = time.process_time(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        took = time.perf_counter() - self._from[1]
        self.cpu_s += time.process_time() - self._from[0]
        self.wall_s += took
        self.longest_s = max(self.longest_s, took)


def new_window() -> MetricWindow:
    return MetricWindow(MetricLimits(max_series=2_000_000), lambda contents: contents)


def fill(
    window: MetricWindow, load: Load, first: int, ticks: int, together: int, define: bool = False
) -> Cost:
    """Append ticks, so many a record; the records are made before the clock runs."""
    cost = Cost()
    for tick in range(first, first + ticks, together):
        for record in load.records(tick, together, define):
            with cost:
                window.append(record, tick)
    return cost


def append_cost(series: int, together: int, ticks: int) -> dict[str, float]:
    """ns a sample once the series are known, and what a new series costs."""
    window, load = new_window(), Load(series)
    first = fill(window, load, 0, 1, 1, define=True)
    fill(window, load, 1, together, together)
    cost = fill(window, load, 1 + together, ticks, together)
    return {
        "append_ns": cost.cpu_s * 1e9 / (series * ticks),
        "new_series_us": first.cpu_s * 1e6 / series,
    }


def timed(
    window: MetricWindow, matchers: list[Matcher], span_ms: tuple[int, int]
) -> tuple[float, float, int]:
    """``(CPU s of the first time, best of five more, samples)``."""
    costs, found = [], None
    for _ in range(6):
        cost = Cost()
        with cost:
            found = window.select(matchers, *span_ms)
        costs.append(cost.cpu_s)
    assert found is not None
    return costs[0], min(costs[1:]), len(found.time_ms)


def gather_cost(folder: Path) -> dict[str, float]:
    """8,000 series x 260 samples of one metric, from the head and from blocks."""
    load, window = Load(8000 * len(METRICS) // 8), new_window()
    fill(window, load, 0, 260, 20, define=True)
    which = [Matcher("__name__", "=~", "http_.+")]
    span = START_MS, START_MS + 260 * STEP_MS
    _, head, samples = timed(window, which, span)
    for block in range(1, 3):
        window.seal(START_MS + block * TICKS_A_BLOCK * STEP_MS, folder)
    cold, warm, again = timed(window, which, span)
    assert samples == again
    return {
        "gather_samples": samples, "gather_head_ms": head * 1e3, "gather_blocks_cold_ms": cold * 1e3,
        "gather_blocks_ms": warm * 1e3,
    }  # fmt: skip


def long_run(series: int, blocks: int, folder: Path) -> dict[str, float]:
    """Half hours of event time: memory, disk, seals, restart."""
    gc.collect()
    process = psutil.Process()
    load = Load(series)
    before = process.memory_info().rss
    window, seals, most = new_window(), Cost(), 0
    fill(window, load, 0, 4, 4, define=True)
    for block in range(blocks):
        first = max(4, block * TICKS_A_BLOCK + 40 * (block > 0))
        behind = (block + 1) * TICKS_A_BLOCK + 40
        fill(window, load, first, behind - first, 4)
        most = max(most, process.memory_info().rss - before)
        with seals:
            window.seal(START_MS + (block + 1) * TICKS_A_BLOCK * STEP_MS, folder)
    sealed = sum(info.samples for info in window.blocks)
    figures = {
        "block_bytes_a_sample": window.block_bytes / sealed,
        "seal_msamples_a_cpu_s": sealed / seals.cpu_s / 1e6,
        "memory_bytes_a_series": most / series,
        "accounted_bytes_a_series": window.nbytes / series,
    }
    del window
    gc.collect()
    cost = Cost()
    with cost:
        again = new_window()
        again.open(folder)
    return figures | {"open_s": cost.wall_s, "opened_series": len(again)}


def replay_cost(series: int, samples: int) -> dict[str, float]:
    """A log of the series with their definitions, applied to an empty window."""
    load, window, ticks = Load(series), new_window(), samples // series
    cost = fill(window, load, 0, 4, 4, define=True)
    rest = fill(window, load, 4, ticks - 4, 4)
    return {"replay_msamples_a_cpu_s": samples / (cost.cpu_s + rest.cpu_s) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--blocks", type=int, default=4)
    chosen = parser.parse_args()
    load_kernels()
    figures: dict[str, float] = {}
    for name, series, ticks in (("small", chosen.small, 240), ("large", chosen.series, 16)):
        for together in (4, 1):
            found = append_cost(series, together, ticks)
            figures |= {f"{key}_{name}_{together}": value for key, value in found.items()}
            print(name, series, together, found, flush=True)
    figures |= replay_cost(chosen.small, 7_000_000)
    with tempfile.TemporaryDirectory() as folder:
        figures |= gather_cost(Path(folder))
    print(figures, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        figures |= long_run(chosen.series, chosen.blocks, Path(folder))
    print(json.dumps({key: round(value, 3) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
