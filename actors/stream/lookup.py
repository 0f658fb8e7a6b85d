"""Opening what a stream holds: sources, RED series, a trace, a log record, the samples of a metric."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from actors.ports import RedSeries, SourceInfo
from actors.red import RedAsked, red_of_store
from actors.stream.core import Stream
from actors.stream.live import hex_ids
from agent.detection.red import RedBins
from agent.errors import BadInput, NotFound
from agent.telemetry.frames import Series, split_ref
from agent.telemetry.otlp_details import log_details, span_details
from agent.windows.log import LogReader

MAX_TRACE_SPANS = 10_000
KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")
TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")


def source_infos(stream: Stream, tenant: str) -> list[SourceInfo]:
    held = stream.tenants.get(tenant)
    return [
        SourceInfo(
            tenant=tenant,
            service=state.source.service,
            namespace=state.source.namespace,
            instance=state.source.instance,
            version=state.source.version,
            stream=stream.number,
            first_seen_ns=state.first_ns,
            last_seen_ns=state.last_ns,
            spans=state.rows.get("spans", 0),
            logs=state.rows.get("logs", 0),
            samples=state.rows.get("metrics", 0),
            attributes=dict(state.attributes),
        )
        for state in (held.window.sources.states if held else ())
    ]


def red_series(stream: Stream, asked: RedAsked) -> list[RedSeries]:
    """What the spans of services tell."""
    held = stream.tenants.get(asked.tenant)
    return red_of_store(held.store, asked) if held else []


def mesh_bins(stream: Stream, tenant: str, service: str | None, start_ns: int, end_ns: int) -> list[RedBins]:
    """What proxies tell of services, of one or of all, also of those whose spans lie in other streams."""
    held = stream.tenants.get(tenant)
    return [held.mesh_store.bins(service, start_ns, end_ns)] if held else []


def find_trace(stream: Stream, reader: LogReader, tenant: str, trace_id: str) -> list[dict[str, Any]]:
    """The spans of a trace, by start. At most 10,000; a larger trace is cut there."""
    number = int(trace_id, 16) if TRACE_ID.fullmatch(trace_id) else 0
    if not number:
        raise BadInput("bad_trace_id", f"a trace id is 32 hex digits, not all zero; got {trace_id[:80]!r}")
    held = stream.tenants.get(tenant)
    if held is None:
        return []
    high, low = np.uint64(number >> 64), np.uint64(number & (2**64 - 1))
    rows = held.window.spans.where(trace_lo=low, trace_hi=high)
    order = np.argsort(rows["start_ns"], kind="stable")[:MAX_TRACE_SPANS]
    ids, parents = hex_ids(rows["span_id"]), hex_ids(rows["parent_id"])
    sources, names = held.window.sources.table(), held.window.names.table()
    return [
        {
            "trace_id": trace_id.lower(),
            "span_id": ids[i],
            "parent_id": parents[i],
            "service": sources[rows["source"][i]].service,
            "instance": sources[rows["source"][i]].instance,
            "name": names[rows["name"][i]],
            "kind": KINDS[min(int(rows["kind"][i]), 5)],
            "status": STATUSES[min(int(rows["status"][i]), 2)],
            "start_s": rows["start_ns"][i] / 1e9,
            "duration_ms": (rows["end_ns"][i] - rows["start_ns"][i]) / 1e6,
            **span_details(*_message(reader, int(rows["ref"][i]), int(rows["size"][i]))),
        }
        for i in order.tolist()
    ]


def find_log(stream: Stream, reader: LogReader, tenant: str, ref: int) -> dict[str, Any]:
    """Raises ``NotFound`` when the record has left the window."""
    window = stream.window(tenant)
    rows = window.logs.where(ref=np.int64(ref))
    if not len(rows["ref"]):
        raise NotFound(f"log:{ref} is not in the hot window of stream {stream.number} (any more)")
    source = window.sources.table()[rows["source"][0]]
    return {
        "ref": ref,
        "service": source.service,
        "instance": source.instance,
        "time_s": rows["time_ns"][0] / 1e9,
        "severity": int(rows["severity"][0]),
        "trace_id": hex_ids(rows["trace_hi"], rows["trace_lo"])[0],
        "span_id": hex_ids(rows["span_id"])[0],
        **log_details(*_message(reader, ref, int(rows["size"][0]))),
    }


def find_samples(
    stream: Stream, tenant: str, service: str, instance: str, metric: str, start_ns: int, end_ns: int
) -> list[dict[str, Any]]:
    held = stream.tenants.get(tenant)
    if held is None:
        return []

    def wanted(series: Series) -> bool:
        return (
            series.source.service == service
            and instance in ("", series.source.instance)
            and series.name == metric
        )

    frame = held.window.metric_frame(start_ns, end_ns, wanted)
    return list(_rendered(frame))


def _rendered(frame: Any) -> Iterator[dict[str, Any]]:
    for i, series in enumerate(frame.series):
        rows = slice(frame.offsets[i], frame.offsets[i + 1])
        yield {
            "metric": series.name,
            "service": series.source.service,
            "instance": series.source.instance,
            "labels": dict(series.labels),
            "cumulative": bool(frame.cumulative[i]),
            "time_s": (frame.time_ns[rows] / 1e9).tolist(),
            "value": [None if math.isnan(value) else value for value in frame.value[rows].tolist()],
        }


def _message(reader: LogReader, ref: int, size: int) -> tuple[Any, int, int]:
    raw = np.frombuffer(reader.bytes_at(split_ref(ref)[1], size), np.uint8)
    return raw, 0, size
