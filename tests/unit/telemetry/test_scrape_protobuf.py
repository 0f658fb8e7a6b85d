"""The protobuf exposition."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agent.telemetry.exposition import canonical_float
from agent.telemetry.exposition_protobuf import COUNTER, GAUGE_HISTOGRAM, HISTOGRAM, SUMMARY, message
from agent.telemetry.scrape_config import ACCEPT, Protocol
from agent.telemetry.varint import varint
from tests.unit.telemetry.test_scrape_result import Scrapes
from tests.unit.telemetry.write_requests import Request, is_stale, read_request

PROTOBUF = ACCEPT[Protocol.PROTOBUF]


def body(*families: dict[str, Any]) -> bytes:
    messages = [message("MetricFamily")(**family).SerializeToString() for family in families]
    return b"".join(varint(len(one)) + one for one in messages)


def pair(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def taken(scrapes: Scrapes, content: bytes) -> Request:
    scrapes.now_ms += 15_000
    scrapes.outcome = scrapes._scrapes.taken(content, PROTOBUF, scrapes.now_ms, 0.25)
    return read_request(scrapes.outcome.body)


def rows(request: Request) -> list[tuple[str, str, float]]:
    """``(name, le or quantile, value)`` without the series of the report."""
    found = [(dict(labels), value) for labels, _, value in request.samples]
    return [
        (labels["__name__"], labels.get("le") or labels.get("quantile", ""), value)
        for labels, value in found
        if labels["__name__"].startswith("m")
    ]


COUNTERS = {
    "name": "m_total", "help": "some", "type": COUNTER,
    "metric": [
        {
            "label": [pair("a", "b")], "timestamp_ms": 5,
            "counter": {"value": 3, "exemplar": {"label": [pair("t", "x")], "value": 0.5, "timestamp": {"seconds": 7}}},
        },
        {"counter": {"value": 4}},
    ],
}  # fmt: skip
CLASSIC = {
    "sample_count": 3, "sample_sum": 2.5,
    "bucket": [{"cumulative_count": 1, "upper_bound": 1.0}, {"cumulative_count": 2, "upper_bound": 2.5e6}],
}  # fmt: skip
NATIVE = {
    "sample_count": 4, "sample_sum": 2.5, "schema": -2, "zero_threshold": 0.001, "zero_count": 1,
    "positive_span": [{"offset": -1, "length": 2}, {"offset": 3, "length": 1}], "positive_delta": [1, 1, -1],
    "bucket": [{"cumulative_count": 4, "upper_bound": 1.0}],
    "exemplars": [{"label": [pair("t", "x")], "value": 0.5}],
}  # fmt: skip


def test_counters() -> None:
    scrapes = Scrapes()
    request = taken(scrapes, body(COUNTERS))
    assert rows(request) == [("m_total", "", 3.0), ("m_total", "", 4.0)]
    assert [time_ms for _, time_ms, _ in request.named("m_total")] == [5, scrapes.now_ms]
    assert request.metadata == {"m_total": (1, "some", "")}
    assert [one[1:] for one in request.exemplars] == [((("t", "x"),), 0.5, 7000)]
    again = taken(scrapes, body(COUNTERS))
    assert (again.exemplars, again.metadata) == ([], {})


def test_summaries_and_classic_histograms() -> None:
    summary = {"sample_count": 2, "sample_sum": 3, "quantile": [{"quantile": 0.99, "value": math.inf}]}
    request = taken(
        Scrapes(),
        body(
            {"name": "ms", "type": SUMMARY, "metric": [{"summary": summary}]},
            {"name": "mh", "type": HISTOGRAM, "metric": [{"histogram": CLASSIC}]},
        ),
    )
    assert rows(request) == [
        ("ms_count", "", 2.0), ("ms_sum", "", 3.0), ("ms", "0.99", math.inf), ("mh_count", "", 3.0),
        ("mh_sum", "", 2.5), ("mh_bucket", "1.0", 1.0), ("mh_bucket", "2.5e+06", 2.0), ("mh_bucket", "+Inf", 3.0),
    ]  # fmt: skip


@pytest.mark.parametrize(("classic", "floats"), [(False, 0), (True, 4)])
def test_native_histograms(classic: bool, floats: int) -> None:
    scrapes = Scrapes(classic_histograms=classic)
    family = {"name": "m", "type": HISTOGRAM, "metric": [{"histogram": NATIVE}]}
    request = taken(scrapes, body(family))
    ((labels, found),) = request.histograms
    assert dict(labels)["__name__"] == "m"
    assert (found.count_int, found.sum, found.schema, found.zero_count_int) == (4, 2.5, -2, 1)
    assert [(span.offset, span.length) for span in found.positive_spans] == [(-1, 2), (3, 1)]
    assert (list(found.positive_deltas), found.timestamp) == ([1, 1, -1], scrapes.now_ms)
    assert len(rows(request)) == floats
    assert len(request.exemplars) == 1
    assert request.named("scrape_series_added")[0][2] == 1.0 + floats
    gone = taken(scrapes, b"")
    assert all(is_stale(value) for _, _, value in rows(gone))
    assert len(rows(gone)) == 1 + floats


def test_a_gauge_histogram_says_so() -> None:
    family = {"name": "m", "type": GAUGE_HISTOGRAM, "metric": [{"histogram": NATIVE}]}
    outcome = Scrapes()
    taken(outcome, body(family))
    assert b"\x70\x03" in outcome.outcome.body


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xff", "cut off"),
        (b"\x05a", "beyond the end"),
        (b"\x02\xff\xff", "not valid protobuf"),
        (body({"name": ""}), "no name"),
        (body({"name": "m", "type": 17}), "a type"),
        (body({"name": "m", "type": COUNTER, "metric": [{"label": [pair("a", "b")] * 2}]}), "label twice"),
        (
            body(
                {"name": "m", "type": HISTOGRAM, "metric": [{"histogram": {**NATIVE, "positive_delta": [1]}}]}
            ),
            "spans",
        ),
    ],
)
def test_refused(content: bytes, error: str) -> None:
    scrapes = Scrapes()
    request = taken(scrapes, content)
    assert error in scrapes.outcome.error
    assert request.named("up")[0][2] == 0.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"), (1.0, "1.0"), (-1.0, "-1.0"), (0.005, "0.005"), (1e-5, "1e-05"), (100000.0, "100000.0"),
        (1e6, "1e+06"), (1234567.5, "1.2345675e+06"), (0.0001, "0.0001"), (math.inf, "+Inf"), (1e100, "1e+100"),
        (2.5, "2.5"), (10.0, "10.0"),
    ],
)  # fmt: skip
def test_numbers_in_labels(value: float, text: str) -> None:
    assert canonical_float(value) == text
