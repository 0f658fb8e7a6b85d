from __future__ import annotations

from typing import Any

import pytest

from chatops.terminal.live import lines

SPANS = {"type": "spans", "service": "cart", "instance": "cart-1", "rows": 2,
         "columns": {"start_ms": [0.0, 61_500.0], "name": ["GET /", "PUT /"], "duration_ms": [1.5, 2.0], "status": [0, 2]}}  # fmt: skip
LOGS = {"type": "logs", "service": "cart", "instance": "", "rows": 1,
        "columns": {"time_ms": [0.0], "severity": [17], "body": ["[boom] no"]}}  # fmt: skip
METRICS = {"type": "metrics", "service": "cart", "instance": "", "rows": 1,
           "columns": {"time_ms": [0.0], "metric": ["cpu"], "labels": [{"core": "1"}], "value": [None]}}  # fmt: skip


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SPANS, ["00:00:00.000 spans   cart-1 GET / 1.50 ms", "00:01:01.500 spans   cart-1 PUT / 2.00 ms"]),
        (LOGS, ["00:00:00.000 logs    cart error [boom] no"]),
        (METRICS, ["00:00:00.000 metrics cart cpu{core=1} NaN"]),
        ({"type": "missed", "rows": {"spans": 4}}, ["missed 4 spans"]),
        ({"type": "missed", "rows": {}, "reason": "stream-0 restarted"}, ["missed stream-0 restarted"]),
        ({"type": "heartbeat", "time": 1.0}, []),
    ],
)
def test_lines(message: dict[str, Any], expected: list[str]) -> None:
    assert [line.plain for line in lines(message)] == expected
