from __future__ import annotations

from typing import Any

import pytest

from agent.telemetry.batch import Reject
from agent.telemetry.otlp_logs import decode_logs
from agent.telemetry.otlp_metrics import decode_metrics
from agent.telemetry.otlp_spans import decode_spans
from agent.telemetry.screen import Limits, screen
from tests.unit.telemetry.requests import (
    NOW_NS,
    attributes,
    gauge,
    log_record,
    logs_body,
    metrics_body,
    number,
    span,
    trace_body,
)

LIMITS = Limits(max_past_s=60.0, max_future_s=10.0, max_name_bytes=20, max_row_bytes=200)
S = 1_000_000_000


@pytest.mark.parametrize(
    ("fields", "reject"),
    [
        ({}, Reject.NONE),
        ({"start_time_unix_nano": NOW_NS - 60 * S}, Reject.NONE),
        ({"start_time_unix_nano": NOW_NS - 60 * S - 1}, Reject.TOO_OLD),
        ({"end_time_unix_nano": NOW_NS + 10 * S}, Reject.NONE),
        ({"end_time_unix_nano": NOW_NS + 10 * S + 1}, Reject.IN_THE_FUTURE),
        ({"name": "n" * 21}, Reject.NAME_TOO_LONG),
        ({"attributes": attributes({"k": "v" * 200})}, Reject.ROW_TOO_LARGE),
        ({"trace_id": b"", "name": "n" * 21}, Reject.BAD_TRACE_ID),
    ],
)
def test_spans(fields: dict[str, Any], reject: Reject) -> None:
    assert screen(decode_spans(trace_body([span(**fields)])), NOW_NS, LIMITS).reject[0] == reject


def test_logs_and_metrics() -> None:
    old = NOW_NS - 61 * S
    logs = decode_logs(logs_body([log_record(time_unix_nano=old), log_record()]))
    assert screen(logs, NOW_NS, LIMITS).reject.tolist() == [Reject.TOO_OLD, 0]
    metrics = decode_metrics(metrics_body([gauge(number(), number(time_unix_nano=NOW_NS + 11 * S))]))
    assert screen(metrics, NOW_NS, LIMITS).reject.tolist() == [0, Reject.IN_THE_FUTURE]


def test_the_batch_given_is_not_changed() -> None:
    batch = decode_spans(trace_body([span(name="n" * 21)]))
    screen(batch, NOW_NS, LIMITS)
    assert batch.reject.tolist() == [0]
