"""A window whose tables are full is made anew from the log."""

from __future__ import annotations

from pathlib import Path

from actors.stream.core import Tenant
from actors.stream.rebuild import rebuilt
from agent.telemetry.batch import Signal
from agent.windows.log import LogReader
from tests.otlp import NOW_NS, gauge, logs, several, traces
from tests.unit.stream.feeding import Fed

S = 10**9


def send(fed: Fed, services: list[str], at_s: int) -> None:
    at_ns = NOW_NS + at_s * S
    spans = [traces(name, [1 + at_s * 100 + i], at_ns) for i, name in enumerate(services)]
    fed.send(Signal.SPANS, several(spans), received_ns=at_ns)


def anew(fed: Fed) -> Tenant:
    fed.stream.drain()
    made = rebuilt(fed.stream, "default", fed.settings, LogReader(fed.folder))
    fed.stream.tenants["default"] = made
    return made


def services(fed: Fed) -> set[str]:
    return {state.source.service for state in fed.window.sources.states}


def full(folder: Path) -> Fed:
    """Three sources are the limit; two of them are gone for two windows, and a new one is refused."""
    fed = Fed(folder, max_sources=3, window_s=60.0)
    send(fed, ["alive", "gone-1", "gone-2"], 0)
    for at_s in range(10, 150, 10):
        send(fed, ["alive"], at_s)
    send(fed, ["alive", "new"], 150)
    return fed


def test_a_full_table_is_outgrown_after_a_window_and_not_before(tmp_path: Path) -> None:
    fed = Fed(tmp_path, max_sources=1, window_s=60.0)
    send(fed, ["a", "b"], 0)
    assert fed.stream.outgrown() == []
    send(fed, ["a"], 70)
    assert fed.stream.outgrown() == []
    send(fed, ["a"], 75)
    assert fed.stream.outgrown() == ["default"]


def test_what_is_gone_makes_room_for_what_is_new(tmp_path: Path) -> None:
    fed = full(tmp_path)
    assert services(fed) == {"alive", "gone-1", "gone-2"}
    assert fed.stream.outgrown() == ["default"]
    anew(fed)
    assert services(fed) == {"alive", "new"}
    assert fed.stream.outgrown() == []
    send(fed, ["alive", "new", "newer"], 160)
    assert services(fed) == {"alive", "new", "newer"}


def test_the_rows_of_the_window_are_as_before_and_nothing_is_handed_out_twice(tmp_path: Path) -> None:
    fed = Fed(tmp_path, window_s=60.0)
    body = traces("cart", [1, 2], NOW_NS)
    fed.send(Signal.SPANS, body)
    fed.send(Signal.LOGS, logs("cart", ["a", "b"], NOW_NS))
    fed.send(Signal.METRICS, gauge("cart", "queue", [1.0, 2.0], NOW_NS))
    before = fed.stream.telemetry("default", NOW_NS - S, NOW_NS + S)
    rows, marks = dict(fed.stream.rows), fed.stream.watermarks()
    anew(fed)
    after = fed.stream.telemetry("default", NOW_NS - S, NOW_NS + S)
    assert before is not None
    assert after is not None
    assert after.spans.ref.tolist() == before.spans.ref.tolist()
    assert after.metrics.value.tolist() == before.metrics.value.tolist()
    assert len(after.logs) == 2
    assert fed.stream.drain() == []
    assert (dict(fed.stream.rows), fed.stream.watermarks()) == (rows, marks)
    assert fed.send(Signal.SPANS, body) == []


def test_what_was_known_of_a_source_stays_and_no_change_is_made_up(tmp_path: Path) -> None:
    fed = full(tmp_path)
    [before] = [state for state in fed.window.sources.states if state.source.service == "alive"]
    changes = len(fed.window.sources.changes)
    left_out = dict(fed.stream.left_out)
    made = anew(fed)
    after = made.window.sources.states[0]
    assert (after.first_ns, after.rows, after.last_ns) == (before.first_ns, before.rows, before.last_ns)
    assert len(made.window.sources.changes) == changes == 0
    assert dict(fed.stream.left_out) == left_out


def test_red_series_go_on_over_it(tmp_path: Path) -> None:
    fed = full(tmp_path)
    anew(fed)
    send(fed, ["new"], 151)
    [increment] = fed.stream.drain()
    assert [key.service for key in increment.red.keys] == ["new"]
    assert int(increment.red.count.sum()) == 1


def test_one_that_is_full_at_once_again_waits_longer(tmp_path: Path) -> None:
    fed = Fed(tmp_path, max_sources=1, window_s=60.0)
    for at_s in range(0, 70, 10):
        send(fed, ["a", "b"], at_s)
    assert [anew(fed).patience, anew(fed).patience] == [2, 4]


def test_tables_weigh_something(tmp_path: Path) -> None:
    assert full(tmp_path).window.table_bytes > 10_000
