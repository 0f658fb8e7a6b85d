"""What a detector reports: one signal of one service that is not as it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID, uuid5

_NAMESPACE = UUID("6f6a2c1e-7f0f-5b56-9a3a-2f5d3f0c9a11")


class ServiceKey(NamedTuple):
    """A service of a tenant, all its instances together; what anomalies are about and topology joins."""

    tenant: str
    namespace: str
    service: str


class Signal(StrEnum):
    LATENCY = "latency"
    ERRORS = "errors"
    TRAFFIC = "traffic"
    CPU = "cpu"
    MEMORY = "memory"
    RESTARTS = "restarts"


class Side(StrEnum):
    """Where it was seen: on requests the service answered, on calls it made, or on its resources."""

    SERVED = "served"
    CALLS = "calls"
    RESOURCE = "resource"


class EventKind(StrEnum):
    STARTED = "started"
    UPDATED = "updated"  # the evidence grew, or the worst operation is another
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """``score`` is the evidence in units of what one witness alone needs to open an incident (1.0);
    ``observed`` and ``expected`` are in ``unit`` (s, ratio, 1/s, or the metric's own). ``onset_ns`` is the
    estimated start of the change, ``detected_ns`` the end of the bin that confirmed it, ``ended_ns`` the
    begin of the first normal bin after it. ``operation`` is empty where the whole service is meant."""

    id: str
    tenant: str
    namespace: str
    service: str
    operation: str
    signal: Signal
    side: Side
    score: float
    onset_ns: int
    detected_ns: int
    ended_ns: int | None
    observed: float
    expected: float
    unit: str
    sentence: str

    @property
    def where(self) -> ServiceKey:
        return ServiceKey(self.tenant, self.namespace, self.service)

    @property
    def active(self) -> bool:
        return self.ended_ns is None


@dataclass(frozen=True, slots=True)
class AnomalyEvent:
    """``time_ns`` is the end of the bin that it was noticed with."""

    kind: EventKind
    anomaly: Anomaly
    time_ns: int


def anomaly_id(where: ServiceKey, side: Side, signal: Signal, detected_ns: int) -> str:
    """The same for the same telemetry, so that a replay or a restart names it again instead of twice."""
    return str(uuid5(_NAMESPACE, "\x1f".join((*where, side, signal, str(detected_ns)))))


def duration_text(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.1f} ms"


def latency_sentence(
    where: str, side: Side, operation: str, quantile: str, observed_s: float, expected_s: float
) -> str:
    what = f"{operation} in {where}" if side is Side.SERVED else f"{operation} called by {where}"
    return f"{quantile} latency of {what} is {duration_text(observed_s)}, usually {duration_text(expected_s)}"


def errors_sentence(where: str, side: Side, operation: str, observed: float, expected: float) -> str:
    what = f"requests to {where}" if side is Side.SERVED else f"calls made by {where}"
    of = f" ({operation})" if operation else ""
    return f"{observed:.0%} of {what}{of} fail, usually {expected:.1%}"


def traffic_sentence(where: str, observed_hz: float, expected_hz: float) -> str:
    return f"{where} gets {observed_hz:.2g} requests/s, usually {expected_hz:.2g}"
