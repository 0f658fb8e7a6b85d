"""Opening what a stream holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.red import RedAsked
from actors.stream.lookup import find_log, find_samples, find_trace, red_series, source_infos
from agent.errors import BadInput, NotFound
from agent.telemetry.batch import Signal
from agent.windows.log import LogReader
from tests.otlp import NOW_NS, gauge, logs, traces
from tests.unit.stream.feeding import Fed

S = 10**9


@pytest.fixture
def fed(tmp_path: Path) -> Fed:
    made = Fed(tmp_path)
    made.send(Signal.SPANS, traces("cart", [1, 2], NOW_NS))
    made.send(Signal.LOGS, logs("cart", ["first", "second"], NOW_NS, severity=17))
    made.send(Signal.METRICS, gauge("cart", "queue", [4.0], NOW_NS))
    made.stream.drain()
    return made


def test_a_trace_opens_with_its_spans(fed: Fed) -> None:
    frame = fed.window.span_frame(fed.window.spans.between(0, NOW_NS + 1))
    trace_id = f"{int(frame.trace_hi[0]):016x}{int(frame.trace_lo[0]):016x}"
    [span] = find_trace(fed.stream, LogReader(fed.folder), "default", trace_id)
    assert (span["service"], span["name"], span["kind"], span["duration_ms"]) == (
        "cart",
        "GET /thing",
        "server",
        5.0,
    )


@pytest.mark.parametrize("trace_id", ["", "xyz", "0" * 32, "1" * 31, "٣" * 32])
def test_what_is_no_trace_id_is_refused(fed: Fed, trace_id: str) -> None:
    with pytest.raises(BadInput, match="32 hex digits"):
        find_trace(fed.stream, LogReader(fed.folder), "default", trace_id)


def test_a_log_record_opens_by_its_reference(fed: Fed) -> None:
    ref = int(fed.window.logs.between(0, NOW_NS + 10)["ref"][1])
    record = find_log(fed.stream, LogReader(fed.folder), "default", ref)
    assert (record["body"], record["service"], record["severity"]) == ("second", "cart", 17)
    with pytest.raises(NotFound):
        find_log(fed.stream, LogReader(fed.folder), "default", ref + 1)


def test_samples_of_a_metric_open_by_service_and_name(fed: Fed) -> None:
    [series] = find_samples(fed.stream, "default", "cart", "", "queue", 0, NOW_NS + 1)
    assert series["value"] == [4.0]
    assert series["labels"] == {"i": "0"}
    assert find_samples(fed.stream, "default", "cart", "", "other", 0, NOW_NS + 1) == []


def test_red_series_of_a_service_and_of_its_operations(fed: Fed) -> None:
    asked = RedAsked("default", None, NOW_NS - 10 * S, NOW_NS + 10 * S, 20.0, by_operation=False)
    [whole] = red_series(fed.stream, asked)
    assert whole.rate_per_s == [pytest.approx(0.1)]
    assert whole.p50_ms[0] == pytest.approx(5.0, rel=0.12)
    [operation] = red_series(fed.stream, replace(asked, service="cart", by_operation=True))
    assert operation.operation == "GET /thing"


def test_sources_are_listed_with_what_they_sent(fed: Fed) -> None:
    [source] = source_infos(fed.stream, "default")
    assert (source.spans, source.logs, source.samples) == (2, 2, 1)
    assert source_infos(fed.stream, "unknown") == []


def test_samples_that_come_while_a_metric_is_opened_do_no_harm(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = fed.window.samples.between

    def meanwhile(start_ns: int, end_ns: int) -> Any:
        fed.send(Signal.METRICS, gauge("cart", "depth", [1.0, 2.0, 3.0], NOW_NS))
        return between(start_ns, end_ns)

    monkeypatch.setattr(fed.window.samples, "between", meanwhile)
    [series] = find_samples(fed.stream, "default", "cart", "", "queue", 0, NOW_NS + 1)
    assert series["value"] == [4.0]
