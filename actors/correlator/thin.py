"""Less of a stretch that is too big to analyse at once: whole traces are left out, evenly.

Which traces stay follows from their ids alone, so the streams, a replay and a second question choose the
same, and no trace is ever half there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.rootcause.hashing import mix_columns
from agent.telemetry.frames import U64, Bool, Telemetry, select


def thinned(telemetry: Telemetry, max_spans: int) -> Telemetry:
    """Keeps about ``max_spans`` spans, and of the logs those of the kept traces and those of no trace.
    The same object where it has no more than that."""
    if len(telemetry.spans) <= max_spans:
        return telemetry
    share = max_spans / len(telemetry.spans)
    spans, logs = telemetry.spans, telemetry.logs
    traceless = (logs.trace_hi == 0) & (logs.trace_lo == 0)
    return replace(
        telemetry,
        spans=select(spans, _kept(spans.trace_hi, spans.trace_lo, share)),
        logs=select(logs, _kept(logs.trace_hi, logs.trace_lo, share) | traceless),
    )


def _kept(trace_hi: U64, trace_lo: U64, share: float) -> Bool:
    """``share``: 0 to 1, exclusive, of all traces."""
    return np.asarray(mix_columns(trace_hi, trace_lo) < np.uint64(share * 2**64), np.bool_)
