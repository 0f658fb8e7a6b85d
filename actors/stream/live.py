"""The live feed of a stream: what came in, rendered once as JSON, in a bounded buffer with cursors.

A frame holds rows of one source and one signal as columns, so that a subscriber's filter is decided a frame
at a time. Nothing is rendered while nobody listens. A reader that comes back too late is told how many rows
it missed; it never holds anything up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from actors.ports import LiveBatch, LiveFrame
from agent.telemetry.batch import ANY_STRING, LogBatch, SpanBatch
from agent.telemetry.frames import I64, U64
from agent.windows.tenant import Applied, TenantWindow

BUFFER_BYTES = 16 << 20
LISTENING_S = 10.0  # a reader that has not fetched for so long is gone
MAX_BODY_BYTES = 4096
SEVERITY_STEPS = np.asarray([1, 5, 9, 13, 17, 21])  # trace, debug, info, warn, error, fatal


class LiveFeed:
    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._frames: deque[tuple[int, LiveFrame]] = deque()
        self._bytes = 0
        self._cursor = 0
        self._dropped: deque[tuple[int, str, str, int]] = deque(maxlen=10_000)
        self._listened: dict[str, float] = {}
        self._news = asyncio.Event()

    def wanted(self, tenant: str, now_s: float) -> bool:
        """Whether somebody listens to a tenant; ``now_s`` is any steady clock."""
        return now_s - self._listened.get(tenant, -LISTENING_S) < LISTENING_S

    def watched(self, now_s: float) -> bool:
        """Whether somebody listens to any tenant."""
        return any(self.wanted(tenant, now_s) for tenant in self._listened)

    def publish(self, window: TenantWindow, applied: Applied) -> None:
        for frame in _frames(window, applied):
            self._cursor += 1
            self._frames.append((self._cursor, frame))
            self._bytes += len(frame.payload)
        while self._bytes > BUFFER_BYTES:
            cursor, frame = self._frames.popleft()
            self._bytes -= len(frame.payload)
            self._dropped.append((cursor, frame.tenant, frame.signal, frame.rows))

    def wake(self) -> None:
        """Let the waiting readers look."""
        self._news.set()
        self._news = asyncio.Event()

    async def fetch(self, tenant: str, epoch: int, cursor: int, wait_s: float, now_s: float) -> LiveBatch:
        """What came after ``cursor``, waiting for something up to ``wait_s``. A reader with another epoch
        (it is new, or the stream restarted) begins with what comes from now on."""
        self._listened[tenant] = now_s
        if epoch != self._epoch:
            return LiveBatch(self._epoch, self._cursor, (), {})
        if self._cursor == cursor and wait_s > 0:
            news = self._news
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), wait_s)
        frames = tuple(frame for at, frame in self._frames if at > cursor and frame.tenant == tenant)
        missed: Counter[str] = Counter()
        for at, who, signal, rows in self._dropped:
            if at > cursor and who == tenant:
                missed[signal] += rows
        return LiveBatch(self._epoch, self._cursor, frames, dict(missed))


def _frames(window: TenantWindow, applied: Applied) -> Iterator[LiveFrame]:
    for code in np.unique(applied.source).tolist():
        at = np.flatnonzero(applied.source == code)
        source = window.sources.states[code].source
        for severity, rows in _by_severity(applied, at):
            head = {
                "type": applied.signal.value,
                "service": source.service,
                "namespace": source.namespace,
                "instance": source.instance,
            }
            body = _columns(window, applied, rows)
            payload = orjson.dumps(
                {**head, "rows": len(rows), "columns": body}, option=orjson.OPT_SERIALIZE_NUMPY
            )
            yield LiveFrame(window.tenant, applied.signal.value, source.service, severity, len(rows), payload)


def _by_severity(applied: Applied, at: I64) -> Iterator[tuple[int, I64]]:
    """Log records are split by level, so that a filter by level is decided a frame at a time."""
    if not isinstance(applied.batch, LogBatch):
        yield 0, at
        return
    severity = applied.batch.severity[applied.rows[at]]
    step = np.searchsorted(SEVERITY_STEPS, severity, side="right")
    for level in np.unique(step).tolist():
        yield (int(SEVERITY_STEPS[level - 1]) if level else 0), at[step == level]


def _columns(window: TenantWindow, applied: Applied, at: I64) -> dict[str, Any]:
    batch, rows = applied.batch, applied.rows[at]
    if isinstance(batch, SpanBatch):
        names = window.names.texts
        return {
            "trace_id": hex_ids(batch.trace_hi[rows], batch.trace_lo[rows]),
            "span_id": hex_ids(batch.span_id[rows]),
            "parent_id": hex_ids(batch.parent_id[rows]),
            "name": [names[i] for i in applied.code[at].tolist()],
            "start_ms": batch.start_ns[rows] / 1e6,
            "duration_ms": (batch.end_ns[rows] - batch.start_ns[rows]) / 1e6,
            "kind": batch.kind[rows],
            "status": batch.status[rows],
        }
    if isinstance(batch, LogBatch):
        return {
            "time_ms": batch.time_ns[rows] / 1e6,
            "severity": batch.severity[rows],
            "body": [_body(batch, row) for row in rows.tolist()],
            "trace_id": hex_ids(batch.trace_hi[rows], batch.trace_lo[rows]),
            "span_id": hex_ids(batch.span_id[rows]),
        }
    series = window.series
    return {
        "metric": [series[i].name for i in applied.code[at].tolist()],
        "labels": [dict(series[i].labels) for i in applied.code[at].tolist()],
        "time_ms": batch.time_ns[rows] / 1e6,
        "value": batch.value[rows],
    }


def _body(batch: LogBatch, row: int) -> str:
    if batch.body_kind[row] != ANY_STRING:
        return "(structured body)"
    start, length = int(batch.body_off[row]), int(batch.body_len[row])
    text = batch.raw[start : start + min(length, MAX_BODY_BYTES)].tobytes().decode("utf-8", "replace")
    return text + "…" if length > MAX_BODY_BYTES else text


def hex_ids(*words: U64) -> list[str]:
    """Ids as OTLP/JSON writes them; all zeros are the empty text."""
    text = np.stack(words, axis=1).astype(">u8").tobytes().hex()
    width = 16 * len(words)
    zero = "0" * width
    ids = (text[i : i + width] for i in range(0, len(text), width))
    return ["" if one == zero else one for one in ids]
