"""The metric window: what goes in comes out, whatever the order."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.promql.errors import QueryLimit
from agent.promql.values import STALE_NAN_BITS, Matcher, Selection
from agent.telemetry.labels import Labels
from agent.windows.metrics.upkeep import MetricLimits
from agent.windows.metrics.window import MetricWindow
from tests.unit.windows.metrics.building import batch, series

ALL = [Matcher("__name__", "=~", ".+")]
UP, DOWN = series("up", job="a"), series("down", job="b")
Model = dict[Labels, dict[int, float]]


def window(**limits: int) -> MetricWindow:
    return MetricWindow(MetricLimits(**{"max_series": 1000, **limits}), lambda contents: contents)


def rows(selection: Selection) -> Model:
    return {
        selection.labels.row(i): dict(
            zip(
                selection.time_ms[selection.offsets[i] : selection.offsets[i + 1]].tolist(),
                selection.value[selection.offsets[i] : selection.offsets[i + 1]].tolist(),
                strict=True,
            )
        )
        for i in range(len(selection))
    }


def test_samples_come_back_by_series_in_order() -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0), (20, 2.0)], DOWN: [(15, 9.0)]}), 0)
    made.append(batch({UP: [(30, 3.0)]}, define=False), 100)
    assert rows(made.select(ALL, 0, 100)) == {UP: {10: 1.0, 20: 2.0, 30: 3.0}, DOWN: {15: 9.0}}


def test_both_ends_of_a_range_are_inside() -> None:
    made = window()
    made.append(batch({UP: [(t, float(t)) for t in range(0, 100, 10)]}), 0)
    assert list(rows(made.select(ALL, 20, 40))[UP]) == [20, 30, 40]


def test_series_without_samples_in_the_range_are_left_out() -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0)], DOWN: [(500, 2.0)]}), 0)
    assert list(rows(made.select(ALL, 0, 100))) == [UP]


def test_a_repeated_sample_is_dropped_and_the_first_stays() -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0), (20, 2.0)]}), 0)
    assert made.append(batch({UP: [(10, 7.0), (20, 7.0)]}), 50).samples == 0
    assert rows(made.select(ALL, 0, 100)) == {UP: {10: 1.0, 20: 2.0}}


def test_a_series_that_was_never_defined_is_counted() -> None:
    made = window()
    assert made.append(batch({UP: [(10, 1.0)]}, define=False), 0).series.tolist() == [-1]
    assert made.left_out == {"unknown_series": 1}


def test_past_the_limit_of_series_samples_are_counted() -> None:
    made = window(max_series=1)
    made.append(batch({UP: [(10, 1.0)], DOWN: [(10, 1.0), (20, 1.0)]}), 0)
    assert made.left_out == {"series_limit": 2}
    assert list(rows(made.select(ALL, 0, 100))) == [UP]


def test_too_many_samples_are_refused() -> None:
    made = window(max_query_samples=3)
    made.append(batch({UP: [(t, 1.0) for t in range(4)]}), 0)
    assert len(made.select(ALL, 0, 2).time_ms) == 3
    with pytest.raises(QueryLimit):
        made.select(ALL, 0, 3)


def test_too_many_series_are_refused() -> None:
    made = window(max_query_series=1)
    made.append(batch({UP: [(1, 1.0)], DOWN: [(1, 1.0)]}), 0)
    with pytest.raises(QueryLimit, match="2 series"):
        made.select(ALL, 0, 3)


def test_a_stale_marker_keeps_its_bits() -> None:
    made = window()
    stale = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
    record = batch({UP: [(10, 1.0), (20, stale), (5, stale)]})
    record.value.view(np.uint64)[1:] = STALE_NAN_BITS
    made.append(record, 0)
    found = made.select(ALL, 0, 100)
    assert found.value.view(np.uint64).tolist()[::2] == [STALE_NAN_BITS, STALE_NAN_BITS]


def test_gaps_longer_than_an_offset_holds() -> None:
    times = [0, 10, 2**31 + 5, 2**33, 2**33 + 7, 2**31 + 1, 5, 2**32, -(2**32), 2**40]
    made = window()
    made.append(batch({UP: [(t, float(t)) for t in times]}), 0)
    assert rows(made.select(ALL, -(2**50), 2**50))[UP] == {t: float(t) for t in sorted(times)}


def test_histograms_come_back_decoded_beside_floats() -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0)]}, histograms={DOWN: [(30, b"c"), (20, b"b")]}), 0)
    found = made.select(ALL, 0, 100)
    assert [found.labels.row(i) for i in range(2)] == [UP, DOWN]
    assert found.histograms is not None
    assert found.histograms.offsets.tolist() == [0, 0, 2]
    assert found.histograms.sample.tolist() == [b"b", b"c"]


def test_exemplars_and_metadata() -> None:
    made = window()
    trace = (("trace_id", "abc"),)
    made.append(
        batch(
            {UP: [(10, 1.0)]},
            exemplars=[(UP, 10, 0.5, trace)],
            metadata=[b'{"metric":"up","type":"gauge","help":"is it up","unit":""}'],
        ),
        0,
    )
    (found,) = made.exemplars(ALL, 0, 20)
    assert found.series == dict(UP)
    assert found.exemplars == [{"labels": {"trace_id": "abc"}, "value": 0.5, "timestamp_ms": 10}]
    assert made.metadata() == {"up": {"type": "gauge", "help": "is it up", "unit": ""}}


def test_label_names_and_values_by_matchers_and_time() -> None:
    made = window()
    made.append(batch({UP: [(10, 1.0)], series("down", zone="z"): [(500, 2.0)]}), 0)
    assert made.label_names() == ["__name__", "job", "zone"]
    assert made.label_names([Matcher("job", "=", "a")]) == ["__name__", "job"]
    assert made.label_values("__name__", start_ms=0, end_ms=100) == ["up"]
    assert made.label_values("nothing") == []


def test_the_log_is_needed_from_the_definitions_on() -> None:
    made = window()
    assert made.low_position is None
    made.append(batch({UP: [(10, 1.0)]}, defined_since=3), 7)
    made.append(batch({UP: [(20, 1.0)]}, defined_since=2_000_000), 2_000_050)
    assert made.low_position == 3


SERIES = [series("m", n=str(i)) for i in range(4)]
RECORD = st.dictionaries(
    st.sampled_from(SERIES),
    st.lists(st.tuples(st.integers(0, 300), st.floats(allow_nan=False)), max_size=60),
    max_size=4,
)


@given(st.lists(RECORD, max_size=12), st.integers(0, 300), st.integers(0, 300))
def test_any_order_of_samples_is_as_a_dictionary(
    records: list[dict[Labels, list[tuple[int, float]]]], start: int, end: int
) -> None:
    made, model = window(), Model()
    for position, record in enumerate(records):
        made.append(batch(record), position)
        for labels, samples in record.items():
            for time, value in samples:
                model.setdefault(labels, {}).setdefault(time, value)
    expected = {
        labels: {t: found[t] for t in sorted(found) if start <= t <= end} for labels, found in model.items()
    }
    assert rows(made.select(ALL, start, end)) == {k: v for k, v in expected.items() if v}
    assert made.samples == sum(map(len, model.values()))


def test_a_record_without_definitions_elsewhere_leaves_those_of_others_alone() -> None:
    made = window(retention_ms=0)
    made.append(batch({UP: [(10, 1.0)]}, defined_since=3), 7)
    own = batch({DOWN: [(20, 1.0)]})
    made.append(replace(own, defined_since=own.defined_since[:0]), 5_000_000)
    made.advance(1_000_000)
    assert made.low_position == 3
