"""Sealing, restarts and retention: a query sees the same samples wherever they lie."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import CorruptLog
from agent.promql.values import Matcher, Selection
from agent.telemetry.labels import Labels
from agent.windows.metrics.head import ROOM_SAMPLES
from agent.windows.metrics.upkeep import MetricLimits
from agent.windows.metrics.window import MetricWindow
from tests.promql.series import STALE
from tests.unit.windows.metrics.building import batch, series
from tests.unit.windows.metrics.test_window import ALL, DOWN, UP, Model, rows, window


def test_sealed_and_recent_samples_come_as_one(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: [(t, float(t)) for t in range(0, 100, 10)], DOWN: [(5, 1.5)]}), 0)
    info = made.seal(50, tmp_path)
    assert info is not None
    assert (info.start_ms, info.cut_ms, info.series, info.samples) == (0, 50, 2, 6)
    assert rows(made.select(ALL, 0, 100)) == {UP: {t: float(t) for t in range(0, 100, 10)}, DOWN: {5: 1.5}}
    assert list(rows(made.select(ALL, 40, 50))[UP]) == [40, 50]
    assert made.samples == 10  # the chunk across the cut stays
    assert made.seal(50, tmp_path) is None


def test_sealed_samples_leave_the_head() -> None:
    made = window(retention_ms=0)
    made.append(batch({UP: [(t, 1.0) for t in range(100)]}), 0)
    made.advance(90)
    assert made.samples == 10
    assert list(rows(made.select(ALL, 0, 100))[UP]) == list(range(90, 100))


def test_after_the_seal_older_samples_are_counted(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0), (60, 1.0)]}), 0)
    made.seal(50, tmp_path)
    made.append(batch({UP: [(49, 2.0), (50, 2.0)]}), 1)
    assert made.left_out == {"too_old": 1}
    assert rows(made.select(ALL, 0, 100)) == {UP: {10: 1.0, 50: 2.0, 60: 1.0}}


def test_what_is_sealed_does_not_need_the_log(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0)]}, defined_since=5), 10)
    made.append(batch({UP: [(60, 1.0)]}, defined_since=2 << 20), (2 << 20) + 9)
    assert made.low_position == 5
    made.seal(50, tmp_path)
    assert made.low_position == 2 << 20


def test_a_restart_finds_the_blocks_and_the_log_adds_the_rest(tmp_path: Path) -> None:
    made, records = (
        window(),
        [batch({UP: [(10, 1.0), (60, 2.0)], DOWN: [(20, 3.0)]}), batch({UP: [(70, 4.0)]})],
    )
    for position, record in enumerate(records):
        made.append(record, position)
    made.seal(50, tmp_path)
    again = window()
    again.open(tmp_path)
    assert rows(again.select(ALL, 0, 100)) == {UP: {10: 1.0}, DOWN: {20: 3.0}}
    for position, record in enumerate(records):
        again.append(record, position)
    assert rows(again.select(ALL, 0, 100)) == rows(made.select(ALL, 0, 100))
    assert again.left_out == {}
    assert again.label_values("job", start_ms=0, end_ms=30) == ["a", "b"]


def test_histograms_and_exemplars_are_sealed_too(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: []}, histograms={UP: [(10, b"a"), (60, b"b")]}, exemplars=[(UP, 10, 0.5, UP)]), 0)
    made.seal(50, tmp_path)
    again = window()
    again.open(tmp_path)
    for one, times in ((made, [10, 60]), (again, [10])):
        found = one.select(ALL, 0, 100).histograms
        assert found is not None
        assert found.time_ms.tolist() == times
        assert [e.exemplars[0]["timestamp_ms"] for e in one.exemplars(ALL, 0, 100)] == [10]


def test_a_block_is_parquet_that_says_what_it_is(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0)], DOWN: [(20, 3.0)]}), 0)
    made.seal(50, tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == "10_50.parquet"
    assert pq.read_table(path)["series"].to_pylist() == [2]
    assert b"kubechat-obs metric block 1" in pq.read_metadata(path).metadata[b"kubechat_obs"]


def test_a_file_that_is_no_block_is_named(tmp_path: Path) -> None:
    (tmp_path / "1_2.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptLog, match=r"1_2\.parquet"):
        window().open(tmp_path)


def test_an_unfinished_block_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "50.writing").write_bytes(b"half")
    window().open(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_seal_that_fails_loses_nothing(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0), (60, 1.0)]}, defined_since=3), 7)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        made.seal(50, tmp_path / "file")
    assert rows(made.select(ALL, 0, 100)) == {UP: {10: 1.0, 60: 1.0}}
    assert made.low_position == 3
    assert made.seal(50, tmp_path / "blocks") is not None


def test_retention_deletes_blocks_and_forgets_series(tmp_path: Path) -> None:
    made = window(max_series=5000, block_ms=16, idle_ms=20, retention_ms=0)
    old = [series("old", n=str(i)) for i in range(1500)]
    made.append(batch({labels: [(10, 1.0)] for labels in [*old, UP]}), 0)
    made.seal(50, tmp_path)
    made.append(batch({UP: [(100, 2.0)]}, defined_since=9), 10)
    made.seal(90, tmp_path)
    made.append(batch({DOWN: [(120, 3.0)]}, defined_since=9), 20)
    assert made.advance(60) == 1
    assert not list(tmp_path.iterdir())
    assert made.epoch == 1
    assert made.label_values("__name__") == ["down", "up"]
    assert rows(made.select(ALL, 0, 200)) == {UP: {100: 2.0}, DOWN: {120: 3.0}}
    made.append(batch({UP: [(130, 2.5)], old[3]: [(130, 1.0)]}), 30)
    assert rows(made.select(ALL, 125, 200)) == {UP: {130: 2.5}, old[3]: {130: 1.0}}


def test_cuts_are_due_at_multiples_behind_the_late_samples() -> None:
    made = window(block_ms=1000, out_of_order_ms=300)
    assert made.seal_due(5000) is None
    made.append(batch({UP: [(10, 1.0)]}), 0)
    assert made.seal_due(5299) == 4000
    assert made.seal_due(5300) == 5000


MINUTE_MS = 60_000


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few series are divided too."""
    monkeypatch.setattr("agent.windows.metrics.cuts.LEAST_SAMPLES", 1)


def cuts_of(step_ms: int, minutes: int, folder: Path) -> tuple[list[float], int]:
    """Where the blocks of two series end, in minutes, that bring a sample each ``step_ms``, and the most samples that
    were in memory."""
    made, most = window(), 0
    for t in range(0, minutes * MINUTE_MS, MINUTE_MS):
        samples = [(at, 1.0) for at in range(t, t + MINUTE_MS, step_ms)]
        made.append(batch({UP: samples, DOWN: samples}), t)
        most = max(most, made.samples)
        if cut := made.seal_due(t + MINUTE_MS - step_ms):
            made.seal(cut, folder)
    return [info.cut_ms / MINUTE_MS for info in made.blocks], most


@pytest.mark.usefixtures("divided")
def test_blocks_of_slow_series_end_at_multiples_alone(tmp_path: Path) -> None:
    assert cuts_of(15_000, 60, tmp_path) == ([15, 30, 45], 2 * 4 * 26)


@pytest.mark.usefixtures("divided")
def test_blocks_of_series_with_many_samples_end_at_parts_and_hold_less_in_memory(tmp_path: Path) -> None:
    cuts, most = cuts_of(500, 40, tmp_path)
    assert cuts == [3.75, 7.5, 11.25, 15, 18.75, 22.5, 26.25]
    assert most <= 2 * 120 * 15 + 2 * 30


@pytest.mark.usefixtures("divided")
def test_series_that_are_gone_make_the_others_no_slower(tmp_path: Path) -> None:
    made = window()
    made.append(batch({series("gone", n=str(i)): [(0, 1.0)] for i in range(50)}), 0)
    for t in range(0, 33 * MINUTE_MS, MINUTE_MS):
        made.append(batch({UP: [(at, 1.0) for at in range(t, t + MINUTE_MS, 1000)]}), t + 1)
        if cut := made.seal_due(t + MINUTE_MS):
            made.seal(cut, tmp_path)
    assert [info.cut_ms / MINUTE_MS for info in made.blocks] == [15, 22.5]


@pytest.mark.usefixtures("divided")
def test_a_sample_long_ago_leaves_the_cuts_at_multiples(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: [(-(10**9), 1.0), *((t, 1.0) for t in range(0, 20 * MINUTE_MS, 1000))]}), 0)
    assert made.seal_due(20 * MINUTE_MS) == 0


def test_many_groups_and_a_query_of_some(tmp_path: Path) -> None:
    made = window(max_series=5000)
    many = [series(f"m{i % 3}", n=str(i)) for i in range(1300)]
    made.append(batch({labels: [(10, float(i)), (20, i / 10)] for i, labels in enumerate(many)}), 0)
    made.seal(50, tmp_path)
    made.append(batch({many[7]: [(60, 9.0)]}), 1)
    found = rows(made.select([Matcher("__name__", "=", "m1")], 0, 100))
    assert len(found) == 433
    assert found[many[7]] == {10: 7.0, 20: 0.7, 60: 9.0}
    assert len(rows(made.select([Matcher("n", "=~", "[0-9]+7")], 20, 20))) == 129


def test_a_group_of_very_many_samples_is_sealed_whole(tmp_path: Path) -> None:
    """More than there is room for at first, between groups of few."""
    made, times = window(max_series=2000), range(0, 2 * ROOM_SAMPLES, 2)
    few = [series(name, n=str(i)) for name in ("a", "z") for i in range(600)]
    wide = [series("m", n=str(i)) for i in range(3)]
    made.append(batch({labels: [(10, float(i))] for i, labels in enumerate(few)}), 0)
    made.append(batch({labels: [(t, t / 4) for t in times] for labels in wide}), 1)
    made.seal(2 * ROOM_SAMPLES, tmp_path)
    found = rows(made.select(ALL, 0, 2 * ROOM_SAMPLES))
    assert [found[labels] for labels in wide] == [{t: t / 4 for t in times}] * 3
    assert [found[labels] for labels in few] == [{10: float(i)} for i in range(1200)]


def test_queries_beside_appends_and_seals_miss_nothing(tmp_path: Path) -> None:
    made = window(block_ms=100, out_of_order_ms=0)
    done, failures = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            before = made.max_time_ms
            found = rows(made.select(ALL, 0, 10_000)).get(UP, {})
            if before is not None and list(found)[: before + 1] != list(range(before + 1)):
                failures.append((before, len(found)))

    def seal() -> None:
        while not done.is_set():
            cut = made.seal_due(made.max_time_ms or 0)
            if cut:
                made.seal(cut, tmp_path)

    threads = [threading.Thread(target=ask), threading.Thread(target=seal)]
    for thread in threads:
        thread.start()
    for t in range(1500):
        made.append(batch({UP: [(t, float(t))], DOWN: [(t, 0.0)]}), t)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(rows(made.select(ALL, 0, 10_000))[UP]) == list(range(1500))


SERIES = [series("m", n=str(i)) for i in range(4)]
APPEND = st.tuples(
    st.just("append"),
    st.dictionaries(
        st.sampled_from(SERIES),
        st.lists(st.tuples(st.integers(0, 300), st.floats(allow_nan=False)), max_size=60),
        max_size=4,
    ),
)
SEAL = st.tuples(st.just("seal"), st.integers(1, 320))
RESTART = st.tuples(st.just("restart"), st.none())
EVICT = st.tuples(st.just("evict"), st.integers(1, 200))


class Naive:
    """The same with a dictionary: what a log holds and up to where it was sealed or evicted."""

    def __init__(self) -> None:
        self.records: list[tuple[dict[Labels, list[tuple[int, float]]], int]] = []
        self.found: Model = {}
        self.cut = -(10**9)

    def append(self, record: dict[Labels, list[tuple[int, float]]]) -> None:
        for labels, samples in record.items():
            for time, value in samples:
                if time >= self.cut:
                    self.found.setdefault(labels, {}).setdefault(time, value)

    def between(self, start: int, end: int) -> Model:
        kept = {
            labels: {t: one[t] for t in sorted(one) if start <= t <= end}
            for labels, one in self.found.items()
        }
        return {labels: one for labels, one in kept.items() if one}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(APPEND, APPEND, SEAL, RESTART), max_size=14), st.integers(0, 300), st.integers(0, 300)
)
def test_whatever_happens_the_samples_are_those_of_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]], start: int, end: int
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    made, naive = window(), Naive()
    log: list[dict[Labels, list[tuple[int, float]]]] = []
    for kind, what in steps:
        if kind == "append":
            assert isinstance(what, dict)
            made.append(batch(what), len(log))
            log.append(what)
            naive.append(what)
        elif kind == "seal":
            assert isinstance(what, int)
            sealed = made.seal(what, folder)
            naive.cut = max(naive.cut, what) if sealed or what > naive.cut else naive.cut
        else:
            made = reopened(folder, log)
            naive.cut = max((info.cut_ms for info in made.blocks), default=-(10**9))
            for record in log:  # what an empty seal turned away, the log brings back
                naive.append(record)
    assert rows(made.select(ALL, start, end)) == naive.between(start, end)


def bits(selection: Selection) -> dict[Labels, tuple[list[int], bytes]]:
    parts = zip(selection.offsets[:-1].tolist(), selection.offsets[1:].tolist(), strict=True)
    return {
        selection.labels.row(i): (selection.time_ms[a:b].tolist(), selection.value[a:b].tobytes())
        for i, (a, b) in enumerate(parts)
    }


SCRAPE = st.tuples(st.integers(0, 3), st.integers(0, 20), st.lists(st.integers(0, 300), max_size=50))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(SCRAPE, SCRAPE, st.integers(1, 320)), max_size=10),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_series_scraped_together_are_as_each_alone(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, int, list[int]] | int],
    start: int,
    end: int,
) -> None:
    made = [window() for _ in (None, *SERIES)]
    for position, step in enumerate(steps):
        record = {} if isinstance(step, int) else scrape(*step)
        for one, held in zip(made, [record, *({k: record.get(k, [])} for k in SERIES)], strict=True):
            one.append(batch(held), position)
            if isinstance(step, int):
                one.seal(step, tmp_path_factory.mktemp("blocks"))
    together, *alone = [bits(one.select(ALL, start, end)) for one in made]
    assert together == {labels: held for one in alone for labels, held in one.items()}


def scrape(absent: int, missing: int, times: list[int]) -> dict[Labels, list[tuple[int, float]]]:
    """All series have the times, but for one that lacks the first of them; some values are stale markers."""
    return {
        labels: [(t, STALE if (t + i) % 7 == 0 else float(i)) for t in times[missing * (i == absent) :]]
        for i, labels in enumerate(SERIES)
    }


def test_series_scraped_together_have_one_list_of_times(tmp_path: Path) -> None:
    made, times = window(), range(0, 400, 10)
    made.append(batch({labels: [(t, float(i)) for t in times] for i, labels in enumerate(SERIES)}), 0)
    for cut in (100, 200):
        made.seal(cut, tmp_path)
        assert made.select(ALL, 50, 350).times.ms.tolist() == list(range(50, 360, 10))
    assert made.select(ALL, 50, 350).times.start.tolist() == [0, 0, 0, 0]


def reopened(folder: Path, log: list[dict[Labels, list[tuple[int, float]]]]) -> MetricWindow:
    made = MetricWindow(MetricLimits(max_series=1000), lambda contents: contents)
    made.open(folder)
    for position, record in enumerate(log):
        made.append(batch(record), position)
    return made


def test_sizes_are_accounted(tmp_path: Path) -> None:
    made = window()
    made.append(batch({UP: [(t, float(t)) for t in range(1000)]}), 0)
    assert made.nbytes > 12_000
    made.seal(500, tmp_path)
    assert made.block_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    stats = made.stats()
    assert (stats["series"], stats["blocks"], stats["block_samples"]) == (1, 1, 500)
    assert (stats["label_pairs"], stats["min_time_ms"], stats["max_time_ms"]) == (2, 0, 999)
    assert stats["cardinality"]["series_by_metric"] == [("up", 1)]
