"""RED series from what a service mesh measures: Istio (Envoy) and Linkerd, by the names of their metrics.

A proxy beside a service counts what the service itself may not tell. What the proxy of the answering side
reports is **served**, what that of the asking side reports are **calls**, as with spans. The proxies send running
totals; increments are their differences, after a reset the value itself; the first sample of a series tells
nothing yet. Latencies come as cumulative buckets with the proxy's own bounds and are spread evenly over the
buckets of ``agent.detection.histogram`` that lie between two bounds.

| metric | what is taken |
| --- | --- |
| ``istio_requests_total`` | requests, errors by ``response_code`` and ``grpc_response_status`` |
| ``istio_request_duration_milliseconds`` (bucket, sum) | latency |
| ``response_total`` | Linkerd: requests, errors by ``classification`` |
| ``response_latency_ms`` (bucket, sum) | Linkerd: latency |

Linkerd's ``request_total`` counts the same requests when they begin, and is known but not added.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from agent.detection.histogram import BUCKETS, LOWER_NS, UPPER_NS
from agent.detection.red import RedBins, RedKey, RedKind, RedSettings
from agent.telemetry.frames import F64, I32, I64
from agent.telemetry.labels import METRIC_NAME

NS_PER_MS = 1e6
_UNKNOWN = ("", "unknown")
# Of gRPC's statuses those that the server is to blame for: unknown, deadline, unimplemented, internal,
# unavailable, data loss.
_GRPC_ERRORS = frozenset({"2", "4", "12", "13", "14", "15"})


class Part(IntEnum):
    REQUESTS = 0
    ERRORS = 1  # requests that failed
    SUM = 2  # of latencies, in milliseconds
    BUCKET = 3
    STARTED = 4  # not added


@dataclass(frozen=True, slots=True)
class MeshSeries:
    """What a series tells about; ``bound_ms`` is the upper bound of a bucket."""

    key: RedKey
    part: Part
    bound_ms: float = math.inf


def mesh_series(labels: Mapping[str, str], tenant: str) -> MeshSeries | None:
    """What a mesh tells by a series of these labels; None where it is none of a mesh, or of nobody known."""
    name = labels.get(METRIC_NAME, "")
    istio = _ISTIO.get(name)
    if istio is not None:
        return _of(istio, _istio_key(labels, tenant), _istio_failed(labels), labels)
    linkerd = _LINKERD.get(name)
    if linkerd is not None and "direction" in labels:
        return _of(linkerd, _linkerd_key(labels, tenant), labels.get("classification") == "failure", labels)
    return None


_ISTIO = {
    "istio_requests_total": Part.REQUESTS,
    "istio_request_duration_milliseconds_bucket": Part.BUCKET,
    "istio_request_duration_milliseconds_sum": Part.SUM,
}
_LINKERD = {
    "request_total": Part.STARTED,
    "response_total": Part.REQUESTS,
    "response_latency_ms_bucket": Part.BUCKET,
    "response_latency_ms_sum": Part.SUM,
}


def _of(part: Part, key: RedKey | None, failed: bool, labels: Mapping[str, str]) -> MeshSeries | None:
    if key is None:
        return None
    if part is Part.BUCKET:
        bound = _number(labels.get("le", ""))
        return None if math.isnan(bound) else MeshSeries(key, part, bound)
    return MeshSeries(key, Part.ERRORS if part is Part.REQUESTS and failed else part)


def _istio_key(labels: Mapping[str, str], tenant: str) -> RedKey | None:
    served = labels.get("reporter") == "destination"
    side = "destination" if served else "source"
    service = _first(labels, f"{side}_canonical_service", f"{side}_workload", f"{side}_app")
    if not service and served:
        service = _first(labels, "destination_service_name")
    if not service:
        return None
    operation = _first(labels, "request_operation", "request_protocol") or "http"
    if not served:
        operation = _first(labels, "destination_canonical_service", "destination_service_name") or operation
    return _key(service, _first(labels, f"{side}_workload_namespace"), tenant, operation, served)


def _istio_failed(labels: Mapping[str, str]) -> bool:
    """A code of 0 is an answer that never came."""
    code = labels.get("response_code", "")
    return code == "0" or code.startswith("5") or labels.get("grpc_response_status", "") in _GRPC_ERRORS


def _linkerd_key(labels: Mapping[str, str], tenant: str) -> RedKey | None:
    served = labels["direction"] == "inbound"
    service = _first(labels, "deployment", "statefulset", "daemonset", "workload_name", "app")
    if not service:
        return None
    operation = _first(labels, "rt_route") or "http"
    if not served:
        operation = _first(labels, "dst_service", "dst_deployment") or operation
    return _key(service, _first(labels, "namespace"), tenant, operation, served)


def _key(service: str, namespace: str, tenant: str, operation: str, served: bool) -> RedKey:
    return RedKey(service, namespace, tenant, operation, RedKind.SERVED if served else RedKind.CALLS)


def _first(labels: Mapping[str, str], *names: str) -> str:
    return next((labels[name] for name in names if labels.get(name, "") not in _UNKNOWN), "")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


_ROW = np.dtype([("key", np.int32), ("bin", np.int64), ("part", np.int32), ("bound", np.float64)])


class MeshAccumulator:
    """Running totals in, increments out; ``max_series`` bounds what is remembered."""

    def __init__(self, settings: RedSettings | None = None, max_series: int = 100_000) -> None:
        self._bin_ns = (settings or RedSettings()).bin_ns
        self._max_series = max_series
        self._keys: dict[RedKey, int] = {}
        # By series: its key, part and bound, and its last value and time.
        self._key, self._part = np.empty(0, np.int32), np.empty(0, np.int32)
        self._bound_ms, self._last = np.empty(0), np.empty(0)
        self._last_ns = np.empty(0, np.int64)
        self._known = 0
        # By key and bin: requests, errors, sum; and by bound the increments of the cumulative buckets.
        self._sums: defaultdict[tuple[int, int], F64] = defaultdict(lambda: np.zeros(3))
        self._buckets: defaultdict[tuple[int, int], dict[float, float]] = defaultdict(dict)

    def __len__(self) -> int:
        return self._known

    def add_series(self, series: MeshSeries) -> int:
        """The number under which ``observe`` takes its samples; -1 where there is no room for more."""
        if self._known >= self._max_series:
            return -1
        if self._known == len(self._key):
            room = max(256, 2 * self._known)
            for name in ("_key", "_part", "_bound_ms", "_last", "_last_ns"):
                column = getattr(self, name)
                setattr(self, name, np.resize(column, room) if len(column) else np.zeros(room, column.dtype))
        n = self._known
        self._key[n] = self._keys.setdefault(series.key, len(self._keys))
        self._part[n], self._bound_ms[n] = series.part, series.bound_ms
        self._last[n], self._last_ns[n] = math.nan, -1
        self._known += 1
        return n

    def observe(self, series: I32, time_ns: I64, value: F64) -> None:
        """Samples in any order; what is older than the last one of its series, and NaN, is left out."""
        keep = ~np.isnan(value) & (series >= 0)
        keep[keep] &= time_ns[keep] > self._last_ns[series[keep]]
        order = np.flatnonzero(keep)[np.lexsort((time_ns[keep], series[keep]))]
        if not len(order):
            return
        code, time, now = series[order], time_ns[order], value[order]
        first = np.diff(code, prepend=-1) != 0
        before = np.where(first, self._last[code], np.roll(now, 1))
        increment = np.where(np.isnan(before), 0.0, np.where(now >= before, now - before, now))
        last = np.append(first[1:], True)
        self._last[code[last]], self._last_ns[code[last]] = now[last], time[last]
        self._add(code, time // self._bin_ns, increment)

    def drain(self) -> RedBins:
        """The increments since the last call, one row a series and bin."""
        filled = {place for place, held in self._buckets.items() if any(held.values())}
        places = sorted(self._sums.keys() | filled)
        used = sorted({key for key, _ in places})
        new_code = {key: place for place, key in enumerate(used)}
        by_code = list(self._keys)
        sums = np.asarray([self._sums[p] if p in self._sums else np.zeros(3) for p in places]).reshape(-1, 3)
        buckets = [spread(self._buckets[place]) if place in self._buckets else NOTHING for place in places]
        bins = RedBins(
            keys=tuple(by_code[key] for key in used),
            series=np.asarray([new_code[key] for key, _ in places], np.int32),
            bin_start_ns=np.asarray([bin_ * self._bin_ns for _, bin_ in places], np.int64),
            count=np.rint(sums[:, 0]).astype(np.int64),
            errors=np.rint(sums[:, 1]).astype(np.int64),
            sum_ns=np.rint(sums[:, 2]).astype(np.int64),
            buckets=np.asarray(buckets, np.int32).reshape(-1, BUCKETS),
        )
        self._sums.clear()
        self._buckets.clear()
        return bins

    def _add(self, code: I32, bin_: I64, increment: F64) -> None:
        """Add up what falls together; the loop is over sums, not over samples."""
        part, key = self._part[code], self._key[code]
        # A bucket that got nothing still says where the one above it begins.
        wanted = (part == Part.BUCKET) | ((increment > 0) & (part != Part.STARTED))
        rows = np.empty(int(wanted.sum()), _ROW)
        rows["key"], rows["bin"], rows["part"] = key[wanted], bin_[wanted], part[wanted]
        rows["bound"] = self._bound_ms[code][wanted]
        distinct, place = np.unique(rows, return_inverse=True)
        total = np.bincount(place.reshape(-1), increment[wanted], len(distinct))
        found: list[tuple[int, int, int, float]] = distinct.tolist()
        for (one, at_bin, kind, bound_ms), amount in zip(found, total.tolist(), strict=True):
            at = one, at_bin
            if kind == Part.BUCKET:
                held = self._buckets[at]
                held[bound_ms] = held.get(bound_ms, 0.0) + amount
            elif kind == Part.SUM:
                self._sums[at][2] += amount * NS_PER_MS
            else:
                self._sums[at] += (amount, amount if kind == Part.ERRORS else 0.0, 0.0)


NOTHING = np.zeros(BUCKETS, np.int32)


def spread(cumulative: Mapping[float, float]) -> I32:
    """Increments of cumulative buckets by their upper bounds in ms as the layer's latency histogram, with
    the same total. Beyond the last finite bound a latency is taken to be at it."""
    found = np.zeros(BUCKETS)
    low_ms, below = 0.0, 0.0
    for high_ms in sorted(cumulative):
        amount = cumulative[high_ms] - below
        if amount > 0:
            found += amount * _shares(low_ms * NS_PER_MS, high_ms * NS_PER_MS)
            below = cumulative[high_ms]
        low_ms = high_ms
    # Whole requests: what rounding takes from one bucket it gives to the next.
    return np.diff(np.rint(np.cumsum(found)), prepend=0.0).astype(np.int32)


def _shares(low_ns: float, high_ns: float) -> F64:
    """How much of ``(low_ns, high_ns]`` lies in each bucket."""
    if math.isinf(high_ns):
        high_ns = low_ns * (1 + 1e-9) + 1.0
    overlap = np.minimum(UPPER_NS, high_ns) - np.maximum(LOWER_NS, low_ns)
    overlap[-1] = max(0.0, high_ns - max(float(LOWER_NS[-1]), low_ns))
    overlap = np.maximum(overlap, 0.0)
    return np.asarray(overlap / overlap.sum())
