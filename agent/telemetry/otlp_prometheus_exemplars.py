"""Exemplars of OTLP data points: found by a kernel, read one by one, since they are few beside the samples.

The labels of an exemplar are ``trace_id`` and ``span_id`` as hexadecimal digits, and the attributes that the
point has dropped, unless they make the exemplar longer than the 128 characters of OpenMetrics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_VALUE,
    METRIC_GAUGE,
    METRIC_SUMMARY,
)
from agent.telemetry.labels import Labels, labels_of
from agent.telemetry.otlp_attributes import attributes, content_of, double, message_fields
from agent.telemetry.unit_names import attribute_text
from agent.telemetry.wire import skip, varint

MAX_CHARACTERS = 128
NS_PER_MS = 1_000_000

# By METRIC_*: the field of a data point that holds its exemplars; gauges and summaries have none in Prometheus.
FIELD = (0, 5, 8, 11, 0)
_TIME, _DOUBLE, _SPAN_ID, _TRACE_ID, _INT, _ATTRIBUTES = 2, 3, 4, 5, 6, 7


@dataclass(frozen=True, slots=True)
class Exemplar:
    labels: Labels
    time_ms: int
    value: float


@njit(cache=True, nogil=True)
def rows_with_exemplars(raw, rows, kind, component, point_off, point_len, found):  # type: ignore[no-untyped-def]
    """Write those of ``rows`` that begin a data point with exemplars into ``found``; how many there are."""
    n = np.int64(0)
    for row in rows:
        if kind[row] == METRIC_GAUGE or kind[row] == METRIC_SUMMARY:
            continue
        if component[row] != COMPONENT_VALUE and component[row] != COMPONENT_COUNT:
            continue
        wanted = np.uint64(FIELD[kind[row]])
        pos = point_off[row]
        stop = pos + point_len[row]
        while pos < stop:
            tag, pos = varint(raw, pos)
            if tag >> np.uint64(3) == wanted:
                found[n] = row
                n += 1
                break
            pos = skip(raw, pos, tag & np.uint64(7))
    return n


def read_exemplars(point: bytes, kind: int) -> list[Exemplar]:
    """Those of a data point that have a value and a time."""
    return [
        exemplar for message in content_of(point, FIELD[kind]) if (exemplar := _exemplar(message)) is not None
    ]


def _exemplar(message: bytes) -> Exemplar | None:
    value: float | None = None
    time_ns, labels = 0, dict[str, str]()
    for number, content in message_fields(message):
        if isinstance(content, bytes):
            if number in (_SPAN_ID, _TRACE_ID) and any(content):
                labels["trace_id" if number == _TRACE_ID else "span_id"] = content.hex()
        elif number == _TIME:
            time_ns = content
        elif number == _DOUBLE:
            value = double(content)
        elif number == _INT:
            value = float(content - (1 << 64) if content >> 63 else content)
    if value is None or not 0 < time_ns < 1 << 63:
        return None
    dropped = attributes(content_of(message, _ATTRIBUTES))
    more = {key: attribute_text(text) for key, text in dropped.items() if key not in labels}
    if sum(len(key) + len(text) for key, text in (*labels.items(), *more.items())) <= MAX_CHARACTERS:
        labels |= more
    return Exemplar(labels_of(labels), time_ns // NS_PER_MS, value)
