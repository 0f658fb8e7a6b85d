"""Prometheus series in a stream: from the log to the windows, the sources, the detectors and the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.stream.core import Stream
from actors.stream.queries import Asked, Queries
from actors.stream.rebuild import rebuilt
from agent.errors import CorruptLog
from agent.promql.options import EngineOptions
from agent.promql.parse import parse
from agent.promql.values import Grid, Matcher
from agent.telemetry.batch import Signal
from agent.telemetry.metric_policy import MetricPolicy, MetricRule
from agent.telemetry.samples import SampleBatch
from agent.windows.tenant import TenantWindow
from tests.otlp import NOW_NS, gauge
from tests.unit.stream.feeding import Fed
from tests.unit.windows.metrics.building import series

NOW_MS = NOW_NS // 10**6
REQUESTS = series("http_requests_total", job="shop", instance="a:80")
CPU = series("process_cpu_seconds_total", job="shop", instance="a:80")
ALL = Matcher("__name__", "=~", ".+")


@pytest.fixture
def fed(tmp_path: Path) -> Fed:
    return Fed(tmp_path)


def points(count: int, step_ms: int = 15_000) -> list[tuple[int, float]]:
    return [(NOW_MS - (count - 1 - i) * step_ms, float(i)) for i in range(count)]


def held(fed: Fed) -> dict[tuple[tuple[str, str], ...], int]:
    found = fed.window.metrics.window.select([ALL], 0, NOW_MS)
    return dict(zip(found.labels.rows(), np.diff(found.offsets).tolist(), strict=True))


def test_remote_write_reaches_the_window_and_its_source(fed: Fed) -> None:
    fed.write({REQUESTS: points(4)})
    assert held(fed) == {REQUESTS: 4}
    source = fed.window.sources.states[0]
    assert (source.source.service, source.source.instance) == ("shop", "a:80")
    assert source.rows == {"metrics": 4}
    assert fed.window.watermark_ns == NOW_NS // 10**6 * 10**6


def rows_applied(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records were applied at once, each time, when a stream takes in the log anew."""
    runs: list[int] = []
    read = {record.position: i for i, record in enumerate(fed.stream._reader.read(0, fed.writer.position))}
    apply = TenantWindow.apply_samples

    def noting(window: TenantWindow, batch: SampleBatch, stretch: tuple[int, int]) -> None:
        runs.append(read[stretch[1]] - read[stretch[0]] + 1)
        apply(window, batch, stretch)

    monkeypatch.setattr(TenantWindow, "apply_samples", noting)
    fed.stream = fed.restarted()
    return runs


def test_records_of_known_series_are_applied_together(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    for point in points(6):
        fed.write({CPU: [point], REQUESTS: [point]})
    apart = held(fed), fed.window.sources.states[0].rows, fed.stream.drain()[0].metrics.value.tolist()
    assert rows_applied(fed, monkeypatch) == [1, 5]  # the first one defines the series
    assert (held(fed), fed.window.sources.states[0].rows) == apart[:2]
    assert fed.stream.drain()[0].metrics.value.tolist() == apart[2]


def test_what_the_detectors_are_given_outlives_the_buffers(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    for point in points(9):
        fed.write({CPU: [point]})
    monkeypatch.setattr("actors.stream.core.STEP_ROWS", 3)
    assert rows_applied(fed, monkeypatch) == [1, 3, 3, 2]
    frame = fed.stream.drain()[0].metrics
    assert (frame.value.tolist(), frame.time_ns.tolist()) == (
        [value for _, value in points(9)],
        [time_ms * 10**6 for time_ms, _ in points(9)],
    )


def test_records_of_other_tenants_and_large_ones_part_the_run(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.stream.core.STEP_ROWS", 5)
    for tenant in ("default", "other"):
        fed.write({CPU: [(NOW_MS - 5000, 0.0)]}, tenant)
    for i, tenant in enumerate(["default", "default", "other", "default", "default", "default"]):
        fed.write({CPU: [(NOW_MS - 1000 + k, 0.0) for k in (2 * i, 2 * i + 1)]}, tenant)
    assert rows_applied(fed, monkeypatch) == [1, 1, 2, 1, 2, 1]
    assert held(fed) == {CPU: 11}


def test_one_record_that_cannot_be_applied_takes_no_other_with_it(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = points(5)
    for point in written:
        fed.write({CPU: [point]})

    apply = TenantWindow.apply_samples

    def odd(window: TenantWindow, batch: SampleBatch, stretch: tuple[int, int]) -> None:
        if written[2][0] in batch.time_ms:
            raise ValueError("odd record")
        apply(window, batch, stretch)

    monkeypatch.setattr(TenantWindow, "apply_samples", odd)
    fed.stream = fed.restarted()
    assert (held(fed), fed.stream.left_out) == ({CPU: 4}, {"failed_records": 1})


def test_the_detectors_are_given_what_they_watch(fed: Fed) -> None:
    fed.write({REQUESTS: points(4), CPU: points(3)})
    frame = fed.stream.drain()[0].metrics
    assert [(one.name, one.source.service, one.labels) for one in frame.series] == [
        ("process_cpu_seconds_total", "shop", ())
    ]
    assert frame.cumulative.tolist() == [True]
    assert frame.value.tolist() == [0.0, 1.0, 2.0]


def test_samples_sent_again_count_once(fed: Fed) -> None:
    for _ in range(2):
        fed.written.forget()  # the gateway restarted
        fed.write({CPU: points(3)})
    assert held(fed) == {CPU: 3}
    assert len(fed.stream.drain()[0].metrics.value) == 3


def test_targets_of_a_job_replace_nothing(fed: Fed) -> None:
    for instance in "abc":
        fed.write({series("up", job="shop", instance=instance): points(1)})
    assert len(fed.window.sources.states) == 3
    assert fed.window.sources.changes == []


def test_otlp_metrics_become_series_and_no_second_source(fed: Fed) -> None:
    fed.send(Signal.METRICS, gauge("front", "queue.size", [1.0], NOW_NS))
    fed.write({REQUESTS: points(1)})
    names = {dict(labels)["__name__"] for labels in held(fed)}
    assert "http_requests_total" in names
    assert len(names) > 1
    assert len(fed.window.sources.states) == 2


def test_a_restart_brings_everything_back(fed: Fed) -> None:
    fed.write({REQUESTS: points(4)})
    again = fed.restarted()
    found = again.window("default").metrics.window.select([ALL], 0, NOW_MS)
    assert (found.labels.rows(), found.value.tolist()) == ([REQUESTS], [0.0, 1.0, 2.0, 3.0])


def test_sealed_samples_leave_the_log_and_come_back_after_a_restart(tmp_path: Path) -> None:
    fed = Fed(tmp_path, metric_block_s=60.0, segment_bytes=1 << 20)
    start = NOW_MS - 3_600_000
    fed.write({REQUESTS: [(start + i * 1000, float(i)) for i in range(3000)]})
    (feed, cut_ms) = fed.stream.seals()[0]
    feed.seal(cut_ms)
    assert fed.stream.seals() == []
    found = fed.restarted().window("default").metrics.window.select([ALL], 0, NOW_MS)
    assert found.value.tolist() == [float(i) for i in range(3000)]


@pytest.mark.parametrize("restart_at", [20, 31, 38, 47])
def test_blocks_of_scrapes_each_second_go_on_as_they_were_after_a_restart(
    tmp_path: Path, restart_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.windows.metrics.cuts.LEAST_SAMPLES", 1)
    fed, half_ms = Fed(tmp_path), 450_000
    start = (NOW_MS - 4_000_000) // (2 * half_ms) * 2 * half_ms
    for minute in range(50):
        seconds = range(minute * 60, minute * 60 + 60)
        fed.write({one: [(start + s * 1000, float(s)) for s in seconds] for one in (REQUESTS, CPU)})
        tidy(fed.stream)
        if minute == restart_at:
            fed.stream = fed.restarted()
            tidy(fed.stream)
    window = fed.window.metrics.window
    assert [(info.cut_ms - start) / half_ms for info in window.blocks] == [1, 2, 3, 4, 5]
    assert {info.samples for info in window.blocks} == {900}
    found = window.select([ALL], 0, NOW_MS)
    assert found.value.tolist() == 2 * [float(second) for second in range(3000)]
    assert fed.stream.left_out.total() == 0


def test_a_window_made_anew_keeps_its_series(fed: Fed) -> None:
    fed.write({REQUESTS: points(4), CPU: points(3)})
    fresh = rebuilt(fed.stream, "default", fed.settings, fed.stream._reader)
    assert len(fresh.window.metrics.window) == 2
    assert [state.source.service for state in fresh.window.sources.states] == ["shop"]
    assert fresh.window.metric_frame(0, NOW_NS + 1).value.tolist() == [0.0, 1.0, 2.0]


async def test_a_stream_answers_its_part_of_a_query(fed: Fed) -> None:
    fed.write({REQUESTS: points(20)})
    query = "sum(rate(http_requests_total[1m]))"
    asked = Asked(1, EngineOptions(), 5.0)
    (part,) = Queries(fed.stream).parts("default", [parse(query)], Grid(NOW_MS, NOW_MS, 0), query, asked)
    assert part.matrices[0].value[0, 0] == pytest.approx(1 / 15)


async def test_a_tenant_that_sent_nothing_has_no_series(fed: Fed) -> None:
    assert await Queries(fed.stream).label_names("nobody", (), 0, NOW_MS) == []


def test_what_the_policy_keeps_out_is_counted_and_comes_again_when_it_is_let_in(fed: Fed) -> None:
    fed.write({REQUESTS: points(20)[:2], CPU: points(20)[:2]})
    fed.stream.use(MetricPolicy([MetricRule("http_*", enabled=False)], 1))
    fed.write({REQUESTS: points(20)[2:4], CPU: points(20)[2:4]})
    assert held(fed) == {REQUESTS: 2, CPU: 4}
    assert fed.stream.left_out["disabled"] == 2
    fed.stream.use(MetricPolicy([], 2))
    fed.write({REQUESTS: points(20)[4:6]})
    assert held(fed)[REQUESTS] == 4


DAY_MS = 86_400_000


def test_what_a_rule_keeps_longer_outlives_a_restart(tmp_path: Path) -> None:
    fed = Fed(tmp_path, metric_block_s=60.0, metric_retention_s=3600.0)
    fed.stream.use(MetricPolicy([MetricRule("http_*", retention_ms=DAY_MS)], 1))
    start = NOW_MS - 4 * 3_600_000
    fed.write({one: [(start, 1.0)] for one in (REQUESTS, CPU)})
    fed.write({CPU: [(start + 1_800_000, 2.0)]})
    tidy(fed.stream)
    fed.write({CPU: [(NOW_MS, 3.0)]})
    again = fed.restarted()
    for stream in (fed.stream, again):
        tidy(stream)
        found = stream.window("default").metrics.window.select([ALL], 0, NOW_MS)
        assert dict(zip(found.labels.rows(), np.diff(found.offsets).tolist(), strict=True)) == {
            REQUESTS: 1,
            CPU: 1,
        }
    assert again.policy_version == 1
    again.use(MetricPolicy([], 0))
    again.window("default").metrics.advance(NOW_NS)
    assert again.window("default").metrics.window.blocks == []
    assert fed.restarted().policy_version == 0


def test_a_rule_that_keeps_shorter_holds_at_once(tmp_path: Path) -> None:
    fed = Fed(tmp_path, metric_block_s=60.0)
    fed.write({one: points(240) for one in (REQUESTS, CPU)})
    tidy(fed.stream)
    fed.stream.use(
        MetricPolicy(
            [
                MetricRule(
                    "*", service="shop", labels={"__name__": "http_requests_total"}, retention_ms=60_000
                )
            ],
            1,
        )
    )
    assert held(fed) == {REQUESTS: 5, CPU: 240}
    assert fed.stream.thins()
    tidy(fed.stream)
    assert not fed.stream.thins()
    assert [info.series for info in fed.window.metrics.window.blocks] == [1]


def test_a_policy_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    (tmp_path / "metric_policy.json").write_bytes(b"{")
    with pytest.raises(CorruptLog, match=r"metric_policy\.json"):
        fed.restarted()


def tidy(stream: Stream) -> None:
    for feed, cut_ms in stream.seals():
        feed.seal(cut_ms)
    for feed in stream.thins():
        feed.thin()
