"""The metrics of a fleet of services over some hours, for benchmarks of queries: remote-write bodies in the order of
time, as every system under test gets them.

    10 services of 40 instances: a latency histogram of 20 buckets (8,000 series), requests by status (2,000),
    memory in use (400), and what version an instance runs (400).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agent.telemetry.frames import F64
from tests.benchmarks.bodies import Template

SERVICES, INSTANCES = 10, 40
BOUNDS = (
    "0.001", "0.0025", "0.005", "0.0075", "0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.25", "0.35", "0.5",
    "0.75", "1", "1.5", "2.5", "5", "10", "+Inf",
)  # fmt: skip
CODES = ("200", "201", "404", "500", "503")


@dataclass(frozen=True, slots=True)
class Load:
    """``steps`` samples a series, ``step_ms`` apart from ``start_ms`` on."""

    start_ms: int
    steps: int
    step_ms: int = 15_000
    steps_a_body: int = 20

    @property
    def end_ms(self) -> int:
        return self.start_ms + (self.steps - 1) * self.step_ms

    def bodies(self) -> Iterator[bytes]:
        """Snappy bodies; those of one stretch of time before those of the next."""
        groups = [_Group(labels) for labels in (*_buckets(), _requests(), _memory(), _versions())]
        for first in range(0, self.steps, self.steps_a_body):
            steps = min(self.steps_a_body, self.steps - first)
            for group in groups:
                yield group.body(self.start_ms + first * self.step_ms, self.step_ms, steps)

    @property
    def samples(self) -> int:
        return self.steps * (SERVICES * INSTANCES * (len(BOUNDS) + len(CODES) + 2))


class _Group:
    """Series that travel in one body; counters but for gauges of memory and versions."""

    def __init__(self, labels: list[dict[str, str]]) -> None:
        self._labels = labels
        self._kind = labels[0]["__name__"]
        self._rng = np.random.default_rng(len(labels))
        self._last = self._rng.integers(0, 1000, len(labels)).astype(np.float64)
        if "le" in labels[0]:
            # What a bucket gets a step: the share of observations below its bound.
            self._rate = np.asarray([8.0 * (BOUNDS.index(one["le"]) + 1) / len(BOUNDS) for one in labels])
        else:
            self._rate = np.asarray(
                [{"500": 0.3, "503": 0.1}.get(one.get("code", ""), 5.0) for one in labels]
            )

    def body(self, start_ms: int, step_ms: int, steps: int) -> bytes:
        times = start_ms + step_ms * np.arange(steps)
        return Template(self._labels, steps).body(times, self._values(steps))

    def _values(self, steps: int) -> F64:
        shape = len(self._labels), steps
        if self._kind == "build_info":
            return np.ones(shape)
        if self._kind == "process_resident_memory_bytes":
            walk = np.round(1e5 * self._rng.standard_normal(shape).cumsum(axis=1)) * 4096
            return np.maximum(self._last[:, None] * 1e6 + walk, 4096.0)
        grown = self._rng.poisson(np.broadcast_to(self._rate[:, None], shape)).cumsum(axis=1)
        values: F64 = self._last[:, None] + grown
        self._last = values[:, -1]
        return values


def _target(service: int, instance: int) -> dict[str, str]:
    return {
        "cluster": "eu-west-1",
        "instance": f"10.1.{service}.{instance}:8080",
        "job": f"shop/service-{service}",
        "namespace": "shop",
        "pod": f"service-{service}-7d9f6c5b4-{instance:05d}",
        "service": f"service-{service}",
    }


def _targets() -> list[dict[str, str]]:
    return [_target(service, instance) for service in range(SERVICES) for instance in range(INSTANCES)]


def _buckets() -> Iterator[list[dict[str, str]]]:
    """Two thousand series at a time."""
    every = [
        {"__name__": "http_request_duration_seconds_bucket", "le": le, **target}
        for target in _targets()
        for le in BOUNDS
    ]
    for first in range(0, len(every), 2000):
        yield every[first : first + 2000]


def _requests() -> list[dict[str, str]]:
    return [
        {"__name__": "http_requests_total", "code": code, **target} for target in _targets() for code in CODES
    ]


def _memory() -> list[dict[str, str]]:
    return [{"__name__": "process_resident_memory_bytes", **target} for target in _targets()]


def _versions() -> list[dict[str, str]]:
    return [
        {"__name__": "build_info", "version": f"1.{i % 3}", **target} for i, target in enumerate(_targets())
    ]
