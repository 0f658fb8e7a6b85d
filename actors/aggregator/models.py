"""What the REST API answers; the OpenAPI document's schemas are made from these. NaN is null in JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.ports import RedSeries, SourceInfo


class Problem(msgspec.Struct, frozen=True):
    """``code`` is for programs, ``message`` says what was got, ``hint`` what would be right."""

    code: str
    message: str
    hint: str = ""


class ErrorReply(msgspec.Struct, frozen=True):
    error: Problem


class HealthReply(msgspec.Struct, frozen=True):
    status: str


class ReadyReply(msgspec.Struct, frozen=True):
    """``waiting_for`` names each actor that is not ready and why."""

    ready: bool
    waiting_for: dict[str, str]


class SourcesReply(msgspec.Struct, frozen=True):
    tenant: str
    sources: list[SourceInfo]


class ServiceSummary(msgspec.Struct, frozen=True):
    """A service over the last minute; the figures are null where it served nothing."""

    service: str
    namespace: str
    instances: int
    versions: list[str]
    last_seen_s: float
    rate_per_s: float | None
    error_ratio: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class ServicesReply(msgspec.Struct, frozen=True):
    tenant: str
    at_s: float
    services: list[ServiceSummary]


class RedReply(msgspec.Struct, frozen=True):
    service: str
    start_s: float
    end_s: float
    step_s: float
    series: list[RedSeries]


class TopologyReply(msgspec.Struct, frozen=True):
    """``edges`` hold caller, callee, calls, errors, p50_ms, p95_ms and last_seen_s."""

    tenant: str
    services: list[str]
    edges: list[dict[str, Any]]


class IncidentsReply(msgspec.Struct, frozen=True):
    """``partial`` says what is missing and why; empty where nothing is."""

    tenant: str
    incidents: list[dict[str, Any]]
    partial: str = ""


class TraceReply(msgspec.Struct, frozen=True):
    """``spans`` are depth first, children by start; ``depth`` is 0 for roots and for spans whose parent is
    not held."""

    trace_id: str
    spans: list[dict[str, Any]]


class EvidenceReply(msgspec.Struct, frozen=True):
    """``kind`` is trace, log, series, red or change; ``evidence`` is what the reference points at."""

    reference: str
    kind: str
    evidence: Any


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``at`` is a time as everywhere: RFC 3339, Unix seconds, now-15m."""

    question: str
    service: str | None = None
    at: str | float | None = None
    tenant: str | None = None


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who did it, and a word for whoever reads the incident later."""

    by: str = ""
    note: str = ""


class DocsReply(msgspec.Struct, frozen=True):
    """``routes`` by method and path, with their one-line summaries."""

    name: str
    version: str
    routes: dict[str, str]
