"""A fleet of services for benchmarks with very many series: who they are, and what they measure.

Every instance has 250 series with the ten labels or so of an application in Kubernetes:

    120  buckets of a latency histogram: 10 routes x 12 bounds, cumulative, filled by Poisson draws
     20  its counts and sums; the sums are of measured times, with all digits of a double
     50  counters of events, by Poisson draws
     10  counters of bytes: tens of thousands to tens of millions a step, never twice the same
     10  memory in use, in pages, that walks
     10  small whole numbers round a level: queues, threads, open files
     10  ratios that were computed, with all digits
      5  counters of seconds with two decimals
      5  gauges with two decimals that walk
     10  constants: a version, limits

Rates are log-normal and differ by a factor of thousands, so that some series rest for minutes and others move at every
step. Counters begin where an uptime of up to 30 days has brought them. An instance has its own offset in the step, and
exact steps from there on, as scrapers that align their times send them. There are no gaps, and no series come or go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agent.telemetry.frames import F64, I64

INSTANCE_SERIES = 250
BLOCK_INSTANCES = 8
BLOCK_SERIES = BLOCK_INSTANCES * INSTANCE_SERIES
NAMESPACES, SERVICES = 20, 100

ROUTES = [(method, f"/api/v1/{path}") for method in ("GET", "POST") for path in (
    "cart", "checkout", "items/:id", "search", "users/:id")]  # fmt: skip
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NAMES: Sequence[Mapping[str, str]] = [
    *({"__name__": "http_request_duration_seconds_bucket", "method": method, "path": path, "le": str(le)}
      for method, path in ROUTES for le in (*BOUNDS, "+Inf")),
    *({"__name__": f"http_request_duration_seconds_{part}", "method": method, "path": path}
      for part in ("count", "sum") for method, path in ROUTES),
    *({"__name__": "http_requests_total", "method": method, "path": path, "code": code}
      for method, path in ROUTES for code in ("200", "404", "500")),
    *({"__name__": "db_queries_total", "statement": f"select_{i}"} for i in range(10)),
    *({"__name__": "messages_processed_total", "topic": f"orders.{i}"} for i in range(10)),
    *({"__name__": "client_sent_bytes_total", "peer": f"backend-{i}"} for i in range(10)),
    *({"__name__": "memory_pool_bytes", "pool": f"generation-{i}"} for i in range(9)),
    {"__name__": "process_resident_memory_bytes"},
    *({"__name__": "queue_messages", "queue": f"orders.{i}"} for i in range(8)),
    {"__name__": "process_threads"},
    {"__name__": "process_open_fds"},
    *({"__name__": "cache_hit_ratio", "cache": f"region-{i}"} for i in range(10)),
    {"__name__": "process_cpu_seconds_total"},
    *({"__name__": "worker_busy_seconds_total", "worker": str(i)} for i in range(4)),
    *({"__name__": "temperature_celsius", "sensor": str(i)} for i in range(5)),
    {"__name__": "build_info", "version": "1.27.3"},
    *({"__name__": "resource_limit", "resource": f"resource-{i}"} for i in range(9)),
]  # fmt: skip


def target(instance: int) -> dict[str, str]:
    service = f"service-{instance % SERVICES}"
    return {
        "cluster": "eu-west-1",
        "container": "server",
        "instance": f"10.{instance >> 16}.{instance >> 8 & 255}.{instance & 255}:8080",
        "job": service,
        "namespace": namespace(instance % NAMESPACES),
        "pod": f"{service}-7d9f6c5b4-{instance * 2654435761 % 2**32:08x}",
    }


def namespace(number: int) -> str:
    return f"team-{number}"


class _Total:
    """What series have come to, from step to step."""

    def __init__(self, begin: F64) -> None:
        self._last = begin

    def after(self, change: F64) -> F64:
        """Steps are the last axis."""
        totals: F64 = self._last[..., None] + change.cumsum(axis=-1)
        self._last = totals[..., -1]
        return totals


class _Latency:
    """The histograms of a block: Poisson draws a bucket, log-logistic latencies."""

    def __init__(self, rng: np.random.Generator, uptime: I64) -> None:
        self._rng = rng
        routes = BLOCK_INSTANCES, len(ROUTES)
        self._mean_s = np.exp(rng.normal(-3.0, 1.0, routes))
        below = 1.0 / (1.0 + (self._mean_s[..., None] / np.asarray(BOUNDS)) ** 3)
        edges = np.zeros((*routes, 1)), below, np.ones((*routes, 1))
        rate = np.exp(rng.normal(0.5, 2.0, routes))
        self._rate = rate[..., None] * np.diff(np.concatenate(edges, axis=2), axis=2)
        began = rng.poisson(self._rate * uptime[..., None]).cumsum(axis=2).astype(np.float64)
        self._buckets = _Total(began)
        self._spent_s = _Total(began[..., -1] * self._mean_s * rng.normal(1.0, 0.01, routes))

    def next(self, steps: int) -> tuple[F64, F64, F64]:
        """Buckets, counts, sums."""
        seen = self._rng.poisson(self._rate[..., None], (*self._rate.shape, steps)).cumsum(axis=2)
        buckets = self._buckets.after(seen.astype(np.float64))
        noise = self._rng.normal(1.0, 0.1, (*self._mean_s.shape, steps))
        sums = self._spent_s.after(seen[:, :, -1] * self._mean_s[..., None] * noise)
        return buckets.reshape(BLOCK_INSTANCES, -1, steps), buckets[:, :, -1], sums


class FleetBlock:
    """The series of eight instances, and their values from step to step; the same ones for the same ``number``."""

    def __init__(self, number: int, step_ms: int) -> None:
        rng = self._rng = np.random.default_rng(number)
        self._step_ms = step_ms
        self._offset_ms = np.repeat(rng.integers(0, step_ms, BLOCK_INSTANCES), INSTANCE_SERIES)
        uptime = rng.integers(0, 30 * 86_400_000 // step_ms, (BLOCK_INSTANCES, 1))
        self._latency = _Latency(rng, uptime)
        self._event_rate, self._traffic_rate = self._rates(50, 0.5, 2.0), self._rates(10, 13.0, 1.5)
        self._busy_rate, self._level = self._rates(5, 4.0, 1.0), self._rates(10, 1.5, 1.0)
        self._events = _Total(np.rint(self._event_rate * uptime))
        self._traffic = _Total(np.rint(self._traffic_rate * uptime))
        self._busy = _Total(np.rint(self._busy_rate * uptime))
        self._pages = _Total(1e5 + np.rint(self._rates(10, 9.0, 1.0)))
        self._ratio = rng.beta(6.0, 2.0, (BLOCK_INSTANCES, 10))
        self._hundredths = _Total(np.rint(rng.normal(4000.0, 500.0, (BLOCK_INSTANCES, 5))))
        limits = 2.0 ** rng.integers(8, 34, (BLOCK_INSTANCES, 9))
        self._constant = np.concatenate([np.ones((BLOCK_INSTANCES, 1)), limits], axis=1)

    @staticmethod
    def series(number: int) -> list[dict[str, str]]:
        """The labels of a block's series."""
        instances = range(number * BLOCK_INSTANCES, (number + 1) * BLOCK_INSTANCES)
        return [{**target(instance), **name} for instance in instances for name in NAMES]

    def times(self, start_ms: int, steps: int) -> I64:
        """In ms: a row a series."""
        return self._offset_ms[:, None] + start_ms + self._step_ms * np.arange(steps)

    def values(self, steps: int) -> F64:
        """Those of the next steps: a row a series."""
        parts = (
            *self._latency.next(steps),
            self._events.after(self._drawn(self._event_rate, steps)),
            self._traffic.after(
                np.rint(self._traffic_rate[..., None] * abs(self._noise(10, steps, 0.3) + 1))
            ),
            4096.0 * np.maximum(self._pages.after(np.rint(self._noise(10, steps, 200.0))), 1.0),
            self._drawn(self._level, steps),
            np.clip(self._ratio[..., None] + self._noise(10, steps, 0.02), 0.0, 1.0),
            self._busy.after(self._drawn(self._busy_rate, steps)) / 100,
            self._hundredths.after(np.rint(self._noise(5, steps, 30.0))) / 100,
            np.broadcast_to(self._constant[..., None], (*self._constant.shape, steps)),
        )
        return np.concatenate(parts, axis=1).reshape(BLOCK_SERIES, steps)

    def _rates(self, series: int, mean: float, sigma: float) -> F64:
        """Of so many series an instance; mean and deviation of their logarithms."""
        return np.exp(self._rng.normal(mean, sigma, (BLOCK_INSTANCES, series)))

    def _drawn(self, rate: F64, steps: int) -> F64:
        return self._rng.poisson(rate[..., None], (*rate.shape, steps)).astype(np.float64)

    def _noise(self, series: int, steps: int, deviation: float) -> F64:
        return self._rng.normal(0.0, deviation, (BLOCK_INSTANCES, series, steps))
