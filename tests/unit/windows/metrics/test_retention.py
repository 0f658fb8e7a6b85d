"""Retention a series: what is shown, what is given back, and that no block is ever lost on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.promql.values import STALE_NAN_BITS, Matcher
from agent.telemetry.labels import Labels
from agent.telemetry.metric_policy import MetricPolicy, MetricRule
from agent.windows.metrics import blocks as block_module
from agent.windows.metrics.blocks import BlockFile
from agent.windows.metrics.retention import drop_older
from agent.windows.metrics.window import MetricWindow
from tests.unit.windows.metrics.building import batch, series
from tests.unit.windows.metrics.test_window import ALL, DOWN, UP, rows, window

SHORT = MetricPolicy([MetricRule("up", retention_ms=30)], 1)
LONG = MetricPolicy([MetricRule("up", retention_ms=1000)], 2)
EXEMPLAR = (("trace_id", "abc"),)


def filled(
    folder: Path | None = None, cuts: tuple[int, ...] = (), policy: MetricPolicy = SHORT
) -> MetricWindow:
    """UP and DOWN at 0, 10, ... 90; the watermark is 90, the window keeps 100 ms."""
    made = window(block_ms=16, retention_ms=100)
    made.use(policy)
    times = [(t, float(t)) for t in range(0, 100, 10)]
    made.append(
        batch({UP: times, DOWN: times}, exemplars=[(UP, 10, 0.5, EXEMPLAR), (UP, 80, 0.5, EXEMPLAR)]), 0
    )
    for cut in cuts:
        assert folder is not None
        made.seal(cut, folder)
    made.advance(90)
    return made


def times(made: MetricWindow, labels: Labels, start: int = 0, end: int = 2000) -> list[int]:
    return list(rows(made.select(ALL, start, end)).get(labels, {}))


@pytest.mark.parametrize("cuts", [(), (50,), (40, 80)])
def test_what_is_older_than_its_retention_is_not_shown(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    made = filled(tmp_path, cuts)
    assert times(made, UP) == [60, 70, 80, 90]
    assert times(made, DOWN) == list(range(0, 100, 10))
    assert times(made, UP, 70, 80) == [70, 80]
    assert [len(e.exemplars) for e in made.exemplars(ALL, 0, 100)] == [1]


def test_a_series_of_which_nothing_is_kept_is_not_listed() -> None:
    made = filled()
    made.append(batch({DOWN: [(200, 1.0)]}), 1)
    made.advance(121)
    assert made.series(ALL, 0, 2000).rows() == [DOWN]
    assert made.label_values("__name__") == ["down"]
    assert made.label_values("job", [Matcher("__name__", "=", "up")], 0, 2000) == []
    assert made.label_names() == ["__name__", "job"]


def test_histograms_are_kept_as_long_as_floats() -> None:
    made = window(retention_ms=100)
    made.use(SHORT)
    made.append(batch({UP: []}, histograms={UP: [(10, b"a"), (80, b"b")], DOWN: [(10, b"c")]}), 0)
    made.advance(90)
    found = made.select(ALL, 0, 100).histograms
    assert found is not None
    assert found.sample.tolist() == [b"b", b"c"]


def test_the_head_gives_memory_back() -> None:
    made = window(block_ms=16, retention_ms=10_000)
    made.use(SHORT)
    made.append(batch({labels: [(t, 1.0) for t in range(900)] for labels in (UP, DOWN)}), 0)
    made.advance(900)
    assert made.samples == 930  # the chunk across the floor stays
    assert len(times(made, DOWN)) == 900


def test_what_is_not_kept_any_more_is_not_sealed(tmp_path: Path) -> None:
    made = filled()
    info = made.seal(60, tmp_path)
    assert info is not None
    assert (info.series, info.samples) == (1, 6)


def test_a_block_is_thinned_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    made = filled(tmp_path, (50,))
    before = made.block_bytes
    assert made.thin_due()
    assert made.thin() == 1
    assert not made.thin_due()
    (info,) = made.blocks
    assert (info.series, info.samples, info.cut_ms, info.exemplars) == (1, 5, 50, 0)
    assert made.block_bytes < before
    assert [path.name for path in tmp_path.iterdir()] == ["0_50.parquet"]
    assert times(made, DOWN) == list(range(0, 100, 10))
    assert times(made, UP) == [60, 70, 80, 90]


def test_a_block_of_which_nothing_is_kept_goes(tmp_path: Path) -> None:
    made = window(block_ms=16, retention_ms=100)
    made.append(batch({UP: [(10, 1.0), (90, 2.0)]}), 0)
    made.seal(50, tmp_path)
    made.use(SHORT)
    made.advance(90)
    assert made.thin() == 1
    assert (made.blocks, list(tmp_path.iterdir())) == ([], [])
    assert times(made, UP) == [90]


def test_what_is_kept_longer_outlives_the_window(tmp_path: Path) -> None:
    made = filled(tmp_path, (50,), LONG)
    made.append(batch({UP: [(300, 1.0)]}), 1)
    assert made.advance(300) == 0
    assert times(made, DOWN) == []
    assert made.thin() == 1
    assert (made.blocks[0].series, made.blocks[0].samples) == (1, 5)
    assert times(made, UP) == [*range(0, 100, 10), 300]
    assert made.advance(1100) == 1
    assert list(tmp_path.iterdir()) == []


def test_after_a_restart_the_same_holds(tmp_path: Path) -> None:
    filled(tmp_path, (50,), LONG).thin()
    for policy, shown in ((LONG, [0, 10, 20, 30, 40]), (SHORT, [20, 30, 40])):
        again = window(block_ms=16, retention_ms=100)
        again.use(policy)
        again.open(tmp_path)
        assert times(again, UP) == shown


def test_another_policy_holds_at_once(tmp_path: Path) -> None:
    made = filled(tmp_path, (50,))
    made.use(MetricPolicy([MetricRule("*", labels={"job": "b"}, retention_ms=20)], 3))
    assert times(made, UP) == list(range(0, 100, 10))
    assert times(made, DOWN) == [70, 80, 90]
    made.use(MetricPolicy([], 0))
    assert times(made, DOWN) == list(range(0, 100, 10))
    assert not made.thin_due()


def test_series_that_come_later_have_their_rule_too() -> None:
    made = filled()
    late = series("up", job="late")
    made.append(batch({late: [(20, 1.0), (80, 1.0)]}), 1)
    assert times(made, late) == [80]


def many(folder: Path, keep: Callable[[int], bool]) -> tuple[MetricWindow, dict[Labels, dict[int, float]]]:
    """1300 series in three groups; those of ``keep`` are kept longer than the others."""
    made = window(max_series=5000, block_ms=16, retention_ms=100)
    all_of_them = {
        series(f"m{i // 600}", n=str(i), kept=str(keep(i))): {t: t + i / 7 for t in (10, 20 + i % 3)}
        for i in range(1300)
    }
    made.append(batch({labels: list(samples.items()) for labels, samples in all_of_them.items()}), 0)
    made.seal(50, folder)
    made.use(MetricPolicy([MetricRule("*", labels={"kept": "True"}, retention_ms=10_000)], 1))
    made.advance(125)
    return made, {labels: one for labels, one in all_of_them.items() if dict(labels)["kept"] == "True"}


@pytest.mark.parametrize(
    ("keep", "groups"),
    [
        (lambda i: i % 2 == 0, [512, 138]),
        (lambda i: i >= 600, [424, 276]),
        (lambda i: i < 513, [512, 1]),
        (lambda i: i % 500 == 3, [3]),
    ],
    ids=["every other", "by name", "all but one of a group", "few"],
)
def test_groups_that_lost_series_are_put_together(
    tmp_path: Path, keep: Callable[[int], bool], groups: list[int]
) -> None:
    made, expected = many(tmp_path, keep)
    made.thin()
    (path,) = tmp_path.iterdir()
    assert sum(BlockFile(path).group_series) == len(expected)
    assert len(BlockFile(path).group_series) <= len(groups) + 1
    assert rows(made.select(ALL, 0, 100)) == expected
    again = window(max_series=5000)
    again.open(tmp_path)
    assert rows(again.select(ALL, 0, 100)) == expected


def test_histograms_and_exemplars_stay_with_their_series(tmp_path: Path) -> None:
    made = window(block_ms=16, retention_ms=100)
    names = [series("m", n=str(i)) for i in range(5)]
    made.append(
        batch(
            {one: [] for one in names},
            histograms={one: [(10 + i, b"%d" % i)] for i, one in enumerate(names)},
            exemplars=[(one, 10, float(i), EXEMPLAR) for i, one in enumerate(names)],
        ),
        0,
    )
    made.seal(50, tmp_path)
    made.use(MetricPolicy([MetricRule("m", labels={"n": "3"}, retention_ms=5000)], 1))
    made.append(batch({DOWN: [(200, 1.0)]}), 1)
    made.advance(200)
    made.thin()
    found = made.select([Matcher("__name__", "=", "m")], 0, 100)
    assert found.labels.rows() == [names[3]]
    assert found.histograms is not None
    assert found.histograms.sample.tolist() == [b"3"]
    assert [e.exemplars[0]["value"] for e in made.exemplars(ALL, 0, 100)] == [3.0]


def test_bits_of_values_stay_as_they_are(tmp_path: Path) -> None:
    bits = [STALE_NAN_BITS, 0x7FF8000000000001, 0x8000000000000000, 0x3FB999999999999A]
    record = batch({one: [(t, 1.0) for t in range(len(bits))] for one in (UP, DOWN)})
    record.value.view(np.uint64)[:] = bits * 2
    made = window(block_ms=16, retention_ms=100)
    made.append(record, 0)
    made.seal(50, tmp_path)
    made.use(SHORT)
    made.advance(90)
    assert made.thin() == 1
    assert made.select(ALL, 0, 50).value.view(np.uint64).tolist() == bits


def test_thinning_lets_a_seal_go_first(tmp_path: Path) -> None:
    made = window(block_ms=16, out_of_order_ms=0, retention_ms=1000)
    for at in (0, 100, 200):
        made.append(batch({UP: [(at, 1.0)], DOWN: [(at, 1.0)]}), at)
    for cut in (50, 150):
        made.seal(cut, tmp_path)
    made.use(SHORT)
    made.advance(205)
    assert made.seal_due(205) == 192
    assert [made.thin(), made.thin_due()] == [1, True]
    made.seal(192, tmp_path)
    assert [made.thin(), made.thin_due()] == [1, False]
    assert [info.series for info in made.blocks] == [1, 1]


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    ("call", "thinner"), [("fsync", False), ("before", False), ("after", True), ("folder", True)]
)
def test_a_crash_leaves_the_old_block_or_the_thinner_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, thinner: bool
) -> None:
    made = filled(tmp_path, (50,))
    crash_at(call, monkeypatch)
    with pytest.raises(Crash):
        made.thin()
    monkeypatch.undo()
    again = window(retention_ms=100)
    again.open(tmp_path)
    assert [info.series for info in again.blocks] == [1 if thinner else 2]
    assert times(again, DOWN) == [0, 10, 20, 30, 40]
    assert times(again, UP) == ([] if thinner else [0, 10, 20, 30, 40])


def crash_at(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``Path.unlink`` does nothing: a process that ended takes nothing away."""
    rename = Path.rename

    def crash(*_: object) -> None:
        raise Crash

    def crash_after(path: Path, target: Path) -> None:
        rename(path, target)
        raise Crash

    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    if call == "fsync":
        monkeypatch.setattr(os, "fsync", crash)
    elif call == "folder":
        monkeypatch.setattr(block_module, "sync_folder", crash)
    else:
        monkeypatch.setattr(Path, "rename", crash if call == "before" else crash_after)


def test_a_disk_that_refuses_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(tmp_path, (50,))

    def refuse(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="no space"):
        made.thin()
    monkeypatch.undo()
    assert times(made, DOWN) == list(range(0, 100, 10))
    assert made.thin_due()
    assert made.thin() == 1


def test_a_block_let_go_of_while_it_is_thinned_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(tmp_path, (50,))
    rename = Path.rename

    def meanwhile(path: Path, target: Path) -> Path:
        assert made.advance(10_000) == 1  # needs the lock of the window: nobody may hold it here
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    made.thin()
    assert (made.blocks, list(tmp_path.iterdir())) == ([], [])


def test_forgotten_series_do_not_stay_in_blocks(tmp_path: Path) -> None:
    made = window(max_series=5000, block_ms=16, retention_ms=10_000, idle_ms=20)
    old = [series("old", n=str(i)) for i in range(1500)]
    made.append(batch({labels: [(10, 1.0)] for labels in [*old, UP]}), 0)
    made.seal(50, tmp_path)
    made.append(batch({UP: [(100, 2.0)]}, defined_since=9), 10)
    made.use(MetricPolicy([MetricRule("old", retention_ms=30)], 1))
    made.advance(100)
    assert (made.epoch, len(made)) == (1, 1)
    made.thin()
    assert [info.series for info in made.blocks] == [1]
    assert times(made, UP) == [10, 100]


def test_queries_beside_thinning_miss_nothing(tmp_path: Path) -> None:
    made = window(block_ms=100, out_of_order_ms=0, retention_ms=100_000)
    made.use(MetricPolicy([MetricRule("up", retention_ms=150)], 1))
    done, failures = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            newest = made.max_time_ms or 0
            found = rows(made.select(ALL, 0, newest))
            if list(found.get(DOWN, {})) != list(range(newest + 1)) and newest:
                failures.append(newest)

    def tidy() -> None:
        while not done.is_set():
            cut = made.seal_due(made.max_time_ms or 0)
            if cut:
                made.seal(cut, tmp_path)
            if made.thin_due():
                made.thin()

    threads = [threading.Thread(target=ask), threading.Thread(target=tidy)]
    for thread in threads:
        thread.start()
    for t in range(1500):
        made.append(batch({UP: [(t, float(t))], DOWN: [(t, 0.0)]}), t)
        made.advance(t)
    done.set()
    for thread in threads:
        thread.join()
    made.thin()
    assert failures == []
    assert list(rows(made.select(ALL, 0, 2000))[UP]) == list(range(1349, 1500))


NAMES = [series(name, n=str(i)) for i in range(3) for name in ("a", "b", "c")]
KEPT = {"a": 40, "b": 100, "c": 300}  # b has no rule
STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 8)),
    st.tuples(st.just("append"), st.integers(0, 8)),
    st.tuples(st.sampled_from(["advance", "seal"]), st.integers(0, 40)),
    st.tuples(st.sampled_from(["thin", "restart"]), st.just(0)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(STEP, max_size=25))
def test_whatever_happens_each_series_shows_what_its_rule_keeps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    policy = MetricPolicy([MetricRule(name, retention_ms=KEPT[name]) for name in "ac"], 1)
    log: list[dict[Labels, list[tuple[int, float]]]] = []

    def fresh() -> MetricWindow:
        made = window(block_ms=16, retention_ms=KEPT["b"], idle_ms=0)
        made.use(policy)
        made.open(folder)
        for position, record in enumerate(log):
            made.append(batch(record), position)
        return made

    made, now = fresh(), 1000
    for kind, number in steps:
        if kind == "append":
            log.append({NAMES[number]: [(now, float(now))]})
            made.append(batch(log[-1]), len(log) - 1)
            now += 7
        elif kind == "advance":
            now += number
        elif kind == "seal":
            made.seal(now - number, folder)
        elif kind == "thin":
            made.thin()
        else:
            made = fresh()
        made.advance(now)
    expected = {
        (labels, time)
        for record in log
        for labels, samples in record.items()
        for time, _ in samples
        if time >= now - KEPT[dict(labels)["__name__"]]
    }
    found = {(labels, time) for labels, one in rows(made.select(ALL, 0, now)).items() for time in one}
    assert found == expected


def test_older_samples_are_dropped_in_place() -> None:
    offsets = np.asarray([0, 3, 3, 5, 7], np.int64)
    time_ms = np.asarray([1, 2, 3, 4, 9, 5, 6], np.int64)
    floor_ms = np.asarray([2, 0, 10, -5], np.int64)
    out, kept_ms, value = drop_older(offsets, floor_ms, time_ms, time_ms / 2)
    assert out.tolist() == [0, 2, 2, 2, 4]
    assert kept_ms.tolist() == [2, 3, 5, 6]
    assert value.tolist() == [1.0, 1.5, 2.5, 3.0]
