"""A stream: windows, limits, repetition, restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from actors.stream.core import Increment, Stream
from agent.detection.red import RedSettings
from agent.errors import NotFound
from agent.telemetry.batch import Signal
from agent.windows.log import LogReader
from agent.windows.tenant import TenantWindow
from tests.otlp import NOW_NS, gauge, logs, several, traces
from tests.unit.stream.feeding import Fed

S = 10**9


def test_all_signals_of_a_stretch_come_back_joined_by_source(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    fed.send(Signal.SPANS, traces("cart", [1, 2], NOW_NS))
    fed.send(Signal.LOGS, logs("cart", ["order 17 taken", "order 18 taken"], NOW_NS))
    fed.send(Signal.METRICS, gauge("cart", "queue", [1.0, 2.0], NOW_NS))
    found = fed.stream.telemetry("default", NOW_NS - S, NOW_NS + S)
    assert found is not None
    assert [len(found.spans), len(found.logs), len(found.metrics)] == [2, 2, 2]
    assert {found.spans.sources[i].service for i in found.spans.source} == {"cart"}
    assert len(set(found.logs.template.tolist())) == 1


def test_what_is_sent_twice_counts_once(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    for signal, body in (
        (Signal.SPANS, traces("cart", [1, 2], NOW_NS)),
        (Signal.LOGS, logs("cart", ["a"], NOW_NS)),
        (Signal.METRICS, gauge("cart", "queue", [1.0], NOW_NS)),
    ):
        fed.send(signal, body)
        assert fed.send(signal, body) == []
    assert fed.stream.left_out == {"repeated": 4}


def test_a_restart_gives_the_same_windows_and_red_series(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    fed.send(Signal.SPANS, traces("cart", range(1, 100), NOW_NS))
    fed.send(Signal.LOGS, logs("cart", ["a", "b"], NOW_NS))
    again = fed.restarted()
    assert again.rows == fed.stream.rows
    assert again.position == fed.stream.position
    assert (
        [i.red.count.sum() for i in again.drain()] == [i.red.count.sum() for i in fed.stream.drain()] == [99]
    )


def test_increments_say_what_came_since_the_last_drain(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    fed.send(Signal.SPANS, traces("cart", [1], NOW_NS))
    assert [int(i.red.count.sum()) for i in fed.stream.drain()] == [1]
    assert fed.stream.drain() == []
    fed.send(Signal.METRICS, gauge("cart", "queue", [1.0, 2.0], NOW_NS))
    assert [len(i.metrics) for i in fed.stream.drain()] == [2]


def test_age_evicts_and_late_rows_are_counted(tmp_path: Path) -> None:
    fed = Fed(tmp_path, window_s=60.0)
    fed.send(Signal.SPANS, traces("cart", [1], NOW_NS))
    fed.send(Signal.SPANS, traces("cart", [2], NOW_NS + 600 * S), received_ns=NOW_NS)
    fed.send(Signal.SPANS, traces("cart", [3], NOW_NS + 5))
    assert fed.stream.left_out["older_than_window"] == 1


def test_the_log_is_trimmed_to_what_the_windows_refer_to(tmp_path: Path) -> None:
    fed = Fed(tmp_path, window_s=60.0, segment_bytes=1 << 20)
    for i in range(40):
        at_ns = NOW_NS + i * 20 * S
        fed.send(
            Signal.LOGS, logs("cart", [f"{i} {j} " + "x" * 100 for j in range(500)], at_ns), received_ns=at_ns
        )
    assert len(list(tmp_path.glob("*.wal"))) < 6
    assert len(fed.window.logs) < 40 * 500


def test_bytes_evict_the_oldest_and_say_so(tmp_path: Path) -> None:
    fed = Fed(tmp_path, max_window_bytes=4 << 20)
    for i in range(12):
        fed.send(Signal.SPANS, traces("cart", range(1 + i * 10_000, 1 + (i + 1) * 10_000), NOW_NS + i))
    assert fed.stream.nbytes <= 4 << 20
    assert fed.stream.left_out["evicted_by_bytes"] > 0


def test_a_source_past_its_series_is_cut_off_and_its_neighbour_is_not(tmp_path: Path) -> None:
    fed = Fed(tmp_path, max_series_per_source=10)
    fed.send(Signal.METRICS, gauge("wild", "m", list(range(50)), NOW_NS))
    fed.send(Signal.METRICS, gauge("calm", "m", [1.0, 2.0], NOW_NS))
    assert fed.stream.left_out == {"series_limit": 40}
    assert {state.source.service: state.rows["metrics"] for state in fed.window.sources.states} == {
        "wild": 10,
        "calm": 2,
    }


def test_sources_past_the_limit_are_counted(tmp_path: Path) -> None:
    fed = Fed(tmp_path, max_sources=3)
    fed.send(Signal.SPANS, several([traces(f"s{i}", [i + 1], NOW_NS) for i in range(5)]))
    assert fed.stream.left_out == {"source_limit": 2}


def test_tenants_have_their_own_time(tmp_path: Path) -> None:
    fed = Fed(tmp_path, window_s=60.0)
    fed.send(Signal.SPANS, traces("cart", [1], NOW_NS))
    fed.send(Signal.SPANS, traces("cart", [2], NOW_NS - 10**17), tenant="yesteryear")
    assert fed.stream.left_out == {}
    assert fed.stream.watermarks() == {"default": NOW_NS, "yesteryear": NOW_NS - 10**17}


def test_a_tenant_that_fell_silent_is_let_go(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    fed.send(Signal.SPANS, traces("cart", [1], NOW_NS), tenant="gone")
    fed.send(Signal.SPANS, traces("cart", [2], NOW_NS), received_ns=NOW_NS + 7200 * S)
    with pytest.raises(NotFound, match="gone"):
        fed.stream.window("gone")


def test_two_wrong_clocks_do_not_move_the_watermark(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    right = [traces(f"right-{i}", [i + 1], NOW_NS) for i in range(6)]
    wrong = [traces(f"wrong-{i}", [i + 100], NOW_NS + 300 * S) for i in range(2)]
    fed.send(Signal.SPANS, several([*right, *wrong]))
    assert fed.stream.watermarks() == {"default": NOW_NS}


def test_an_updowncounter_is_a_gauge_and_a_counter_a_running_total(tmp_path: Path) -> None:
    request = ExportMetricsServiceRequest.FromString(gauge("cart", "memory", [1.0], NOW_NS))
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    for name, monotonic in (("in.use", False), ("requests", True)):
        total = metrics.add(name=name).sum
        total.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
        total.is_monotonic = monotonic
        total.data_points.add(time_unix_nano=NOW_NS, as_double=5.0)
    fed = Fed(tmp_path)
    fed.send(Signal.METRICS, request.SerializeToString())
    frame = fed.window.metric_frame(0, NOW_NS + 1)
    assert {s.name: bool(c) for s, c in zip(frame.series, frame.cumulative, strict=True)} == {
        "memory": False, "in.use": False, "requests": True,
    }  # fmt: skip


def test_a_record_that_cannot_be_applied_is_counted_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = Fed(tmp_path)
    fed.send(Signal.SPANS, traces("cart", [1], NOW_NS))

    def poisoned(*_: object) -> None:
        raise ValueError("odd record")

    with monkeypatch.context() as patch:
        patch.setattr(TenantWindow, "apply", poisoned)
        assert fed.send(Signal.SPANS, traces("cart", [2], NOW_NS)) == []
    assert len(fed.send(Signal.SPANS, traces("cart", [3], NOW_NS))) == 1
    assert fed.stream.left_out == {"failed_records": 1}
    assert fed.stream.position == fed.writer.position


def test_a_restart_hands_out_what_would_not_fit_until_the_first_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = Fed(tmp_path)
    for i in range(40):
        fed.send(Signal.SPANS, traces("cart", [i + 1], NOW_NS + i * 10 * S), received_ns=NOW_NS + i * 10 * S)
    small = RedSettings(max_pending_rows=10)
    monkeypatch.setattr("agent.detection.red.RedSettings", lambda: small)
    taken: list[Increment] = []
    again = Stream(0, fed.settings, LogReader(fed.folder))
    again.recover(taken.extend)
    taken += again.drain()
    assert sum(int(increment.red.count.sum()) for increment in taken) == 40
    assert again.red_spans_refused == 0
    assert taken[-1].watermark_ns == NOW_NS + 390 * S


def test_the_watermark_is_the_same_however_many_records_come_at_once(tmp_path: Path) -> None:
    fed = Fed(tmp_path, window_s=60.0)
    for i in range(50):
        fed.send(Signal.SPANS, traces("cart", [i + 1], NOW_NS + i * S))
    assert fed.restarted().watermarks() == fed.stream.watermarks() == {"default": NOW_NS + 49 * S}


def test_who_stops_following_has_applied_what_was_yielded(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    for i in range(3):
        for _, buffers in fed.intake.accept(
            Signal.SPANS, traces("cart", [i + 1], NOW_NS), "default", NOW_NS
        ).writes:
            fed.writer.append(buffers)
    following = fed.stream.follow(fed.writer.position)
    next(following)
    following.close()  # type: ignore[attr-defined]
    assert len(list(fed.stream.follow(fed.writer.position))) == 2
    assert fed.stream.left_out == {}
