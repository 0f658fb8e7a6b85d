"""Making a tenant's window anew from the log, once its tables are full.

Tables of sources, names and series only grow while rows point into them, so that after days of restarting pods
they are full of what is long gone, and what is new is left out. The log still holds every row of the window:
applied again into an empty window, it brings up only what is alive. Whoever reads the old window goes on
reading it unharmed. What the detectors and the RED store have got already is not handed out again.
"""

from __future__ import annotations

import structlog

from actors.stream.core import STEP_RECORDS, Stream, Tenant, span_frame
from agent.settings import StreamSettings
from agent.telemetry.batch import Signal
from agent.windows.log import LogReader
from agent.windows.record import Record
from agent.windows.tenant import TenantWindow

MAX_PATIENCE = 64


def rebuilt(stream: Stream, name: str, settings: StreamSettings, reader: LogReader) -> Tenant:
    """The tenant as the log up to the stream's position has it. The caller has drained the stream, and
    applies nothing until the result is in its place."""
    old = stream.tenants[name]
    window = TenantWindow(name, stream.number, settings, old.window.metrics, replayed=True)
    fresh = Tenant(window, old.mesh, store=old.store, mesh_store=old.mesh_store)
    fresh.last_received_ns = old.last_received_ns
    low = old.window.low_position
    for done, record in enumerate(reader.read(stream.position if low is None else low, stream.position)):
        if record.meta.tenant == name:
            _apply(fresh, record)
        if done % STEP_RECORDS == 0:
            window.advance()
            _forget(fresh)
    window.advance()
    _forget(fresh)
    window.inherit(old.window)
    fresh.red.spans_refused = old.red.spans_refused
    fresh.since_ns = window.watermark_ns
    fresh.patience = min(2 * old.patience, MAX_PATIENCE) if window.limited else 1
    return fresh


def _apply(tenant: Tenant, record: Record) -> None:
    try:
        applied = tenant.window.apply(record)
    except Exception:  # counted when it came
        structlog.get_logger().debug("a record cannot be applied", position=record.position, exc_info=True)
        return
    if applied and applied.signal is Signal.SPANS:
        tenant.red.observe(span_frame(tenant.window, applied))


def _forget(tenant: Tenant) -> None:
    """The stream's journal and the RED store have these increments already."""
    tenant.red.drain()
    tenant.window.take_fresh_metrics()
